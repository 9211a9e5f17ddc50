"""Reads transitions of a device's status back, newest first."""

from datetime import datetime
from typing import Any

from ems_streams.domain.events import format_time
from ems_streams.postgres.connection import Connection
from ems_streams.postgres.schema import DEVICE_STATUS_EVENTS

_COLUMNS = "event_id, sequence, previous_status, new_status, timestamp, reason"


async def status_events(
    connection: Connection, serial_number: str, *, start: datetime | None, end: datetime | None, limit: int
) -> list[dict[str, Any]]:
    """At most `limit` transitions from `start` on and before `end`, each as its event has it."""
    conditions, arguments = ["serial_number = $1"], [serial_number, *(moment for moment in (start, end) if moment is not None)]
    if start is not None:
        conditions.append("timestamp >= $2")
    if end is not None:
        conditions.append(f"timestamp < ${len(arguments)}")
    statement = (
        f"SELECT {_COLUMNS} FROM {DEVICE_STATUS_EVENTS.name} WHERE {' AND '.join(conditions)} "  # noqa: S608 - constants
        f"ORDER BY timestamp DESC, sequence DESC LIMIT {limit:d}"
    )
    rows = await connection.fetch(statement, *arguments)
    return [
        {
            "eventId": row["event_id"],
            "sequence": row["sequence"],
            "previousStatus": row["previous_status"],
            "newStatus": row["new_status"],
            "timestamp": format_time(row["timestamp"]),
            "reason": row["reason"],
        }
        for row in rows
    ]
