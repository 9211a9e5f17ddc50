"""`GET /api/v1/devices/{serial}/status-events`: how the status of a device went, from PostgreSQL."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from ems_streams.domain.events import format_time
from ems_streams.gateway.answers.devices import StatusEvents as Answer
from ems_streams.gateway.openapi.describe import Says, describe
from ems_streams.gateway.openapi.parameters import FROM, TO, limit
from ems_streams.gateway.openapi.words import DEVICES
from ems_streams.gateway.parameters import limit_of, serial_number_of, time_of
from ems_streams.ops.http import json_response
from ems_streams.postgres.reader import HistoryReader
from ems_streams.postgres.status_history import status_events

LIMIT_DEFAULT = 50
LIMIT_MAX = 500
_FROM = replace(FROM, text="Only transitions then or later; a time with its zone.")
_TO = replace(TO, text="Only transitions before; a time with its zone.")


class StatusEvents:
    """Handler of a device's transitions; what the sink has not written yet is not there, and the live state is ahead of it."""

    def __init__(self, history: HistoryReader) -> None:
        self._history = history

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/api/v1/devices/{serial}/status-events", self._list)]

    @describe(
        "how its status went, newest first, from history",
        tag=DEVICES,
        answers={200: Says("Transitions.", (Answer,))},
        parameters=(_FROM, _TO, limit(LIMIT_DEFAULT, LIMIT_MAX)),
        problems={404: "No device can have such a serial number."},
        more="[status](../howto/status.md)",
    )
    async def _list(self, request: web.Request) -> web.Response:
        """Newest first; `more` says that older ones were left out, `historyAvailable` whether PostgreSQL was heard."""
        serial_number = serial_number_of(request)
        limit = limit_of(request, LIMIT_DEFAULT, LIMIT_MAX)
        start, end = time_of(request, "from"), time_of(request, "to")

        async def query(connection: Any) -> list[dict[str, Any]]:
            return await status_events(connection, serial_number, start=start, end=end, limit=limit + 1)

        found = await self._history.read(query)
        events = found or []
        return json_response(
            {
                "asOf": format_time(datetime.now(UTC)),
                "serialNumber": serial_number,
                "events": events[:limit],
                "more": len(events) > limit,
                "historyAvailable": found is not None,
            }
        )
