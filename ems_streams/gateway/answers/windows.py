"""Statistics and windows of devices and sites."""

from typing import Literal

from ems_streams.domain.events import Quality, WindowLabel
from ems_streams.gateway.answers.base import Answer, Count, Figure, Moment, NextCursor


class TotalStatistics(Answer):
    """Of one metric over all time; null where a figure is beyond the range of a float."""

    count: Count
    sum: Figure
    min: float
    max: float
    mean: Figure
    last: float
    stddev: Figure


class WindowStatistics(TotalStatistics):
    """Of one metric in one window; quantiles are within 1 % of a value of that rank."""

    p50: float
    p95: float
    p99: float


class Total(Answer):
    """Statistics over all time, by metric."""

    metrics: dict[str, TotalStatistics]


class WindowView(Answer):
    """A window; those from history also have what their event had.

    Attributes:
        window: Kind; `1d` is the day of UTC, `1d-local` that of `timeZone`.
        revision: 0 while it is open, 1 when it closed, one more for each correction.
        event_count: Messages in it.
        energy_kwh: Net energy of the covered part, in kWh, positive when delivered; null when nothing is covered.
        energy_quality: What it was made from.
        energy_covered_share: Part of the window that `energyKwh` is about, 0 to 1.
        time_zone: Of a day of the site.
        written_at: When it was written to history.
    """

    window: WindowLabel
    window_start: Moment
    window_end: Moment
    revision: Count
    event_count: Count
    metrics: dict[str, WindowStatistics]
    energy_kwh: float | None
    energy_quality: Quality
    energy_covered_share: float
    event_id: str = ""
    site_id: int = 0
    time_zone: str = ""
    written_at: Moment = ""


class DeviceWindow(WindowView):
    """A window of a device; those from history also have what their event had."""

    event_type: Literal["DEVICE_AGGREGATE"] = "DEVICE_AGGREGATE"
    serial_number: str = ""
    device_id: int = 0
    device_type: str = ""


class SiteWindow(WindowView):
    """A window of a site; those from history also have what their event had.

    Attributes:
        devices_reported: Devices that have something in the window.
        devices_total: Devices that the site had when it was made.
    """

    event_type: Literal["SITE_AGGREGATE"] = "SITE_AGGREGATE"
    devices_reported: Count
    devices_total: Count


class WindowsPage(Answer):
    """Windows, newest first.

    Attributes:
        live_available: Whether the worker that has them answered; without it the newest windows may be missing.
        history_available: Whether PostgreSQL was heard; without it older windows than those shown may exist.
    """

    next_cursor: NextCursor
    live_available: bool
    history_available: bool


class DeviceAggregates(WindowsPage):
    """Statistics of a device, and its windows, newest first.

    Attributes:
        total: Over all time; null while the worker that has them does not answer.
    """

    serial_number: str
    total: Total | None
    windows: list[DeviceWindow]


class SiteAggregates(WindowsPage):
    """Windows of a site, newest first."""

    site_id: int
    windows: list[SiteWindow]
