"""The last notifications in the order of their arrival, each once; pure, without I/O."""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from ems_streams.gateway.cursors import Offsets, encode_feed
from ems_streams.gateway.filters import EVERYTHING, NO_FACTS, Facts, Filter

REMEMBERED_IDS_PER_ENTRY = 4
"""Ids are remembered for longer than their entries, so that a late duplicate is not told twice."""
FRAMES_KEPT = 500
"""Clients that keep up are all within the newest entries; a frame made for one that was behind would double what an old entry takes."""


@dataclass(slots=True)
class Entry:
    """A notification in the ring.

    Attributes:
        position: Number of its arrival, from 0, without gaps.
        partition: Kafka partition it came from.
        offset: Its offset there.
        payload: The notification as JSON.
        after: Next offset to read of every partition once this entry is known.
        facts: What filters look at.
        frame: The message to clients as bytes on the wire, once somebody has made it; of the newest entries only.
    """

    position: int
    partition: int
    offset: int
    payload: bytes
    after: Offsets
    facts: Facts = NO_FACTS
    frame: bytes | None = None

    @property
    def cursor(self) -> str:
        """Cursor of the point right after this entry."""
        return encode_feed(self.after)


class Ring:
    """Bounded memory of a feed that is read from several partitions.

    Guarantees: entries of one partition are in the order of their offsets; an id is held at most once, and a
    duplicate replaces what is held without arriving again; whatever has an offset of at least `floor[partition]` and
    below `after[partition]` is held.

    Args:
        capacity: Most entries held; the oldest give way.
        start: First offset that will be added, by partition.
    """

    def __init__(self, capacity: int, start: Sequence[int]) -> None:
        self._capacity = capacity
        self._entries: deque[Entry] = deque()
        self._positions: OrderedDict[str, int] = OrderedDict()
        self._after: Offsets = tuple(start)
        self._floor = list(start)
        self._end = 0
        self._replaced = 0

    @property
    def version(self) -> int:
        """Changes whenever what is held does."""
        return self._end + self._replaced

    @property
    def after(self) -> Offsets:
        """Next offset of every partition."""
        return self._after

    @property
    def floor(self) -> Offsets:
        """Lowest offset, by partition, from which on nothing is missing."""
        return tuple(self._floor)

    @property
    def start(self) -> int:
        """Position of the oldest entry held."""
        return self._end - len(self._entries)

    @property
    def end(self) -> int:
        """Position that the next entry will have."""
        return self._end

    def add(self, partition: int, offset: int, notification_id: str, payload: bytes, facts: Facts = NO_FACTS) -> bool:
        """Adds a record; returns whether it is new, and not a duplicate of a known id."""
        self.advance(partition, offset + 1)
        known = self._positions.get(notification_id)
        if known is not None:
            self._replace(known, payload, facts)
            return False
        self._entries.append(Entry(self._end, partition, offset, payload, self._after, facts))
        self._positions[notification_id] = self._end
        self._end += 1
        if len(self._entries) > FRAMES_KEPT:
            self._entries[-1 - FRAMES_KEPT].frame = None
        self._shrink()
        return True

    def advance(self, partition: int, next_offset: int) -> None:
        """Everything of a partition below `next_offset` is dealt with."""
        if next_offset > self._after[partition]:
            self._after = (*self._after[:partition], next_offset, *self._after[partition + 1 :])

    def at(self, position: int) -> Entry:
        """Entry at a position in `start <= position < end`."""
        index = position - self.start
        if not 0 <= index < len(self._entries):
            raise IndexError(position)
        return self._entries[index]

    def before(self, point: Offsets, limit: int, wanted: Filter = EVERYTHING) -> list[Entry]:
        """Up to `limit` entries that are wanted and lie before a point of the feed, newest first."""
        found: list[Entry] = []
        for entry in reversed(self._entries):
            if len(found) == limit:
                break
            if entry.partition < len(point) and entry.offset < point[entry.partition] and wanted.wants(entry.facts):
                found.append(entry)
        return found

    def position_after(self, point: Offsets) -> int | None:
        """Position right after the entry whose cursor is of exactly this point; None when no such entry is held."""
        low, high = self.start, self._end
        while low < high:
            middle = (low + high) // 2
            # Points only ever grow from one entry to the next.
            if all(mine >= theirs for mine, theirs in zip(self.at(middle).after, point, strict=True)):
                high = middle
            else:
                low = middle + 1
        return low + 1 if low < self._end and self.at(low).after == point else None

    def _replace(self, position: int, payload: bytes, facts: Facts) -> None:
        if position >= self.start:
            entry = self.at(position)
            entry.payload, entry.facts, entry.frame = payload, facts, None
            self._replaced += 1

    def _shrink(self) -> None:
        if len(self._entries) > self._capacity:
            oldest = self._entries.popleft()
            self._floor[oldest.partition] = oldest.offset + 1
        if len(self._positions) > self._capacity * REMEMBERED_IDS_PER_ENTRY:
            self._positions.popitem(last=False)
