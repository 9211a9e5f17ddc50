"""The windows of event time that statistics are kept for: how long they are, when they close, and how long they are corrected.

All are tumbling. Minutes, quarters, hours and days begin at whole multiples of their length in UTC; the local day begins at midnight of
the site's time zone, and is 23 or 25 hours long when clocks change. Every zone's offset is a multiple of a quarter of an hour, so a
quarter lies in exactly one window of each longer kind.

A window closes when its device's watermark (the greatest event time) is the allowed lateness behind its end. Up to the correction
horizon, later events give it a next revision; beyond the horizon they are late for good.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from ems_streams.domain.timestamps import MINUTE_MS, from_epoch_ms, to_epoch_ms

QUARTER_MS: Final = 15 * MINUTE_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
LONGEST_MS: Final = 25 * HOUR_MS
"""No window is longer."""


class Window(IntEnum):
    """Kinds of windows, shortest first."""

    MINUTE = 0
    QUARTER = 1
    HOUR = 2
    DAY = 3
    LOCAL_DAY = 4

    @property
    def label(self) -> str:
        """Name on the wire; the local day has one of its own, so that who reads days of UTC counts nothing twice."""
        return _LABELS[self]

    @classmethod
    def of_label(cls, label: str) -> "Window":
        """The kind of that name; raises `ValueError`."""
        return cls(_LABELS.index(label))


_LABELS: Final = ("1m", "15m", "1h", "1d", "1d-local")
LABELS: Final = _LABELS
_LENGTHS_MS: Final = (MINUTE_MS, QUARTER_MS, HOUR_MS, DAY_MS)


@dataclass(frozen=True, slots=True)
class Span:
    """A window of some kind: from `start_ms` up to and without `end_ms`, epoch milliseconds."""

    start_ms: int
    end_ms: int


def _no_zone(_site_id: int) -> ZoneInfo | None:
    return None


@dataclass(frozen=True, slots=True)
class WindowPolicy:
    """What is decided about windows once for all devices.

    Attributes:
        lateness_ms: Allowed lateness per kind, not falling from one kind to the next, so that a window closes after its parts.
        horizon_ms: Events that are not further behind their device's watermark correct closed windows.
        quiet_ms: After so long without a message a tick moves a device's watermark on.
        published: Kinds that are published when they close.
        zone_of: Time zone of a site, None for sites that have no local day of their own.
    """

    lateness_ms: tuple[int, int, int, int, int] = (30_000, 60_000, 120_000, 600_000, 600_000)
    horizon_ms: int = DAY_MS
    quiet_ms: int = 120_000
    published: frozenset[Window] = frozenset(Window)
    zone_of: Callable[[int], ZoneInfo | None] = field(default=_no_zone)

    def __post_init__(self) -> None:
        if list(self.lateness_ms) != sorted(self.lateness_ms) or self.lateness_ms[0] < 0:
            raise ValueError(f"lateness {self.lateness_ms}: must not be negative, nor fall from one kind of window to the next longer one")

    @property
    def kept_ms(self) -> int:
        """How far behind the watermark a quarter's summary is still needed, by the longest window that may still be corrected, or has not closed yet."""
        return max(self.horizon_ms, self.lateness_ms[-1]) + LONGEST_MS


def span_of(window: Window, at_ms: int, zone: ZoneInfo | None) -> Span:
    """The window of a kind that a time lies in; without a zone the local day is that of UTC."""
    if window is Window.LOCAL_DAY and zone is not None:
        return _local_day(zone, at_ms // QUARTER_MS)
    length_ms = DAY_MS if window is Window.LOCAL_DAY else _LENGTHS_MS[window]
    start_ms = at_ms - at_ms % length_ms
    return Span(start_ms, start_ms + length_ms)


@lru_cache(maxsize=8_192)
def _local_day(zone: ZoneInfo, quarter: int) -> Span:
    local = from_epoch_ms(quarter * QUARTER_MS).astimezone(zone)
    start = datetime(local.year, local.month, local.day, tzinfo=zone)
    tomorrow = (start.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=zone)
    return Span(to_epoch_ms(start.astimezone(UTC)), to_epoch_ms(tomorrow.astimezone(UTC)))
