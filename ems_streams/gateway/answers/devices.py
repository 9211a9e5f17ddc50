"""Devices and sites."""

from ems_streams.domain.events import DeviceStatus
from ems_streams.gateway.answers.alarms import AlarmView
from ems_streams.gateway.answers.base import Answer, Count, Covered, Moment, NextCursor


class DeviceMaintenance(Answer):
    """The maintenance window that a device is in.

    Attributes:
        until: When it ends.
    """

    window_id: str
    until: Moment
    reason: str


class DeviceFlapping(Answer):
    """That a device goes up and down.

    Attributes:
        since: When it began.
        changes: Transitions since then.
    """

    since: Moment
    changes: Count


class DeviceView(Answer):
    """A device as it is now.

    Attributes:
        status_cause: Input of the status machine, such as `SILENCE`.
        maintenance: Window that it is in; null outside of any.
        flapping: Null while it is not flapping.
        alarms: Those that are not cleared; null while they are not known.
        sequence: Transitions so far.
        last_seen: When the device was last heard of, by its own clock.
        latest: Last value of every metric.
        latest_timestamp: Of the newest of them; null before the first telemetry.
        name: What people call it, by the registry; null without one.
    """

    serial_number: str
    device_id: int
    site_id: int
    device_type: str | None
    status: DeviceStatus
    previous_status: DeviceStatus
    status_since: Moment
    status_reason: str
    status_cause: str | None
    error_code: str | None
    maintenance: DeviceMaintenance | None
    flapping: DeviceFlapping | None
    alarms: list[AlarmView] | None
    sequence: int
    last_seen: Moment
    latest: dict[str, float]
    latest_timestamp: Moment | None
    name: str | None = None


class StatusEvent(Answer):
    """A transition of a device.

    Attributes:
        sequence: Number of the transition, from 1 on.
        reason: In words.
    """

    event_id: str
    sequence: int
    previous_status: DeviceStatus
    new_status: DeviceStatus
    timestamp: Moment
    reason: str | None


class StatusEvents(Answer):
    """How the status of a device went, newest first.

    Attributes:
        more: Whether there are older ones within the times that were asked for.
        history_available: Whether PostgreSQL was heard; without it there are none here.
    """

    as_of: Moment
    serial_number: str
    events: list[StatusEvent]
    more: bool
    history_available: bool


class DevicesPage(Covered):
    """Devices, by serial number."""

    devices: list[DeviceView]
    next_cursor: NextCursor


class SiteSummary(Answer):
    """A site by its devices.

    Attributes:
        devices: How many have been heard of.
        statuses: How many of them have which status; what none has is left out.
        power_kw: Sum of the latest power of those that are heard of, in kW.
    """

    site_id: int
    devices: Count
    statuses: dict[DeviceStatus, Count]
    power_kw: float


class SitesPage(Covered):
    """Sites, by id."""

    sites: list[SiteSummary]


class SiteView(SiteSummary, Covered):
    """One site."""
