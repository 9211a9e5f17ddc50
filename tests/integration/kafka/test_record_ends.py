"""Where the records of a log end when markers of transactions lie behind them; a quiet partition is then neither stuck nor behind."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ems_streams.domain.heartbeat import decode_heartbeat
from ems_streams.kafka.admin import apply_topics
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY, INGRESS_HEARTBEATS
from ems_streams.kafka.pulse import Pulse
from ems_streams.kafka.record_ends import RecordEnds
from ems_streams.kafka.transactions import PartitionWriter
from ems_streams.settings import Settings

pytestmark = pytest.mark.integration


@dataclass
class Log:
    """One partition of a topic."""

    settings: Settings
    tp: TopicPartition

    async def write(self, *, count: int = 1, transaction: bool = True, abort: bool = False) -> None:
        options = {"transactional_id": f"t-{uuid.uuid4().hex}"} if transaction else {}
        async with AIOKafkaProducer(bootstrap_servers=self.settings.kafka_bootstrap_servers, acks="all", **options) as producer:
            if transaction:
                await producer.begin_transaction()
            for number in range(count):
                await producer.send(self.tp.topic, b"%d" % number, partition=self.tp.partition)
            await producer.flush()
            if transaction:
                await (producer.abort_transaction() if abort else producer.commit_transaction())

    async def end(self) -> int:
        async with AIOKafkaConsumer(bootstrap_servers=self.settings.kafka_bootstrap_servers) as consumer:
            return int((await consumer.end_offsets([self.tp]))[self.tp])


@pytest.fixture
async def log(kafka_servers: str) -> AsyncIterator[Log]:
    topic = f"ends-{uuid.uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    yield Log(Settings.load(kafka_bootstrap_servers=kafka_servers), TopicPartition(topic, 0))
    await admin.delete_topics([topic])
    await admin.close()


async def test_markers_and_aborted_records_at_the_end_do_not_count(log: Log) -> None:
    ends = RecordEnds(log.settings, "test")
    try:
        writes = [
            (3, False, False),
            (2, True, False),
            (100, True, True),
            (1, True, False),
            (1, True, True),
        ]
        for count, transaction, abort in writes:
            await log.write(count=count, transaction=transaction, abort=abort)
            end = await log.end()
            found = (await ends.of({log.tp: end}))[log.tp]
            assert found == await last_committed(log) + 1
            assert (found < end) == transaction
    finally:
        await ends.stop()


async def last_committed(log: Log) -> int:
    """By reading all of it."""
    async with AIOKafkaConsumer(
        bootstrap_servers=log.settings.kafka_bootstrap_servers, isolation_level="read_committed", auto_offset_reset="earliest"
    ) as consumer:
        consumer.assign([log.tp])
        end, last = await log.end(), -1
        while await consumer.position(log.tp) < end:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                last = records[-1].offset
        return last


async def test_a_transaction_that_is_under_way_is_not_passed_over(log: Log) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=log.settings.kafka_bootstrap_servers, transactional_id=f"t-{uuid.uuid4().hex}")
    ends = RecordEnds(log.settings, "test")
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(log.tp.topic, b"1", partition=0)
        assert await ends.of({log.tp: 1}) == {log.tp: 1}
        await producer.commit_transaction()
        assert await ends.of({log.tp: 2}) == {log.tp: 1}
    finally:
        await producer.stop()
        await ends.stop()


async def test_heartbeats_of_a_quiet_partition_speak_of_its_last_record(kafka_servers: str) -> None:
    """A partition into which something was redriven, and nothing else comes, can be folded up to what its heartbeats say."""
    settings = Settings.load(kafka_bootstrap_servers=kafka_servers, heartbeat_interval_s=0.3, partitions=4, ingress_id=uuid.uuid4().hex)
    await apply_topics(settings)
    writer = await PartitionWriter.open(settings, f"t-{uuid.uuid4().hex}")
    offsets = await writer.commit({(DEVICE_TELEMETRY, 0): [(b"k", b"not telemetry", ())]})
    await writer.close()

    async def in_step(_: float) -> bool:
        return True

    pulse = Pulse(settings, in_step)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_servers, auto_offset_reset="latest")
    tp = TopicPartition(INGRESS_HEARTBEATS, 0)
    await consumer.start()
    consumer.assign([tp])
    await consumer.seek_to_end(tp)
    await pulse.start()
    try:
        async with asyncio.timeout(30):
            while True:
                for record in (await consumer.getmany(timeout_ms=100)).get(tp, []):
                    beat = decode_heartbeat(record.value)
                    if beat.ingress_id == settings.ingress_id and beat.telemetry_end == offsets[DEVICE_TELEMETRY, 0] + 1:
                        return
    finally:
        await pulse.stop()
        await consumer.stop()
