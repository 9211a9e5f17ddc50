"""What a connection says of its end."""

import asyncio

import mqtt5
import pytest

from ems_streams.mqtt.connection import Connection
from ems_streams.mqtt.endpoint import Endpoint, Login


@pytest.mark.parametrize(
    ("goodbye", "reason"),
    [
        (mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER), "closed by the broker: session taken over"),
        (mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.PACKET_TOO_LARGE), "closed by the broker: packet too large"),
    ],
)
async def test_what_the_broker_gives_as_its_reason_is_told(goodbye: mqtt5.DisconnectPacket, reason: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(mqtt5.ConnAckPacket().write())
        writer.write(goodbye.write())
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], tls=False)
    connection = Connection(endpoint, Login(None, None), "c", clean_start=False, session_expiry_s=60, keep_alive_s=60)
    await connection.open(5)
    async with asyncio.timeout(5):
        assert await connection.lost() == reason
    await connection.close()
    server.close()


async def test_closing_that_is_cancelled_leaves_nothing_open() -> None:

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(mqtt5.ConnAckPacket().write())
        while await reader.read(100):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], tls=False)
    connection = Connection(endpoint, Login(None, None), "c", clean_start=False, session_expiry_s=60, keep_alive_s=60)
    await connection.open(5)
    closing = asyncio.create_task(connection.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    # As the event loop does that ends next.
    await asyncio.sleep(0)
    assert connection._writer.is_closing()
    server.close()
