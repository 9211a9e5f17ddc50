"""The last records of one device on many topics, read from the end of its partition backwards; what that may cost is bounded."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from ems_streams.domain.device_history import Found, HistoryRecord, Read, ReadEnd
from ems_streams.errors import DependencyError, EmsError
from ems_streams.kafka.partitioner import partition_for
from ems_streams.kafka.range_reader import positioned_consumer, read_ranges
from ems_streams.settings import Settings

FIRST_WINDOW: Final = 512
"""Offsets that are read of each topic in the first round; four times as many in each one after."""
WINDOW_GROWTH: Final = 4
FETCH_BYTES: Final = 256 * 1024
CUT_AT: Final = 2
"""How large records are is known only when they are there. A round that comes to so many times the bytes that may be read is ended in the middle."""
VALUE_KEPT_BYTES: Final = 64 * 1024
"""Of a dead letter of 4 MiB so much is enough to say what it is."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far back a device is looked for.

    Attributes:
        since_ms: Not before this.
        limit: So many of its records of each topic.
        records_max: So many records of all devices together, on all topics.
        bytes_max: So many bytes of values in them.
        deadline_s: For all of it.
    """

    since_ms: int
    limit: int
    records_max: int
    bytes_max: int
    deadline_s: float


@dataclass(slots=True)
class _Topic:
    """What is known of one topic so far."""

    tp: TopicPartition
    first: int
    end: int
    before: int
    earliest_ms: int | None = None
    records: list[HistoryRecord] = field(default_factory=list)
    ended: ReadEnd | None = None

    def view(self) -> Read:
        return Read(
            topic=self.tp.topic,
            partition=self.tp.partition,
            first_offset=self.before,
            end_offset=self.end,
            earliest_ms=self.earliest_ms,
            ended=self.ended or ReadEnd.DEADLINE,
        )


async def read_device(
    settings: Settings, serial_number: str, topics: Collection[str], places: Iterable[tuple[str, int, int]], bounds: Bounds
) -> Found:
    """The last records of a device, and what is at some places, if that is still there.

    Topics that are not there or may not be read are in the answer by name. Raises `DependencyError` when Kafka is away; what could not be read in
    time is left out, and said to be.

    Args:
        topics: Those whose records are keyed by the serial number.
        places: Topic, partition and offset of records to be read in any case, however long ago they were.
        bounds: How far back it is looked.
    """
    reader = _Reader(serial_number.encode(), bounds)
    try:
        async with asyncio.timeout(bounds.deadline_s):
            async with positioned_consumer(settings, fetch_bytes=FETCH_BYTES) as consumer:
                await reader.read(consumer, topics, places)
    except TimeoutError:
        if not reader.begun:
            raise DependencyError(f"Kafka did not answer within {bounds.deadline_s:g} s") from None
    except KafkaError as error:
        raise DependencyError(f"Kafka cannot be read: {error!r}") from None
    return reader.found()


@dataclass(slots=True)
class _Window:
    """What is read of a topic in one round: of the device's records only the last ones are kept, and nothing of others, however much there is.

    Attributes:
        next: Up to here it is read, without it.
    """

    first: int
    end: int
    own: deque[HistoryRecord]
    earliest_ms: int | None = None
    next: int = -1

    def read(self, records: Sequence["ConsumerRecord[bytes, bytes]"], key: bytes) -> None:
        """Take the next records in."""
        if self.earliest_ms is None:
            self.earliest_ms = records[0].timestamp
        self.own.extend(_record(record) for record in records if record.key == key)
        self.next = records[-1].offset + 1


class _Reader:
    def __init__(self, key: bytes, bounds: Bounds) -> None:
        self._key = key
        self._bounds = bounds
        self._topics: list[_Topic] = []
        self._places: list[HistoryRecord] = []
        self._unread: dict[str, str] = {}
        self._records = self._bytes = 0
        self._window = FIRST_WINDOW
        self.begun = False

    def found(self) -> Found:
        """What was read until now."""
        records = [record for each in self._topics for record in each.records]
        known = {record.place for record in records}
        records += [record for record in self._places if record.place not in known]
        return Found(
            tuple(sorted(records, key=lambda record: (record.timestamp_ms, *record.place))),
            tuple(each.view() for each in self._topics),
            dict(self._unread),
        )

    async def read(self, consumer: AIOKafkaConsumer, topics: Collection[str], places: Iterable[tuple[str, int, int]]) -> None:
        await self._begin(consumer, topics)
        self.begun = True
        await self._read_places(consumer, places)
        while pending := [each for each in self._topics if each.ended is None]:
            try:
                await self._round(consumer, pending, self._affordable(len(pending)))
            except EmsError as error:
                self._refused(error)
            self._window *= WINDOW_GROWTH

    def _affordable(self, topics: int) -> int:
        """How many offsets of each topic may be read in the next round, by the size of those that were read until now."""
        left = self._bounds.records_max - self._records
        if self._bytes:
            left = min(left, (self._bounds.bytes_max - self._bytes) * self._records // self._bytes)
        return max(1, min(self._window, left // topics))

    def _refused(self, error: EmsError) -> None:
        """Go on without topics that may not be read; raises the error again when it is another one."""
        cause = error.__cause__
        if not isinstance(cause, TopicAuthorizationFailedError):
            raise error
        refused = {str(name) for each in cause.args for name in (each if isinstance(each, list | tuple | set | frozenset) else [each])}
        allowed = [each for each in self._topics if each.tp.topic not in refused]
        if len(allowed) == len(self._topics):
            raise error
        self._unread |= dict.fromkeys(sorted(refused), "this process may not read it")
        self._topics = allowed

    async def _begin(self, consumer: AIOKafkaConsumer, topics: Collection[str]) -> None:
        counts = await self._partition_counts(consumer, topics)
        tps = [TopicPartition(topic, partition_for(self._key, count)) for topic, count in counts.items()]
        firsts, ends, since = await self._offsets(consumer, tps)
        for tp in tps:
            first = ends[tp] if since.get(tp) is None else max(firsts[tp], since[tp])
            each = _Topic(tp, min(first, ends[tp]), ends[tp], ends[tp])
            if each.first >= each.end:
                each.ended = ReadEnd.BEGINNING if firsts[tp] >= ends[tp] else ReadEnd.SINCE
            self._topics.append(each)

    async def _partition_counts(self, consumer: AIOKafkaConsumer, topics: Collection[str]) -> dict[str, int]:
        metadata = await consumer._client.fetch_all_metadata()
        counts = {}
        for topic in topics:
            partitions = metadata.partitions_for_topic(topic)
            if partitions:
                counts[topic] = len(partitions)
            else:
                # Brokers do not name topics to those who may not see them.
                self._unread[topic] = "it does not exist, or may not be seen"
        return counts

    async def _offsets(
        self, consumer: AIOKafkaConsumer, tps: list[TopicPartition]
    ) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int], dict[TopicPartition, int]]:
        if not tps:
            return {}, {}, {}
        firsts, ends = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
        found = await consumer.offsets_for_times(dict.fromkeys(tps, self._bounds.since_ms))
        return firsts, ends, {tp: each.offset for tp, each in found.items() if each is not None}

    async def _read_places(self, consumer: AIOKafkaConsumer, places: Iterable[tuple[str, int, int]]) -> None:
        wanted = sorted(set(places))
        known = {each.tp: each for each in self._topics}
        for topic, partition, offset in wanted:
            tp = TopicPartition(topic, partition)
            if (each := known.get(tp)) is None or not 0 <= offset < each.end or offset < (await consumer.beginning_offsets([tp]))[tp]:
                continue
            try:
                async with contextlib.aclosing(read_ranges(consumer, {tp: (offset, offset + 1)})) as pieces:
                    async for _, records in pieces:
                        self._places += [_record(record) for record in records if record.key == self._key]
            except EmsError as error:
                self._refused(error)

    async def _round(self, consumer: AIOKafkaConsumer, pending: list[_Topic], offsets: int) -> None:
        """One window of each topic, all at once."""
        windows = {each.tp: self._window_of(each, offsets) for each in pending}
        async with contextlib.aclosing(read_ranges(consumer, {tp: (each.first, each.end) for tp, each in windows.items()})) as pieces:
            async for tp, records in pieces:
                self._records += len(records)
                self._bytes += sum(len(record.value or b"") for record in records)
                windows[tp].read(records, self._key)
                if self._bytes >= CUT_AT * self._bounds.bytes_max:
                    break
            else:
                for each in windows.values():
                    each.next = each.end
        over = self._records >= self._bounds.records_max or self._bytes >= self._bounds.bytes_max
        for topic in pending:
            self._take(topic, windows[topic.tp], over=over)

    def _window_of(self, each: _Topic, offsets: int) -> _Window:
        return _Window(max(each.first, each.before - offsets), each.before, deque(maxlen=self._bounds.limit))

    def _take(self, each: _Topic, window: _Window, *, over: bool) -> None:
        if window.next < window.end:
            # Its newest records are missing, and without them the others are not the last ones.
            each.ended = ReadEnd.COST
            return
        each.before = window.first
        if window.earliest_ms is not None:
            each.earliest_ms = window.earliest_ms
        each.records = [*window.own, *each.records]
        if len(each.records) >= self._bounds.limit:
            each.records = each.records[-self._bounds.limit :]
            each.ended = ReadEnd.LIMIT
        elif window.first <= each.first:
            each.ended = ReadEnd.SINCE
        elif over:
            each.ended = ReadEnd.COST


def _record(record: "ConsumerRecord[bytes, bytes]") -> HistoryRecord:
    value = record.value
    return HistoryRecord(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        key=record.key,
        value=None if value is None else value[:VALUE_KEPT_BYTES],
        size=len(value or b""),
        headers=tuple((name, bytes(content or b"")) for name, content in record.headers),
    )
