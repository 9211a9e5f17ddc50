"""The receiving side of QoS 2, packet by packet: the test is the broker, and does what a real one does only when it is killed at a bad moment."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import mqtt5
import pytest

from ems_streams.mqtt.receipts import Receipts
from ems_streams.mqtt.receiver import Delivery, MqttReceiver

TOPIC = "sites/1/devices/A/commands"
DEADLINE_S = 5.0


class Peer:
    """One connection of a client, as the broker sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._rest = b""

    async def receive(self) -> Any:
        """The next packet."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    packet, size = mqtt5.read(memoryview(self._rest))
                except IndexError:
                    data = await self._reader.read(65_536)
                    if not data:
                        return None
                    self._rest += data
                else:
                    self._rest = self._rest[size:]
                    return packet

    def send(self, packet: Any) -> None:
        self._writer.write(packet.write())

    def publish(self, packet_id: int, payload: bytes, **more: Any) -> None:
        self.send(mqtt5.PublishPacket(TOPIC, payload, qos=mqtt5.QoS.EXACTLY_ONCE, packet_id=packet_id, **more))

    async def received(self) -> int:
        """Packet id of the PUBREC that must come next."""
        packet = await self.receive()
        assert isinstance(packet, mqtt5.PubRecPacket), packet
        return packet.packet_id

    async def release(self, packet_id: int) -> mqtt5.PubCompReasonCode:
        """Send a PUBREL; the reason code of the PUBCOMP that must come next."""
        self.send(mqtt5.PubRelPacket(packet_id))
        packet = await self.receive()
        assert isinstance(packet, mqtt5.PubCompPacket), packet
        assert packet.packet_id == packet_id
        return packet.reason_code

    async def hang_up(self) -> None:
        self._writer.transport.abort()
        await asyncio.sleep(0)


@dataclass
class Broker:
    """Accepts connections; each test says what happens on them."""

    port: int = 0
    present: bool = False
    peers: "asyncio.Queue[Peer]" = field(default_factory=asyncio.Queue)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        await self.peers.put(Peer(reader, writer))

    async def accept(self, *, subscribing: bool = False) -> Peer:
        """The next connection, with its session resumed, or begun by a subscription."""
        async with asyncio.timeout(DEADLINE_S):
            peer = await self.peers.get()
        hello = await peer.receive()
        assert isinstance(hello, mqtt5.ConnectPacket)
        assert not hello.clean_start
        assert hello.session_expiry_interval > 0
        peer.send(mqtt5.ConnAckPacket(session_present=self.present))
        self.present = True
        if subscribing:
            wish = await peer.receive()
            assert isinstance(wish, mqtt5.SubscribePacket)
            assert (wish.subscriptions[0].pattern, wish.subscriptions[0].max_qos) == (TOPIC, mqtt5.QoS.EXACTLY_ONCE)
            peer.send(mqtt5.SubAckPacket(wish.packet_id, [mqtt5.SubAckReasonCode.GRANTED_QOS_EXACTLY_ONCE]))
        return peer

    async def start_session(self) -> Peer:
        """The connection that takes messages, once the subscription is made."""
        await self.accept(subscribing=True)
        return await self.accept()


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    broker = Broker()
    async with await asyncio.start_server(broker.connect, "127.0.0.1", 0) as server:
        broker.port = server.sockets[0].getsockname()[1]
        yield broker
        for writer in broker.writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


@dataclass
class Device:
    """Keeps what it is given."""

    taken: list[bytes] = field(default_factory=list)
    again: list[bytes] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    before: Callable[[], None] = lambda: None

    def take(self, delivery: Delivery) -> None:
        self.before()
        (self.again if delivery.again else self.taken).append(delivery.payload)


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
async def receiver(broker: Broker, device: Device) -> AsyncIterator[MqttReceiver]:
    async with receiver_for(broker, device) as receiver:
        yield receiver


def receiver_for(broker: Broker, device: Device, **more: Any) -> MqttReceiver:
    url = f"mqtt://127.0.0.1:{broker.port}"
    return MqttReceiver(url, "session", TOPIC, device.take, on_release=device.released.append, **more)


async def test_a_message_is_taken_before_the_broker_is_told_so(broker: Broker, device: Device, receiver: MqttReceiver) -> None:
    peer = await broker.start_session()
    peer.publish(5, b"one")
    assert await peer.received() == 5
    assert device.taken == [b"one"]
    assert await peer.release(5) == mqtt5.PubCompReasonCode.SUCCESS
    assert device.released == [5]
    assert await peer.release(5) == mqtt5.PubCompReasonCode.PACKET_ID_NOT_FOUND


async def test_what_is_sent_again_on_the_next_connection_is_not_taken_again(broker: Broker, device: Device, receiver: MqttReceiver) -> None:
    peer = await broker.start_session()
    peer.publish(5, b"one")
    await peer.received()
    await peer.hang_up()
    peer = await broker.accept()
    peer.publish(5, b"one", duplicate=True)
    assert await peer.received() == 5
    assert (device.taken, device.again) == ([b"one"], [b"one"])
    await peer.release(5)
    peer.publish(5, b"one")
    assert await peer.received() == 5
    assert device.taken == [b"one", b"one"], "after the release it is another message, whatever it says"


async def test_a_broker_that_forgets_packet_ids_makes_nothing_come_twice_and_nothing_be_lost(
    broker: Broker, device: Device, receiver: MqttReceiver
) -> None:
    peer = await broker.start_session()
    for packet_id, payload in ((1, b"one"), (2, b"two")):
        peer.publish(packet_id, payload)
        await peer.received()
    await peer.hang_up()
    peer = await broker.accept()
    # As Artemis 2.44 does after a kill: ids begin anew, without the DUP flag.
    for packet_id, payload in ((1, b"two"), (2, b"three"), (3, b"one")):
        peer.publish(packet_id, payload)
        assert await peer.received() == packet_id
    assert device.taken == [b"one", b"two", b"three"]
    assert device.again == [b"two", b"one"]


async def test_what_was_published_twice_is_taken_twice(broker: Broker, device: Device, receiver: MqttReceiver) -> None:
    peer = await broker.start_session()
    for packet_id in (1, 2):
        peer.publish(packet_id, b"one")
        assert await peer.received() == packet_id
    assert (device.taken, device.again) == ([b"one", b"one"], [])


async def test_a_session_that_is_gone_takes_its_packet_ids_with_it(broker: Broker, device: Device, receiver: MqttReceiver) -> None:
    peer = await broker.start_session()
    peer.publish(5, b"one")
    await peer.received()
    broker.present = False
    await peer.hang_up()
    peer = await broker.accept(subscribing=True)
    peer.publish(5, b"one")
    await peer.received()
    assert device.taken == [b"one", b"one"]


async def test_what_could_not_be_taken_comes_again_as_new(broker: Broker, device: Device, receiver: MqttReceiver) -> None:
    def fail_once() -> None:
        device.before = lambda: None
        raise OSError("disk full")

    device.before = fail_once
    peer = await broker.start_session()
    peer.publish(5, b"one")
    assert not isinstance(await peer.receive(), mqtt5.PubRecPacket)
    peer = await broker.accept()
    peer.publish(5, b"one", duplicate=True)
    assert await peer.received() == 5
    assert (device.taken, device.again) == ([b"one"], [])


async def test_receipts_are_handed_from_one_receiver_to_the_next(broker: Broker, device: Device) -> None:
    receipts = Receipts()
    async with receiver_for(broker, device, receipts=receipts):
        peer = await broker.start_session()
        peer.publish(5, b"one")
        await peer.received()
    async with receiver_for(broker, device, receipts=receipts):
        peer = await broker.start_session()
        peer.publish(5, b"one", duplicate=True)
        await peer.received()
    assert (device.taken, device.again) == ([b"one"], [b"one"])


async def test_lower_qualities_are_taken_as_they_are(broker: Broker, device: Device, receiver: MqttReceiver) -> None:
    peer = await broker.start_session()
    for _ in range(2):
        peer.send(mqtt5.PublishPacket(TOPIC, b"one", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=5))
        assert isinstance(await peer.receive(), mqtt5.PubAckPacket)
    assert (device.taken, device.again) == ([b"one", b"one"], [])


async def test_another_client_of_this_name_ends_it(broker: Broker, device: Device) -> None:
    told = asyncio.Event()
    async with receiver_for(broker, device, on_taken_over=told.set):
        peer = await broker.start_session()
        peer.send(mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER))
        await peer.hang_up()
        async with asyncio.timeout(DEADLINE_S):
            await told.wait()
        await asyncio.sleep(0.3)
        assert broker.peers.empty()
