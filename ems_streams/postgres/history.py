"""Reads windows back, newest first, a page at a time; rows come out as the events that they were.

Pages are cut by key and not by count: each begins right behind the last row of the one before, whatever was written meanwhile.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson

from ems_streams.domain.events import EARLIEST_TIME, format_time
from ems_streams.errors import UsageError
from ems_streams.postgres.connection import Connection
from ems_streams.postgres.schema import DEVICE_AGGREGATES, SITE_AGGREGATES, Table

LIMIT_MAX = 1000
_MICROSECOND = timedelta(microseconds=1)


class BadCursorError(UsageError):
    """The text is no cursor that `Page.next_cursor` has given."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some windows, newest first.

    Attributes:
        windows: Each as the value of its event, with `writtenAt` added.
        next_cursor: For the page after this one; None on the last one.
    """

    windows: list[dict[str, Any]]
    next_cursor: str | None


class _Place(NamedTuple):
    window_start: datetime
    time_zone: str


async def device_windows(
    connection: Connection,
    serial_number: str,
    window: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    time_zone: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page:
    """Windows of a device.

    Args:
        connection: A connection or pool of asyncpg.
        window: Such as `15m`.
        start: Windows that begin then or later.
        end: Windows that begin before.
        time_zone: Only windows of this zone; all when None, those of UTC when empty.
        limit: At most so many, and at most `LIMIT_MAX`.
        cursor: `next_cursor` of the page before; raises `BadCursorError`.
    """
    query = _Query(DEVICE_AGGREGATES, serial_number, window, start, end, time_zone, ("device_id", "device_type"))
    return await _read(connection, query, limit, cursor)


async def site_windows(
    connection: Connection,
    site_id: int,
    window: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    time_zone: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page:
    """Windows of a site; arguments as of `device_windows`."""
    query = _Query(SITE_AGGREGATES, site_id, window, start, end, time_zone, ("devices_reported", "devices_total"))
    return await _read(connection, query, limit, cursor)


class _Query(NamedTuple):
    table: Table
    owner: str | int
    window: str
    start: datetime | None
    end: datetime | None
    time_zone: str | None
    extra: Sequence[str]

    def conditions(self, place: _Place | None) -> tuple[list[str], list[object]]:
        """For WHERE, with their arguments: none that is not asked for, so that the plan knows which partitions it needs."""
        conditions: list[str] = []
        arguments: list[object] = []

        def add(condition: str, *values: object) -> None:
            numbers = (f"${len(arguments) + number}" for number in range(1, len(values) + 1))
            conditions.append(condition.format(*numbers))
            arguments.extend(values)

        add(f"{self.table.key[0]} = {{}}", self.owner)
        add("window_size = {}", self.window)
        if self.start is not None:
            add("window_start >= {}", self.start)
        if self.end is not None:
            add("window_start < {}", self.end)
        if self.time_zone is not None:
            add("time_zone = {}", self.time_zone)
        if place is not None:
            # The first bound says nothing that the second does not, but only by the first partitions are left out.
            add("window_start <= {0} AND (window_start, time_zone) < ({0}, {1})", place.window_start, place.time_zone)
        return conditions, arguments


async def _read(connection: Connection, query: _Query, limit: int, cursor: str | None) -> Page:
    limit = max(1, min(limit, LIMIT_MAX))
    conditions, arguments = query.conditions(None if cursor is None else decode_cursor(cursor))
    statement = (
        f"SELECT {', '.join(query.table.columns)}, written_at FROM {query.table.name} WHERE {' AND '.join(conditions)} "  # noqa: S608 - constants
        f"ORDER BY window_start DESC, time_zone DESC LIMIT {limit + 1}"
    )
    rows = await connection.fetch(statement, *arguments)
    more = len(rows) > limit
    rows = rows[:limit]
    last = encode_cursor(rows[-1]["window_start"], rows[-1]["time_zone"]) if more else None
    return Page([_wire(query.table, row, query.extra) for row in rows], last)


def _wire(table: Table, row: Any, extra: Sequence[str]) -> dict[str, Any]:
    of_device = table is DEVICE_AGGREGATES
    event: dict[str, Any] = {
        "eventId": row["event_id"],
        "eventType": "DEVICE_AGGREGATE" if of_device else "SITE_AGGREGATE",
        **({"serialNumber": row["serial_number"]} if of_device else {}),
        "siteId": row["site_id"],
        **{_camel(name): row[name] for name in extra},
        "window": row["window_size"],
        **({"timeZone": row["time_zone"]} if row["time_zone"] else {}),
        "windowStart": format_time(row["window_start"]),
        "windowEnd": format_time(row["window_end"]),
    }
    for name in ("revision", "event_count", "energy_kwh", "energy_quality", "energy_covered_share"):
        event[_camel(name)] = row[name]
    return event | {"metrics": orjson.loads(row["metrics"]), "writtenAt": format_time(row["written_at"])}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def encode_cursor(window_start: datetime, time_zone: str) -> str:
    """URL-safe text for the place right behind a window; clients must not look inside."""
    microseconds = (window_start - EARLIEST_TIME) // _MICROSECOND
    return base64.urlsafe_b64encode(f"{microseconds},{time_zone}".encode()).rstrip(b"=").decode()


def decode_cursor(text: str) -> _Place:
    """Inverse of `encode_cursor`; raises `BadCursorError`."""
    try:
        plain = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
        microseconds, _, time_zone = plain.partition(",")
        return _Place(EARLIEST_TIME + int(microseconds) * _MICROSECOND, time_zone)
    except (binascii.Error, UnicodeError, ValueError, OverflowError):
        raise BadCursorError(f"cursor={text!r}: not a cursor that was given out here") from None
