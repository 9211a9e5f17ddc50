"""Reading dead letters: newest first a page at a time, whole ranges forwards, or a single one; memory does not grow with the topic."""

import contextlib
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from ems_streams.domain.letter import Letter, LetterId, read_letter
from ems_streams.errors import NotFoundError, UsageError
from ems_streams.kafka.catalogue import DLT_SUFFIX, QUARANTINE
from ems_streams.kafka.range_reader import partitions_of, read_ranges

SPRING_SUFFIX = ".DLT"
WINDOW_RECORDS = 64
"""So many offsets of a partition are read at once, backwards."""
PREVIEW_BYTES = 2048
"""So much of a value is kept in lists: letters may have 4 MiB."""

Offsets = Mapping[int, int]
Ranges = dict[int, tuple[int, int]]
"""By partition: first offset, and the one behind the last."""


class NoSuchLetterError(NotFoundError):
    """There is no letter at that place, or no longer."""

    title = "No such dead letter"


def is_dead_letter_topic(name: str) -> bool:
    """Whether a topic holds dead letters, by its name; Spring's older name for them counts as well."""
    return name.endswith((DLT_SUFFIX, SPRING_SUFFIX)) or name == QUARANTINE


def check_topic(topic: str) -> None:
    """Raises `UsageError` for a topic that is not one of dead letters."""
    if not is_dead_letter_topic(topic):
        raise UsageError(f"{topic!r}: expected a topic of dead letters; `ems-streams dlt list` shows them")


def letter_of(record: "ConsumerRecord[bytes, bytes]", kept_bytes: int | None = None) -> Letter:
    """The letter of its record, with as much of the value as is asked for."""
    letter_id = LetterId(record.topic, record.partition, record.offset)
    return read_letter(letter_id, record.timestamp, record.key, record.value, record.headers, kept_bytes=kept_bytes)


async def topics_of(consumer: AIOKafkaConsumer) -> list[str]:
    """Dead letter topics of the cluster, sorted."""
    cluster = await consumer._client.fetch_all_metadata()
    return sorted(name for name in cluster.topics() if is_dead_letter_topic(name))


async def ranges_of(consumer: AIOKafkaConsumer, topic: str, since_ms: int | None = None) -> Ranges:
    """What is on a topic now, from a time on; letters at that edge are still to be looked at.

    Times of records may differ by the clocks of who wrote them, so that an end is not looked for by time.
    """
    tps = await partitions_of(consumer, topic)
    starts, ends = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
    if since_ms is not None:
        found = await consumer.offsets_for_times(dict.fromkeys(tps, since_ms))
        starts = {tp: ends[tp] if found[tp] is None else max(starts[tp], found[tp].offset) for tp in tps}
    return {tp.partition: (min(starts[tp], ends[tp]), ends[tp]) for tp in tps}


def newest(ranges: Ranges, count: int) -> Ranges:
    """The last so many offsets, shared out over the partitions that have some."""
    filled = sum(start < end for start, end in ranges.values())
    each = max(1, count // filled) if filled else 0
    return {partition: (max(start, end - each), end) for partition, (start, end) in ranges.items()}


async def scan(
    consumer: AIOKafkaConsumer, topic: str, ranges: Ranges, kept_bytes: int | None = PREVIEW_BYTES
) -> AsyncGenerator[list[Letter], None]:
    """Letters of ranges in pieces, in the order of each partition."""
    wanted = {TopicPartition(topic, partition): bounds for partition, bounds in ranges.items()}
    async with contextlib.aclosing(read_ranges(consumer, wanted)) as pieces:
        async for _, records in pieces:
            yield [letter_of(record, kept_bytes) for record in records]


async def letter_at(consumer: AIOKafkaConsumer, letter_id: LetterId) -> Letter:
    """One letter; raises `NoSuchLetterError`."""
    ranges = await ranges_of(consumer, letter_id.topic)
    start, end = ranges.get(letter_id.partition, (0, 0))
    if not start <= letter_id.offset < end:
        there = f"partition {letter_id.partition} has offsets {start} to {end - 1}" if start < end else "there is nothing in that partition"
        raise NoSuchLetterError(f"there is no dead letter {letter_id}: {there}")
    async for letters in scan(consumer, letter_id.topic, {letter_id.partition: (letter_id.offset, letter_id.offset + 1)}, None):
        return letters[0]
    raise NoSuchLetterError(f"there is no dead letter {letter_id}: at that offset is no record, but a marker of a transaction")


@dataclass(slots=True)
class _Backwards:
    """One partition, read from its end."""

    start: int
    before: int
    letters: list[Letter] = field(default_factory=list)
    """Of the window that was read last, oldest first."""


class NewestFirst:
    """Letters of a topic from the newest to the oldest, by the time they were put aside; within a partition by offset.

    Args:
        ranges: What there is.
        before: By partition, from where on backwards; of what is not named from its end.

    Attributes:
        read: Offsets that were passed, letters or not.
    """

    def __init__(self, consumer: AIOKafkaConsumer, topic: str, ranges: Ranges, before: Offsets | None = None) -> None:
        self._consumer = consumer
        self._topic = topic
        self._partitions = {number: _Backwards(start, min(end, (before or {}).get(number, end))) for number, (start, end) in ranges.items()}
        self.read = 0

    async def take(self) -> Letter | None:
        """The next older letter; None when there is none."""
        while hungry := [number for number, each in self._partitions.items() if not each.letters and each.before > each.start]:
            await self._refill(hungry)
        heads = [(each.letters[-1].timestamp_ms, number) for number, each in self._partitions.items() if each.letters]
        if not heads:
            return None
        each = self._partitions[max(heads)[1]]
        letter = each.letters.pop()
        each.before = letter.letter_id.offset
        return letter

    @property
    def place(self) -> dict[int, int]:
        """Where to go on: by partition the offset before which everything is still to come."""
        return {number: each.before for number, each in self._partitions.items()}

    @property
    def exhausted(self) -> bool:
        """Whether nothing older is left, as far as is known."""
        return not any(each.letters or each.before > each.start for each in self._partitions.values())

    async def _refill(self, numbers: Iterable[int]) -> None:
        windows: Ranges = {}
        for number in numbers:
            each = self._partitions[number]
            windows[number] = (max(each.start, each.before - WINDOW_RECORDS), each.before)
        found: dict[int, list[Letter]] = {}
        async for letters in scan(self._consumer, self._topic, windows):
            found.setdefault(letters[0].letter_id.partition, []).extend(letters)
        for number, (first, behind) in windows.items():
            each = self._partitions[number]
            self.read += behind - first
            each.letters = found.get(number, [])
            # A window without a letter, such as of markers, is passed.
            if not each.letters:
                each.before = first


async def counts(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> dict[str, int]:
    """Of each topic the distance of first and next offset: at least as much as there are letters."""
    tps = [tp for topic in topics for tp in await partitions_of(consumer, topic)]
    starts, ends = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
    found: dict[str, int] = dict.fromkeys((tp.topic for tp in tps), 0)
    for tp in tps:
        found[tp.topic] += ends[tp] - starts[tp]
    return found
