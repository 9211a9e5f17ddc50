"""Looking for one device's records from the end of its partition backwards: what is found, and where it stops because it would cost too much."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ems_streams.domain.device_history import Found, ReadEnd
from ems_streams.errors import DependencyError
from ems_streams.kafka.device_history import FIRST_WINDOW, Bounds, read_device
from ems_streams.settings import Settings

pytestmark = pytest.mark.integration

SERIAL = "INV-001"
BOUNDS = Bounds(since_ms=0, limit=5, records_max=100_000, bytes_max=2**30, deadline_s=30)


@dataclass
class Log:
    """A topic of one partition."""

    settings: Settings
    topic: str

    async def write(self, *keys: str, transaction: bool = False, size: int = 100) -> None:
        options = {"transactional_id": f"t-{uuid.uuid4().hex}"} if transaction else {}
        async with AIOKafkaProducer(bootstrap_servers=self.settings.kafka_bootstrap_servers, acks="all", **options) as producer:
            if transaction:
                await producer.begin_transaction()
            for key in keys:
                await producer.send(self.topic, b"x" * size, key=key.encode(), partition=0)
            await producer.flush()
            if transaction:
                await producer.commit_transaction()

    async def read(self, *places: int, **changes: float) -> Found:
        bounds = Bounds(**{name: getattr(BOUNDS, name) for name in BOUNDS.__slots__} | changes)  # type: ignore[arg-type]
        return await read_device(self.settings, SERIAL, [self.topic], [(self.topic, 0, offset) for offset in places], bounds)


@pytest.fixture
async def log(kafka_servers: str) -> AsyncIterator[Log]:
    topic = f"history-{uuid.uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    async with AIOKafkaProducer(bootstrap_servers=kafka_servers) as producer:
        await producer.partitions_for(topic)  # it is there some time before brokers tell of it
    yield Log(Settings.load(kafka_bootstrap_servers=kafka_servers), topic)
    await admin.delete_topics([topic])
    await admin.close()


def offsets(found: Found) -> list[int]:
    return [record.offset for record in found.records]


async def test_the_last_records_of_a_device_are_found_behind_many_of_others(log: Log) -> None:
    others = 3 * FIRST_WINDOW
    await log.write(SERIAL, SERIAL, SERIAL, *["OTHER"] * others, SERIAL)
    found = await log.read(limit=3)
    assert offsets(found) == [1, 2, others + 3]
    [read] = found.reads
    assert (read.ended, read.ended.complete, read.end_offset) == (ReadEnd.LIMIT, True, others + 4)
    everything = await log.read(limit=9)
    assert (offsets(everything), everything.reads[0].ended, everything.reads[0].first_offset) == ([0, 1, 2, others + 3], ReadEnd.SINCE, 0)


async def test_it_stops_when_it_would_cost_too_much_and_says_how_far_it_went(log: Log) -> None:
    await log.write(SERIAL, *["OTHER"] * 4 * FIRST_WINDOW)
    for changes in ({"records_max": FIRST_WINDOW}, {"bytes_max": FIRST_WINDOW * 100}):
        found = await log.read(**changes)
        [read] = found.reads
        assert (offsets(found), read.ended, read.ended.complete) == ([], ReadEnd.COST, False)
        assert read.end_offset - read.first_offset <= FIRST_WINDOW + 1
        assert read.earliest_ms is not None
    # What somebody rests on is read all the same.
    assert offsets(await log.read(0, records_max=FIRST_WINDOW)) == [0]


async def test_records_that_are_larger_than_any_before_end_it_in_the_middle(log: Log) -> None:
    await log.write(*[SERIAL] * FIRST_WINDOW, size=4096)
    found = await log.read(bytes_max=64 * 1024)
    [read] = found.reads
    assert (offsets(found), read.ended, read.first_offset) == ([], ReadEnd.COST, FIRST_WINDOW)
    assert offsets(await log.read()) == list(range(FIRST_WINDOW - BOUNDS.limit, FIRST_WINDOW))


async def test_markers_of_transactions_and_topics_that_are_empty_or_not_there_end_it_too(log: Log) -> None:
    assert (await log.read()).reads[0].ended is ReadEnd.BEGINNING
    await log.write(SERIAL, "OTHER", transaction=True)
    await log.write(SERIAL, transaction=True)
    found = await log.read(1, 2, 99)
    # The marker of the first may come behind the record of the second.
    assert offsets(found) in ([0, 2], [0, 3])
    missing = await read_device(log.settings, SERIAL, ["no-such-topic"], [("no-such-topic", 0, 0)], BOUNDS)
    assert (missing.records, missing.reads) == ((), ())
    assert "no-such-topic" in missing.unread


async def test_a_time_bounds_it_and_kafka_that_is_away_is_said_to_be(log: Log) -> None:
    await log.write(SERIAL)
    found = await log.read(since_ms=32_503_680_000_000)
    assert (offsets(found), found.reads[0].ended) == ([], ReadEnd.SINCE)
    away = Settings.load(kafka_bootstrap_servers="127.0.0.1:1")
    with pytest.raises(DependencyError):
        await read_device(away, SERIAL, [log.topic], [], BOUNDS)
