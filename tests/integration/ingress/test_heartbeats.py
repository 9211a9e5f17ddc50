"""Heartbeats of an ingress from outside: in every partition while it is alive, and none while it is not."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from ems_streams.dev.stack import EmbeddedStack
from ems_streams.domain.heartbeat import Heartbeat, decode_heartbeat
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY, INGRESS_HEARTBEATS
from ems_streams.mqtt.adapter import SETTLING_S
from ems_streams.mqtt.publisher import MqttPublisher
from ems_streams.settings import Settings
from tests.support.ingress import PARTITIONS, IngressProcess, TopicReader, until

pytestmark = pytest.mark.integration

INTERVAL_S = 0.5
QUIET_S = 6 * INTERVAL_S


class Heartbeats:
    """What comes on the topic, of one ingress."""

    def __init__(self, settings: Settings) -> None:
        self.found: list[tuple[ConsumerRecord[bytes, bytes], Heartbeat]] = []
        self._ingress_id = settings.ingress_id
        self._reader = TopicReader(settings)

    async def start(self) -> None:
        await self._reader.start((INGRESS_HEARTBEATS,))

    async def stop(self) -> None:
        await self._reader.stop()

    async def poll(self) -> list[tuple[ConsumerRecord[bytes, bytes], Heartbeat]]:
        """What is new."""
        records = [(record, decode_heartbeat(record.value)) for record in await self._reader.poll(200)]
        new = [(record, beat) for record, beat in records if beat.ingress_id == self._ingress_id]
        self.found += new
        return new

    async def in_every_partition(self) -> bool:
        await self.poll()
        return {record.partition for record, _ in self.found} == set(range(PARTITIONS))

    async def wait_in_every_partition(self) -> None:
        """New ones, from now on."""
        self.found.clear()
        await until(self.in_every_partition, lambda: f"only in partitions {[record.partition for record, _ in self.found]}")


@pytest.fixture
async def beats(settings: Settings) -> AsyncIterator[Heartbeats]:
    beats = Heartbeats(settings)
    await beats.start()
    yield beats
    await beats.stop()


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMS_HEARTBEAT_INTERVAL_S", str(INTERVAL_S))


async def none_for(beats: Heartbeats, seconds: float, not_before: datetime) -> None:
    """No heartbeat of a later time than `not_before`; what was on its way by then may come."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        assert [beat for _, beat in await beats.poll() if beat.timestamp > not_before] == []


async def ends(settings: Settings) -> dict[int, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap_servers)
    await consumer.start()
    try:
        found = await consumer.end_offsets([TopicPartition(DEVICE_TELEMETRY, number) for number in range(PARTITIONS)])
    finally:
        await consumer.stop()
    return {tp.partition: offset for tp, offset in found.items()}


async def test_while_it_is_alive_every_partition_has_them_with_its_own_end(
    settings: Settings, ingress: IngressProcess, publisher: MqttPublisher, beats: Heartbeats, prefix: str
) -> None:
    await ingress.start()
    await asyncio.gather(*(publisher.publish(f"sites/1/devices/{prefix}-{n}/telemetry", b'{"n": %d}' % n) for n in range(100)))
    written = await ends(settings)
    await beats.wait_in_every_partition()
    await beats.wait_in_every_partition()
    for record, beat in beats.found:
        assert beat.telemetry_end == written[record.partition]
        assert record.timestamp_type == 1, "the broker's time"
        assert abs(beat.timestamp - datetime.fromtimestamp(record.timestamp / 1000, UTC)) < timedelta(seconds=5)
    assert ingress.log.count("\n") < 10, ingress.log


async def test_under_load_they_go_on(ingress: IngressProcess, publisher: MqttPublisher, beats: Heartbeats, prefix: str) -> None:
    await ingress.start()
    stop = time.monotonic() + SETTLING_S + 10 * INTERVAL_S

    async def send(device: int) -> None:
        while time.monotonic() < stop:
            await publisher.publish(f"sites/1/devices/{prefix}-{device}/telemetry", b'{"powerKw": 1}')

    load = [asyncio.create_task(send(device)) for device in range(200)]
    await asyncio.sleep(SETTLING_S)
    await beats.wait_in_every_partition()
    await beats.wait_in_every_partition()
    await asyncio.gather(*load)


async def test_there_are_none_while_mqtt_is_away(stack: EmbeddedStack, ingress: IngressProcess, beats: Heartbeats) -> None:
    await ingress.start()
    await beats.wait_in_every_partition()
    await stack.mqtt.kill()
    gone = datetime.now(UTC)
    try:
        await none_for(beats, QUIET_S, gone)
    finally:
        await stack.mqtt.start()
    await beats.wait_in_every_partition()


async def test_there_are_none_while_mqtt_does_not_answer(stack: EmbeddedStack, ingress: IngressProcess, beats: Heartbeats) -> None:
    """Long before the keep alive finds out, the connection looks whole."""
    await ingress.start()
    await beats.wait_in_every_partition()
    assert stack.mqtt.pid is not None
    os.kill(stack.mqtt.pid, signal.SIGSTOP)
    stopped = datetime.now(UTC)
    try:
        await none_for(beats, QUIET_S, stopped)
        assert (await ingress.readiness())[1]["mqtt"], "it still looks connected"
    finally:
        os.kill(stack.mqtt.pid, signal.SIGCONT)
    await beats.wait_in_every_partition()


async def test_there_are_none_while_messages_are_stuck(
    stack: EmbeddedStack, ingress: IngressProcess, publisher: MqttPublisher, beats: Heartbeats, prefix: str
) -> None:
    """Kafka takes nothing for a while; what is written once it does again speaks of times at which nothing was stuck."""
    await ingress.start()
    await beats.wait_in_every_partition()
    assert stack.kafka.pid is not None
    os.kill(stack.kafka.pid, signal.SIGSTOP)
    stopped = datetime.now(UTC)
    try:
        sending = asyncio.create_task(publisher.publish(f"sites/1/devices/{prefix}/telemetry", b'{"powerKw": 1}'))
        await asyncio.sleep(QUIET_S)
    finally:
        os.kill(stack.kafka.pid, signal.SIGCONT)
    resumed = datetime.now(UTC)
    await sending
    await beats.wait_in_every_partition()
    # A moment before: the message was sent, and accepted by the broker, a while after Kafka was stopped.
    within = [beat for _, beat in beats.found if stopped + timedelta(seconds=1) < beat.timestamp < resumed - timedelta(seconds=2.5)]
    assert within == []


async def test_none_comes_before_the_ingress_has_settled(ingress: IngressProcess, beats: Heartbeats) -> None:
    """The broker may have kept messages for it, and takes a moment to send them."""
    started = datetime.now(UTC)
    await ingress.start()
    await beats.wait_in_every_partition()
    assert min(beat.timestamp for _, beat in beats.found) > started + timedelta(seconds=SETTLING_S)
