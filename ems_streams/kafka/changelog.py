"""Recovery of table partitions from their changelog topics, batch by batch, with a consumer of its own.

Faust's recovery goes event by event through the worker's consumer, swallows errors, and never ends on a transactional
changelog, whose last offset is a commit marker that is never delivered. This one reads committed records in bulk, writes
them in bulk, and ends by position; any error is raised.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ems_streams.errors import EmsError
from ems_streams.kafka.client import client_options
from ems_streams.kafka.store import Store
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

POLL_TIMEOUT_MS = 200
POLL_RECORDS_MAX = 20_000
PROGRESS_INTERVAL_S = 5.0
FOLLOW_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class ChangelogPartition:
    """A changelog partition and the store that it restores."""

    topic: str
    partition: int
    store: Store

    @property
    def tp(self) -> TopicPartition:
        """As aiokafka names it."""
        return TopicPartition(self.topic, self.partition)

    @property
    def persisted_offset(self) -> int | None:
        """Changelog offset up to which the store is complete."""
        return self.store.persisted_offset(self.tp)


class PositionError(EmsError):
    """A stored position is beyond the end of its source topic: reading on would skip records without a word."""

    def __init__(self, tp: TopicPartition, position: int, end: int) -> None:
        super().__init__(
            f"{tp.topic} partition {tp.partition} ends at offset {end}, but the state has folded it up to {position}: the topic was deleted and "
            "made anew, or has lost records; keep its records and start over with another EMS_APPLICATION_ID, or delete the changelog topics"
        )


async def check_positions(settings: Settings, positions: Mapping[TopicPartition, int]) -> None:
    """Raise `PositionError` for a source partition that ends before what has been folded of it."""
    if not positions:
        return
    consumer = AIOKafkaConsumer(**client_options(settings), group_id=None)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(list(positions))
    finally:
        await consumer.stop()
    for tp, position in positions.items():
        if position >= ends[tp]:
            raise PositionError(tp, position, ends[tp])


async def restore(settings: Settings, partitions: Iterable[ChangelogPartition], on_progress: Callable[[int], None] = lambda _: None) -> int:
    """Bring every store up to the end of its changelog, as it is now; returns how many records were applied.

    Nobody may write to these changelogs meanwhile: fence their former owners first. `on_progress` gets the number of records just applied.
    """
    by_tp = {item.tp: item for item in partitions}
    if not by_tp:
        return 0
    async with _reader(settings) as consumer:
        consumer.assign(list(by_tp))
        ends = await _seek(consumer, by_tp)
        return await _read(consumer, by_tp, ends, on_progress)


async def follow(settings: Settings, partitions: Iterable[ChangelogPartition]) -> None:
    """Keep the stores of standby partitions up to date for as long as nobody cancels it, through outages of Kafka.

    Whoever takes such a partition over has next to nothing left to read.
    """
    by_tp = {item.tp: item for item in partitions}
    while by_tp:
        try:
            async with _reader(settings) as consumer:
                consumer.assign(list(by_tp))
                await _seek(consumer, by_tp)
                while True:
                    await _apply(consumer, by_tp)
        except (KafkaError, OSError) as error:
            log.warning("standby_put_off", error=repr(error))
            await asyncio.sleep(FOLLOW_PAUSE_S)


@contextlib.asynccontextmanager
async def _reader(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        group_id=None,
        isolation_level="read_committed",
        auto_offset_reset="none",
        fetch_max_wait_ms=POLL_TIMEOUT_MS,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


async def _apply(consumer: AIOKafkaConsumer, by_tp: Mapping[TopicPartition, ChangelogPartition]) -> int:
    """Write what one poll gives to the stores; how many records that were."""
    polled = await consumer.getmany(timeout_ms=POLL_TIMEOUT_MS, max_records=POLL_RECORDS_MAX)
    for tp, records in polled.items():
        by_tp[tp].store.write_raw(tp.partition, ((record.key, record.value) for record in records), records[-1].offset)
    return sum(map(len, polled.values()))


async def _seek(consumer: AIOKafkaConsumer, by_tp: dict[TopicPartition, ChangelogPartition]) -> dict[TopicPartition, int]:
    """Seek each partition behind what its store has; returns where each must get to."""
    starts, ends = await asyncio.gather(consumer.beginning_offsets(list(by_tp)), consumer.end_offsets(list(by_tp)))
    for tp, item in by_tp.items():
        persisted = item.persisted_offset
        if persisted is not None and persisted >= ends[tp]:
            log.error("store_ahead_of_changelog", topic=tp.topic, partition=tp.partition, persisted=persisted, end=ends[tp])
            item.store.wipe(tp.partition)
            persisted = None
        consumer.seek(tp, starts[tp] if persisted is None else max(persisted + 1, starts[tp]))
    return dict(ends)


async def _read(
    consumer: AIOKafkaConsumer,
    by_tp: dict[TopicPartition, ChangelogPartition],
    ends: dict[TopicPartition, int],
    on_progress: Callable[[int], None],
) -> int:
    pending = {tp for tp in by_tp if await consumer.position(tp) < ends[tp]}
    consumer.pause(*(by_tp.keys() - pending))
    applied = 0
    reported_s = time.monotonic()
    while pending:
        records = await _apply(consumer, by_tp)
        applied += records
        on_progress(records)
        # By position and not by the last record's offset: the last offset may be a commit marker.
        done = {tp for tp in pending if await consumer.position(tp) >= ends[tp]}
        pending -= done
        consumer.pause(*done)
        if time.monotonic() - reported_s > PROGRESS_INTERVAL_S:
            reported_s = time.monotonic()
            log.info("recovering", partitions=len(pending), records=applied)
    return applied
