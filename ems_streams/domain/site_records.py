"""What is kept of the windows of sites: each thing under a key of its own, so that what one device says costs a few small writes only.

All records of a site live in the partition of the site's key, but for `Whereabouts`, which lives in that of the device's.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol, TypeVar

from ems_streams.domain.windows import DAY_MS, Window

NEVER_MS: Final = -1


class WindowKey(NamedTuple):
    """Names a window of a site."""

    window: Window
    start_ms: int


@dataclass(slots=True)
class Sites:
    """The sites of a partition that have windows, by their ids."""

    ids: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Site:
    """How far a site is.

    Attributes:
        newest_ms: Event time that the foremost of its devices has reached; `NEVER_MS` before there is any.
        watermark_ms: What windows close by: the same, or what ticks have made of it.
        arrived_ms: Kafka timestamp of the last part.
        forgotten_ms: Windows that end by then were forgotten.
        late_parts: Parts that came for such a window.
        closed_ms: By kind, the greatest end of a window that was closed.
        open: Windows that are not closed yet, with their ends.
        days: Days of UTC that there is a `Day` of, rising.
        touched: Windows whose parts have changed since `SiteFold.settle`; empty whenever the record is stored, as are the following.
        others_from_ms: Windows that end from then on have another number of devices; None when they have the same.
        heard: Devices that are new here, or back, or not gone as was said; with the time that they were heard at.
    """

    newest_ms: int = NEVER_MS
    watermark_ms: int = NEVER_MS
    arrived_ms: int = NEVER_MS
    forgotten_ms: int = NEVER_MS
    late_parts: int = 0
    closed_ms: list[int] = field(default_factory=lambda: [NEVER_MS] * len(Window))
    open: dict[WindowKey, int] = field(default_factory=dict)
    days: list[int] = field(default_factory=list)
    touched: set[WindowKey] = field(default_factory=set)
    others_from_ms: int | None = None
    heard: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Roster:
    """Serial numbers of the devices that a site ever had; the place in the list is the device's number at its site."""

    serials: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Member:
    """A device at a site.

    Attributes:
        number: Its place in the roster.
        since_ms: The earliest end of a window that it had part in here.
        left_ms: The latest time at which it was said to be at another site; `NEVER_MS` when it never was.
        ends_ms: By kind, the latest end of a window that it had part in here.
    """

    number: int
    since_ms: int
    left_ms: int = NEVER_MS
    ends_ms: list[int] = field(default_factory=lambda: [NEVER_MS] * len(Window))

    @property
    def newest_ms(self) -> int:
        """The latest end of a window that it had part in here."""
        return max(self.ends_ms)

    @property
    def is_gone(self) -> bool:
        """Whether it has been at another site since it was last heard of here."""
        return self.left_ms > self.newest_ms

    def belongs(self, end_ms: int) -> bool:
        """Whether the site had it when a window ended; a device that has gone was here for as long as it was heard of here."""
        return self.since_ms <= end_ms and (end_ms <= self.newest_ms or not self.is_gone)


@dataclass(slots=True)
class Day:
    """The windows of a site that begin on one day of UTC, so that they are found again without a search."""

    windows: set[WindowKey] = field(default_factory=set)


@dataclass(slots=True)
class SiteWindow:
    """A window of a site.

    Attributes:
        end_ms: When it ends, epoch milliseconds.
        devices: Bit n is set when the device of number n has a part in it.
        revision: That was published last; 0 while it is open.
        devices_reported: As published last.
        devices_total: As published last.
        content: The summary as published last.
    """

    end_ms: int
    devices: int = 0
    revision: int = 0
    devices_reported: int = 0
    devices_total: int = 0
    content: bytes = b""

    def say(self, content: bytes, reported: int, total: int) -> bool:
        """Publish it with the next revision, unless it says what it said before; whether it is published."""
        before = (self.content, self.devices_reported, self.devices_total)
        if self.revision and before == (content, reported, total):
            return False
        self.revision += 1
        self.content, self.devices_reported, self.devices_total = content, reported, total
        return True

    def numbers(self) -> Iterator[int]:
        """Numbers of the devices that have a part in it."""
        rest = self.devices
        while rest:
            lowest = rest & -rest
            yield lowest.bit_length() - 1
            rest ^= lowest


@dataclass(frozen=True, slots=True)
class Part:
    """What a device says of a window of its site: the summary's bytes, of the greatest revision so far."""

    revision: int
    summary: bytes


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Site that a device was last heard at, and since when, in event time."""

    site_id: int
    since_ms: int


SiteRecord = Sites | Site | Roster | Member | Day | SiteWindow | Part | Whereabouts
R = TypeVar("R", bound=SiteRecord)


class Records(Protocol):
    """The records of one partition; `kafka.partition_state.PartitionState` is one."""

    def get(self, key: bytes) -> SiteRecord | None:
        """The very object that is changed; None when there is none."""

    def put(self, key: bytes, state: SiteRecord) -> None:
        """Keep a record that is new or was changed."""

    def delete(self, key: bytes) -> None:
        """Forget a record."""


def find(records: Records, kind: type[R], key: bytes) -> R | None:
    """The record of a kind under a key."""
    record = records.get(key)
    return record if isinstance(record, kind) else None


_SITE_KEY = struct.Struct(">BQ")
_DAY_KEY = struct.Struct(">BQi")
_WINDOW_KEY = struct.Struct(">BQBq")

SITES_KEY: Final = b"\x01"


def site_record_key(site_id: int) -> bytes:
    """Key of `Site`."""
    return _SITE_KEY.pack(2, site_id)


def roster_key(site_id: int) -> bytes:
    """Key of `Roster`."""
    return _SITE_KEY.pack(3, site_id)


def member_key(site_id: int, serial_number: str) -> bytes:
    """Key of `Member`."""
    return _SITE_KEY.pack(4, site_id) + serial_number.encode()


def day_key(site_id: int, day: int) -> bytes:
    """Key of `Day`."""
    return _DAY_KEY.pack(5, site_id, day)


def window_key(site_id: int, key: WindowKey) -> bytes:
    """Key of `SiteWindow`."""
    return _WINDOW_KEY.pack(6, site_id, key.window, key.start_ms)


def part_key(site_id: int, key: WindowKey, serial_number: str) -> bytes:
    """Key of `Part`."""
    return _WINDOW_KEY.pack(7, site_id, key.window, key.start_ms) + serial_number.encode()


def whereabouts_key(serial_number: str) -> bytes:
    """Key of `Whereabouts`."""
    return b"\x08" + serial_number.encode()


def day_of(start_ms: int) -> int:
    """Number of the day of UTC since 1970."""
    return start_ms // DAY_MS
