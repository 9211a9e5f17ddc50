"""What a broker that refuses us is taken for, by the answer that the protocol has for each reason."""

import asyncio

import pytest

from ems_streams.mqtt.probe import BrokerUnusableError, Trouble, probe_broker
from ems_streams.settings import Settings


@pytest.mark.parametrize(
    ("reason_code", "trouble", "name"),
    [
        (0x86, Trouble.LOGIN, "BAD_USER_NAME_OR_PASSWORD"),
        (0x87, Trouble.LOGIN, "NOT_AUTHORIZED"),
        (0x8A, Trouble.LOGIN, "BANNED"),
        (0x84, Trouble.PROTOCOL, "UNSUPPORTED_PROTOCOL_VERSION"),
        (0x88, Trouble.PROTOCOL, "SERVER_UNAVAILABLE"),
    ],
)
async def test_a_refusal_is_one_of_the_login_or_of_the_protocol(reason_code: int, trouble: Trouble, name: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(bytes((0x20, 3, 0, reason_code, 0)))  # CONNACK without properties
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as broker:
        port = broker.sockets[0].getsockname()[1]
        with pytest.raises(BrokerUnusableError, match=name) as refused:
            await probe_broker(Settings.load(mqtt_url=f"mqtt://ems:wrong-one@127.0.0.1:{port}"), 5.0)

    assert refused.value.trouble is trouble
    assert "wrong-one" not in str(refused.value)
