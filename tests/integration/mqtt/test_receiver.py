"""QoS 2 from the real broker: what it sends again after a break is not taken again, also when it has forgotten its packet ids."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from uuid import uuid4

import mqtt5
import pytest

from ems_streams.dev.stack import EmbeddedStack
from ems_streams.mqtt.receiver import Delivery, MqttReceiver
from tests.support.commands import sender

pytestmark = pytest.mark.integration

DEADLINE_S = 30.0


class Wire:
    """Between a receiver and the broker: lets everything through, or loses the next PUBREC and the connection with it."""

    def __init__(self, mqtt_url: str) -> None:
        self._broker = urlsplit(mqtt_url)
        self.lost = 0
        self.lose_next = False

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_broker, to_broker = await asyncio.open_connection(self._broker.hostname, self._broker.port)
        await asyncio.gather(self._pass_on(reader, to_broker, writer), self._pass_on(from_broker, writer, to_broker))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                if self.lose_next and _has_pubrec(data):
                    self.lose_next = False
                    self.lost += 1
                    writer.transport.abort()
                    back.transport.abort()
                    return
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


def _has_pubrec(data: bytes) -> bool:
    while data:
        try:
            packet, size = mqtt5.read(memoryview(data))
        except (IndexError, ValueError):
            return False
        if isinstance(packet, mqtt5.PubRecPacket):
            return True
        data = data[size:]
    return False


class Taken:
    """What a receiver was given."""

    def __init__(self) -> None:
        self.new = Counter[bytes]()
        self.again = Counter[bytes]()

    def take(self, delivery: Delivery) -> None:
        (self.again if delivery.again else self.new)[delivery.payload] += 1

    async def until(self, count: int) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while self.new.total() < count:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)


@pytest.fixture
async def wire(stack: EmbeddedStack) -> AsyncIterator[tuple[Wire, str]]:
    wire = Wire(stack.mqtt_url)
    server = await asyncio.start_server(wire.connect, "127.0.0.1", 0)
    yield wire, f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_a_message_whose_receipt_was_lost_is_taken_once(stack: EmbeddedStack, wire: tuple[Wire, str]) -> None:
    proxy, url = wire
    serial, taken = f"R-{uuid4().hex[:8]}", Taken()
    async with (
        MqttReceiver(url, f"receiver-{serial}", f"sites/1/devices/{serial}/commands", taken.take) as receiver,
        sender(stack.mqtt_url) as commands,
    ):
        await receiver.wait_connected()
        for number in range(12):
            proxy.lose_next = number % 3 == 1
            await commands.send(1, serial, "REBOOT", command_id=f"c-{number}")
            await taken.until(number + 1) if proxy.lose_next else None
        await taken.until(12)
    assert proxy.lost >= 3
    assert set(taken.new.values()) == {1}
    assert taken.again.total() >= proxy.lost


async def test_what_is_published_while_nobody_is_there_waits(stack: EmbeddedStack) -> None:
    serial, taken = f"R-{uuid4().hex[:8]}", Taken()

    def receiver() -> MqttReceiver:
        return MqttReceiver(stack.mqtt_url, f"receiver-{serial}", f"sites/1/devices/{serial}/commands", taken.take)

    async with receiver() as first:
        await first.wait_connected()
    async with sender(stack.mqtt_url) as commands:
        for _ in range(5):
            await commands.send(1, serial, "REBOOT")
        await commands.send(1, serial, "REBOOT", command_id="short", expires_in_s=1)
        await asyncio.sleep(2.5)
    async with receiver():
        await taken.until(5)
    assert set(taken.new.values()) == {1}
    assert not any(b'"short"' in payload for payload in taken.new), "the broker has let it expire"
