"""Recovery of table partitions from their changelog topics, batch by batch, with a consumer of its own.

Faust's recovery goes event by event through the worker's consumer, swallows errors, and never ends on a transactional
changelog, whose last offset is a commit marker that is never delivered. This one reads committed records in bulk, writes
them in bulk, and ends by position; any error is raised.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from ems_streams.errors import EmsError
from ems_streams.kafka.client import client_options
from ems_streams.kafka.partition_state import POSITION_KEY
from ems_streams.kafka.store import Store
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

POLL_TIMEOUT_MS = 200
POLL_RECORDS_MAX = 20_000
PROGRESS_INTERVAL_S = 5.0
FOLLOW_PAUSE_S = 2.0
BAD_RECORDS_LOGGED_MAX = 20


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A changelog record that holds no state.

    Attributes:
        topic: Changelog topic.
        partition: Its partition.
        offset: Of the record.
        key: Of the record: a serial number, as a rule.
        reason: What is wrong with it, in words.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    reason: str

    def __str__(self) -> str:
        return f"{self.topic} partition {self.partition} offset {self.offset} key {self.key!r}: {self.reason}"


class UndecodableError(EmsError):
    """The last record of some keys in a changelog holds no state; those devices' states are not known."""

    def __init__(self, bad: Sequence[BadRecord]) -> None:
        super().__init__(
            f"changelog records that cannot be read: {len(bad)}, the first in {bad[0]}; if a newer release has written them start that one, "
            "otherwise see 'changelog records that cannot be read' in the runbook"
        )
        self.bad = tuple(bad)


@dataclass(slots=True)
class ChangelogPartition:
    """A changelog partition and the store that it restores.

    Attributes:
        topic: Changelog topic.
        partition: Its partition.
        store: Store of the table.
        decode: Of the table's codec: raises on bytes that are no state.
        bad: Last records of their keys that could not be decoded; never written to the store.
    """

    topic: str
    partition: int
    store: Store
    decode: Callable[[bytes], object]
    bad: dict[bytes | None, BadRecord] = field(default_factory=dict)

    @property
    def tp(self) -> TopicPartition:
        """As aiokafka names it."""
        return TopicPartition(self.topic, self.partition)

    def apply(self, records: Sequence[ConsumerRecord]) -> None:
        """Write the last record of every key to the store, except what holds no state: that is kept in `bad`.

        A bad record that a later one of its key replaces is no harm. While there is one, the store's offset stays before it, so that
        whoever comes next meets it again.
        """
        last = {record.key: record for record in records}
        for key, record in last.items():
            self.bad.pop(key, None)
            if (reason := self._defect_of(record)) is not None:
                self.bad[key] = BadRecord(self.topic, self.partition, record.offset, key, reason)
        offset = min((bad.offset - 1 for bad in self.bad.values()), default=records[-1].offset)
        good = [(key, record.value) for key, record in last.items() if key not in self.bad]
        self.store.write_raw(self.partition, good, offset)

    def _defect_of(self, record: ConsumerRecord) -> str | None:
        if record.key is None:
            return "a record without a key"
        if record.value is None:
            return None
        try:
            _check_positions_value(record.value) if record.key == POSITION_KEY else self.decode(record.value)
        except (EmsError, ValueError, TypeError) as error:
            return str(error)
        return None


def _check_positions_value(value: bytes) -> None:
    positions = orjson.loads(value)
    if not isinstance(positions, dict) or not all(type(offset) is int for offset in positions.values()):
        raise ValueError("expected an object of offsets by source topic")


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
    Raises `UndecodableError` when the last record of a key holds no state, and `StoreLockedError`.
    """
    by_tp = {item.tp: item for item in partitions}
    if not by_tp:
        return 0
    async with _reader(settings) as consumer:
        consumer.assign(list(by_tp))
        ends = await _seek(consumer, by_tp)
        applied = await _read(consumer, by_tp, ends, on_progress)
    _raise_if_bad(by_tp.values())
    return applied


async def follow(settings: Settings, partitions: Iterable[ChangelogPartition]) -> None:
    """Keep the stores of standby partitions up to date for as long as nobody cancels it, through outages of Kafka.

    Whoever takes such a partition over has next to nothing left to read. Raises `UndecodableError` when there is a record that holds no
    state and nothing behind it that replaces it, and `StoreLockedError`.
    """
    by_tp = {item.tp: item for item in partitions}
    while by_tp:
        try:
            async with _reader(settings) as consumer:
                consumer.assign(list(by_tp))
                await _seek(consumer, by_tp)
                while True:
                    await _apply(consumer, by_tp)
                    _raise_if_bad([item for item in by_tp.values() if item.bad and await _is_at_end(consumer, item.tp)])
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
        by_tp[tp].apply(records)
    return sum(map(len, polled.values()))


async def _is_at_end(consumer: AIOKafkaConsumer, tp: TopicPartition) -> bool:
    end = consumer.last_stable_offset(tp)
    return end is not None and await consumer.position(tp) >= end


def _raise_if_bad(partitions: Iterable[ChangelogPartition]) -> None:
    bad = [record for item in partitions for record in item.bad.values()]
    if not bad:
        return
    for record in bad[:BAD_RECORDS_LOGGED_MAX]:
        log.error(
            "changelog_record_unreadable",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=repr(record.key),
            reason=record.reason,
        )
    raise UndecodableError(bad)


async def _seek(consumer: AIOKafkaConsumer, by_tp: dict[TopicPartition, ChangelogPartition]) -> dict[TopicPartition, int]:
    """Seek each partition behind what its store has; returns where each must get to."""
    starts, ends = await asyncio.gather(consumer.beginning_offsets(list(by_tp)), consumer.end_offsets(list(by_tp)))
    for tp, item in by_tp.items():
        item.bad.clear()
        await item.store.open_partition(tp.partition)
        persisted = item.store.complete_up_to(tp.partition)
        if persisted is not None and persisted >= ends[tp]:
            item.store.wipe(tp.partition, f"it is ahead: complete up to offset {persisted} of {tp.topic}, which ends at {ends[tp]}")
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
