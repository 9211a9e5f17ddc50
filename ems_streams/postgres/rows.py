"""From a record of an event topic to the row that it becomes; no I/O.

Validation here says what the columns need, and no more: fields that are not known are let through, and metrics are an object
whose inside is the workers' business.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import orjson
from pydantic import BaseModel, Field, StringConstraints

from ems_streams.domain.events import Event, Notification, PositiveId, StatusEvent, Time, decode
from ems_streams.errors import MalformedError
from ems_streams.kafka.catalogue import DEVICE_AGGREGATES, DEVICE_NOTIFICATIONS, DEVICE_STATUS, SITE_AGGREGATES
from ems_streams.postgres import schema
from ems_streams.postgres.schema import Table

AHEAD_MAX = timedelta(days=35)
"""An event of a time that is further ahead of its record is malformed: each such time would make a partition of its own."""

UTC_WINDOW: Final = ""
"""`time_zone` of a window that begins at a UTC time."""

Window = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,3}[mhd](-local)?$")]
Count = Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)]
Revision = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class WindowEvent(Event):
    """What all aggregate events have in common."""

    event_id: str
    site_id: PositiveId
    window: Window
    time_zone: str | None = None
    window_start: Time
    window_end: Time
    revision: Revision
    event_count: Count
    metrics: dict[str, Any]
    energy_kwh: Number | None = None
    energy_quality: str | None = None
    energy_covered_share: Number | None = None


class DeviceWindowEvent(WindowEvent):
    """A record of `device-aggregates`."""

    device_id: PositiveId
    serial_number: str
    device_type: str


class SiteWindowEvent(WindowEvent):
    """A record of `site-aggregates`."""

    devices_reported: Count
    devices_total: Count


class Row(NamedTuple):
    """One row to be written.

    Attributes:
        key: What identifies it within its table.
        revision: Of two rows with one key the one of the greater revision is the truth; 0 where nothing is revised.
        moment: By which the table is partitioned.
        values: In the order of the table's columns.
    """

    table: Table
    key: tuple[object, ...]
    revision: int
    moment: datetime
    values: tuple[object, ...]


class Source(NamedTuple):
    """Where a record was read; its time bounds how far ahead its event may be."""

    partition: int
    offset: int
    timestamp_ms: int


M = TypeVar("M", bound=BaseModel)
Build = Callable[[M, Source], Row]


def row_of(topic: str, value: bytes | None, source: Source) -> Row:
    """The row of a record; raises `MalformedError` when it is none, and `KeyError` for a topic that the sink does not read."""
    row = _ROUTES[topic](value, source)
    recorded_at = datetime.fromtimestamp(source.timestamp_ms / 1000, UTC)
    if row.moment > recorded_at + AHEAD_MAX:
        column = row.table.time_column
        raise MalformedError("too_far_ahead", f"{column}={row.moment:%Y-%m-%d}: more than {AHEAD_MAX.days} days after its record")
    return row


def _device_window(event: DeviceWindowEvent, source: Source) -> Row:
    key = (event.serial_number, event.window, event.window_start, event.time_zone or UTC_WINDOW)
    device = (event.device_id, event.site_id, event.device_type)
    values = (*key, *device, *_window_values(event), source.partition, source.offset)
    return Row(schema.DEVICE_AGGREGATES, key, event.revision, event.window_start, values)


def _site_window(event: SiteWindowEvent, source: Source) -> Row:
    key = (event.site_id, event.window, event.window_start, event.time_zone or UTC_WINDOW)
    values = (*key, event.devices_reported, event.devices_total, *_window_values(event), source.partition, source.offset)
    return Row(schema.SITE_AGGREGATES, key, event.revision, event.window_start, values)


def _window_values(event: WindowEvent) -> tuple[object, ...]:
    return (
        event.window_end, event.revision, event.event_count, _json(event.metrics, "metrics"),
        event.energy_kwh, event.energy_quality, event.energy_covered_share, event.event_id,
    )  # fmt: skip


def _status_event(event: StatusEvent, source: Source) -> Row:
    values = (
        event.event_id, event.timestamp, event.sequence, event.device_id, event.serial_number, event.site_id,
        event.previous_status.value, event.new_status.value, event.reason, source.partition, source.offset,
    )  # fmt: skip
    return Row(schema.DEVICE_STATUS_EVENTS, values[:2], 0, event.timestamp, values)


def _notification(event: Notification, source: Source) -> Row:
    values = (
        event.notification_id, event.timestamp, event.kind.value, event.severity.value, event.serial_number, event.site_id,
        event.device_id, event.title, event.message, _json(event.data, "data"), source.partition, source.offset,
    )  # fmt: skip
    return Row(schema.NOTIFICATIONS, values[:2], 0, event.timestamp, values)


def _json(value: dict[str, Any], field: str) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:
        raise MalformedError("invalid_field", f"{field}: {error}") from None


def _route(model: type[M], build: Build[M]) -> Callable[[bytes | None, Source], Row]:
    def route(value: bytes | None, source: Source) -> Row:
        if value and (b"NaN" in value or b"Infinity" in value):
            _refuse_non_finite(value)
        return build(decode(model, value), source)

    return route


def _refuse_non_finite(value: bytes) -> None:
    """The models take numbers that JSON has not, and they would be stored as null; in a text the same letters do no harm."""
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise MalformedError("invalid_json", str(error)) from None


_ROUTES: Final[dict[str, Callable[[bytes | None, Source], Row]]] = {
    DEVICE_AGGREGATES: _route(DeviceWindowEvent, _device_window),
    SITE_AGGREGATES: _route(SiteWindowEvent, _site_window),
    DEVICE_STATUS: _route(StatusEvent, _status_event),
    DEVICE_NOTIFICATIONS: _route(Notification, _notification),
}

TOPICS: Final = tuple(_ROUTES)
"""Every topic that the sink reads."""
