"""Read a range of a topic from its first to its last offset, in no consumer group, leaving no trace on the cluster."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownTopicOrPartitionError

from ems_streams.errors import EmsError
from ems_streams.kafka.client import client_options
from ems_streams.kafka.refusals import told, why_unreachable
from ems_streams.settings import Settings

POLL_TIMEOUT_MS = 200
FETCH_BYTES = 4 * 1024 * 1024
RECORDS_MAX = 20_000

Ranges = Mapping[TopicPartition, tuple[int, int]]
"""First offset, and the one up to which is read, without it."""


class NoSuchTopicError(EmsError):
    """There is no such topic on the cluster."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"topic {topic} does not exist; `ems-streams topics list` shows those that do")
        self.topic = topic


@contextlib.asynccontextmanager
async def positioned_consumer(
    settings: Settings, *, records_max: int | None = RECORDS_MAX, fetch_bytes: int = FETCH_BYTES
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of committed records without a group; raises `DependencyError` when Kafka is away at its start."""
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        group_id=None,
        isolation_level="read_committed",
        auto_offset_reset="none",
        fetch_max_wait_ms=POLL_TIMEOUT_MS,
        max_partition_fetch_bytes=fetch_bytes,
        max_poll_records=records_max,
    )
    try:
        try:
            await consumer.start()
        except (KafkaConnectionError, OSError):
            raise await why_unreachable(settings) from None
        yield consumer
    finally:
        # Also one that could not start: it would complain when it is collected.
        await consumer.stop()


async def partitions_of(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    """Partitions of a topic; raises `NoSuchTopicError`."""
    metadata = await consumer._client.fetch_all_metadata()
    numbers = metadata.partitions_for_topic(topic)
    if not numbers:
        raise NoSuchTopicError(topic)
    return [TopicPartition(topic, number) for number in sorted(numbers)]


async def whole(consumer: AIOKafkaConsumer, topic: str) -> dict[TopicPartition, tuple[int, int]]:
    """All that is on a topic now."""
    tps = await partitions_of(consumer, topic)
    starts, ends = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
    return {tp: (starts[tp], ends[tp]) for tp in tps}


async def between(consumer: AIOKafkaConsumer, topic: str, from_ms: int, to_ms: int) -> dict[TopicPartition, tuple[int, int]]:
    """What is on a topic now whose records are of a time.

    From the first record that is not older than `from_ms` to the first one that is not older than `to_ms`; where times of records do not rise,
    whatever lies between.
    """
    everything = await whole(consumer, topic)
    starts = await consumer.offsets_for_times(dict.fromkeys(everything, from_ms))
    ends = await consumer.offsets_for_times(dict.fromkeys(everything, to_ms))
    found = {}
    for tp, (_, end) in everything.items():
        start = end if starts[tp] is None else starts[tp].offset
        found[tp] = (start, max(start, end if ends[tp] is None else ends[tp].offset))
    return found


async def read_ranges(consumer: AIOKafkaConsumer, ranges: Ranges) -> AsyncGenerator[tuple[TopicPartition, Sequence[ConsumerRecord]], None]:
    """Committed records of ranges, in the order of each partition, until all are read; by position, since ranges may end with markers."""
    pending = {tp: end for tp, (start, end) in ranges.items() if start < end}
    consumer.assign(list(pending))
    for tp in pending:
        consumer.seek(tp, ranges[tp][0])
    while pending:
        try:
            polled = await consumer.getmany(timeout_ms=POLL_TIMEOUT_MS)
        except UnknownTopicOrPartitionError as error:
            raise EmsError(f"a topic was deleted while it was read: {error!r}") from None
        except KafkaError as error:
            raise EmsError(f"reading {', '.join(sorted({tp.topic for tp in pending}))} failed: {told(error)}") from error
        for tp, records in polled.items():
            end = ranges[tp][1]
            # What was fetched beyond the end is of no concern.
            kept = records if records[-1].offset < end else [record for record in records if record.offset < end]
            if kept and tp in pending:
                yield tp, kept
        for tp in list(pending):
            if await consumer.position(tp) >= pending[tp]:
                del pending[tp]
                consumer.pause(tp)
