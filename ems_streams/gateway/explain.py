"""`GET /api/v1/devices/{serial}/explain`: why a device is in its state.

Each answer reads Kafka, which costs more than a look into memory. So what one may cost is bounded, a few are made at a time, a few may wait, and equal
questions within a second share one answer; whoever comes on top of that is told to come again.
"""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Final

from aiohttp import web

from ems_streams.access.roles import Sites
from ems_streams.domain.explanation import Explanation
from ems_streams.domain.registry import RegistryEntry
from ems_streams.domain.timestamps import time_in_query
from ems_streams.gateway.command_desk import CommandDesk
from ems_streams.gateway.explainer import Cost, Explainer
from ems_streams.gateway.forwarding import Forwarder
from ems_streams.gateway.openapi.describe import Parameter, Says, describe
from ems_streams.gateway.openapi.parameters import limit
from ems_streams.gateway.openapi.words import DEVICES
from ems_streams.gateway.parameters import bad_parameter, limit_of, serial_number_of
from ems_streams.gateway.security.asking import sites_of
from ems_streams.gateway.single_flight import SingleFlight
from ems_streams.gateway.topology import Topology
from ems_streams.ops.http import ProblemError, json_response
from ems_streams.settings import Settings

LIMIT_DEFAULT: Final = 10
LIMIT_MAX: Final = 100
SINCE_DEFAULT: Final = timedelta(hours=1)
SINCE_MAX: Final = timedelta(days=31)
"""Longer than anything is kept but registry and changelogs."""
COST: Final = Cost(records=50_000, read_bytes=16 * 1024 * 1024, deadline_s=5.0)
AT_ONCE: Final = 2
WAITING_MAX: Final = 8
FRESH_S: Final = 1.0
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SINCE: Final = Parameter(
    "since",
    "Records from so long ago on, such as `1h`, or from a time with its zone.",
    {"type": "string", "minLength": 1, "maxLength": 40, "default": "1h"},
    example="6h",
)
_AGO: Final = re.compile(r"(\d{1,7})([smhd])", re.ASCII)


class ExplainApi:
    """The handler."""

    def __init__(self, settings: Settings, workers: Forwarder, topology: Topology, desk: CommandDesk) -> None:
        async def registered(serial_number: str) -> RegistryEntry | None:
            return None if desk.knows_nothing_of(serial_number) else desk.device(serial_number)

        self._explainer = Explainer(settings, workers, topology, registered, COST)
        self._answers: SingleFlight[Explanation] = SingleFlight(FRESH_S, capacity=64)
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/api/v1/devices/{serial}/explain", self._handle)]

    @describe(
        "why a device is in its state, with its last records and their offsets",
        tag=DEVICES,
        answers={200: Says("The explanation; `missing` names what could not be asked.", (Explanation,))},
        parameters=(_SINCE, limit(LIMIT_DEFAULT, LIMIT_MAX)),
        problems={
            404: "Nothing is known of the device, and nothing of it was found.",
            503: "Nothing is known of the device, and workers, Kafka or the registry do not answer.",
        },
        more="[explain](../howto/explain.md)",
    )
    async def _handle(self, request: web.Request) -> web.Response:
        serial_number = serial_number_of(request)
        count = limit_of(request, LIMIT_DEFAULT, LIMIT_MAX)
        asked = request.query.get("since", "")
        now = datetime.now(UTC)
        since = since_of(asked, now)
        sites = sites_of(request)
        key = (serial_number, count, asked, sites)
        found = await self._answers.get(key, lambda: self._in_turn(serial_number, now, since, count, sites))
        _check(found)
        return json_response(found.model_dump(mode="json", by_alias=True))

    async def _in_turn(self, serial_number: str, now: datetime, since: datetime, count: int, sites: Sites) -> Explanation:
        if self._waiting >= AT_ONCE + WAITING_MAX:
            detail = f"{self._waiting} explanations are being made or waited for, which is as many as may be; try again."
            raise ProblemError(429, "Too many explanations", detail, headers={"Retry-After": "5"})
        self._waiting += 1
        try:
            async with self._turn:
                return await self._explainer.explain(serial_number, now, since, count, sites)
        finally:
            self._waiting -= 1


def since_of(text: str, now: datetime) -> datetime:
    """`since`: how long ago, such as `1h`, or a time; an hour ago without it. Raises a problem of 400."""
    if not text:
        return now - SINCE_DEFAULT
    if (ago := _AGO.fullmatch(text)) is not None:
        return now - min(timedelta(**{_UNITS[ago[2]]: int(ago[1])}), SINCE_MAX)
    try:
        return max(time_in_query(text), now - SINCE_MAX)
    except ValueError:
        raise bad_parameter("since", f"{text[:40]!r}: must be how long ago, such as 1h, or a time with its zone") from None


def _check(found: Explanation) -> None:
    if found.known:
        return
    away = [each for each in found.missing if each.part in {"worker", "kafka", "registry"}]
    if away:
        said = "; ".join(f"{each.fact}: {each.why}" for each in away)
        raise ProblemError(503, "Nothing can be explained now", f"{said}.", headers={"Retry-After": "2"})
    raise ProblemError(404, "No such device", f"Nothing is known of a device {found.serial_number!r}, and nothing of it was found.")
