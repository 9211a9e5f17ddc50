"""The worker's HTTP side, on Faust's built-in web: every worker answers for every device and site, by asking its owner."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import aiohttp
from aiohttp import web

from ems_streams.access.internal import internal_guard, internal_headers
from ems_streams.domain.command_events import serial_number_of
from ems_streams.domain.fold_outcome import NEVER_MS, NOT_YET_MS
from ems_streams.domain.timestamps import time_in_query, to_epoch_ms
from ems_streams.domain.windows import LABELS, Window
from ems_streams.kafka.state_table import PartitionNotReadyError
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.metrics import Process
from ems_streams.ops.health import Health
from ems_streams.ops.http import ProblemError, error_middleware, json_response
from ems_streams.ops.monitoring import Sample, add_monitoring
from ems_streams.ops.request_ids import give_request_ids, passed_on
from ems_streams.web.alarm_routes import alarm_routes
from ems_streams.web.condition import condition
from ems_streams.web.limits import limit_of, sites_of
from ems_streams.web.live import LiveTables
from ems_streams.web.live_alarms import LiveAlarms
from ems_streams.web.live_commands import LiveCommands
from ems_streams.web.live_facts import LiveFacts
from ems_streams.web.live_sites import LiveSites

ROUTED_HEADER = "X-EMS-Routed"
"""Set on a request that one worker sends another, so that two workers in doubt cannot send it in circles."""

WINDOWS_LIMIT_DEFAULT = 10
DEVICES_LIMIT_DEFAULT = 100
COMMANDS_LIMIT_DEFAULT = 50
_SITE_ID_MAX = 2**63 - 1

Body = dict[str, Any]


def add_routes(  # noqa: PLR0917 - one of each table
    app: WorkerApp,
    tables: LiveTables,
    sites: LiveSites,
    alarms: LiveAlarms,
    commands: LiveCommands,
    facts: LiveFacts,
    health: Health,
    sample: Sample,
) -> None:
    """Add the live table views, the health endpoints and the metrics, whose gauges `sample` sets, to the worker's web."""
    routes = _Routes(app, tables, sites, commands, facts, health)
    web_app = cast(web.Application, cast(Any, app.web).web_app)  # of the aiohttp driver, the only one there is
    web_app.middlewares.extend((give_request_ids, error_middleware, internal_guard(app.settings)))
    web_app.add_routes(
        [
            web.get("/api/v1/devices/{serial}", routes.device),
            web.get("/api/v1/devices/{serial}/aggregates", routes.aggregates),
            web.get("/api/v1/devices/{serial}/commands", routes.commands),
            web.get("/api/v1/commands/{commandId}", routes.command),
            web.get("/api/v1/sites/{siteId}/aggregates", routes.site_aggregates),
            web.get("/internal/v1/devices", routes.devices),
            web.get("/internal/v1/devices/{serial}/facts", routes.facts),
            web.get("/internal/v1/topology", routes.topology),
            *alarm_routes(alarms),
        ]
    )
    add_monitoring(web_app, Process.WORKER, health, sample)


class _Routes:
    def __init__(  # noqa: PLR0917 - one of each table
        self, app: WorkerApp, tables: LiveTables, sites: LiveSites, commands: LiveCommands, facts: LiveFacts, health: Health
    ) -> None:
        self._app = app
        self._health = health
        self._tables = tables
        self._sites = sites
        self._commands = commands
        self._headers = {ROUTED_HEADER: "1", **internal_headers(app.settings)}
        self._facts = facts

    async def device(self, request: web.Request) -> web.StreamResponse:
        serial = request.match_info["serial"]
        return await self._of_device(request, serial, lambda: self._tables.device(serial))

    async def aggregates(self, request: web.Request) -> web.StreamResponse:
        serial, wanted = request.match_info["serial"], _windows_of(request)
        return await self._of_device(request, serial, lambda: self._tables.aggregates(serial, *wanted))

    async def facts(self, request: web.Request) -> web.StreamResponse:
        serial = request.match_info["serial"]
        return await self._of_device(request, serial, lambda: self._facts.of(serial))

    async def site_aggregates(self, request: web.Request) -> web.StreamResponse:
        text, wanted = request.match_info["siteId"], _windows_of(request)
        if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _SITE_ID_MAX):
            raise ProblemError(404, "Not Found", f"no site can have the id {text!r}")
        site = int(text)
        return await self._answer(request, f"site {site}", lambda: self._sites.aggregates(site, *wanted), lambda: self._sites.owner(site))

    async def commands(self, request: web.Request) -> web.StreamResponse:
        serial, limit = request.match_info["serial"], limit_of(request, COMMANDS_LIMIT_DEFAULT)
        find = partial(self._commands.of_device, serial, limit)
        return await self._answer(request, f"device {serial!r}", find, lambda: self._commands.owner(serial))

    async def command(self, request: web.Request) -> web.StreamResponse:
        command_id = request.match_info["commandId"]
        find = partial(self._commands.command, command_id)
        return await self._answer(
            request, f"command {command_id!r}", find, lambda: self._commands.owner(serial_number_of(command_id) or "")
        )

    async def devices(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        page = self._tables.devices(
            after=query.get("after", ""),
            limit=limit_of(request, DEVICES_LIMIT_DEFAULT),
            sites=sites_of(query.get("site")),
            status=query.get("status"),
        )
        return json_response(page)

    async def topology(self, _: web.Request) -> web.StreamResponse:
        return json_response({**self._tables.topology(), "condition": condition(self._app, self._health)})

    async def _of_device(self, request: web.Request, serial: str, find: Callable[[], Body | None]) -> web.StreamResponse:
        return await self._answer(request, f"device {serial!r}", find, lambda: self._tables.owner(serial))

    async def _answer(
        self, request: web.Request, what: str, find: Callable[[], Body | None], owner_of: Callable[[], str | None]
    ) -> web.StreamResponse:
        """What is found here, or what the owner says when the partition is not here."""
        try:
            found = find()
        except PartitionNotReadyError as error:
            return await self._from_owner(request, what, owner_of(), error)
        if found is None:
            raise ProblemError(404, "Not Found", f"{what} has not been heard of")
        return json_response(found)

    async def _from_owner(self, request: web.Request, what: str, owner: str | None, error: PartitionNotReadyError) -> web.StreamResponse:
        if owner is None or owner == self._app.settings.worker_url or ROUTED_HEADER in request.headers:
            raise not_ready(str(error))
        timeout = aiohttp.ClientTimeout(total=self._app.settings.query_timeout_s)
        try:
            async with self._app.http_client.get(
                owner + request.path_qs, headers=self._headers | passed_on(), timeout=timeout, allow_redirects=False
            ) as response:
                return web.Response(
                    status=response.status,
                    body=await response.read(),
                    headers={"Content-Type": response.headers.get("Content-Type", "application/json"), "Cache-Control": "no-store"},
                )
        except (TimeoutError, aiohttp.ClientError) as failure:
            raise not_ready(f"the owner of {what}, {owner}, does not answer: {failure!r}") from failure


def _windows_of(request: web.Request) -> tuple[Window, int, int, int]:
    """Kind, limit, and the times that windows begin between."""
    label = request.query.get("window", LABELS[0])
    if label not in LABELS:
        raise ProblemError(400, "Bad Request", f"window={label!r}: must be one of {', '.join(LABELS)}")
    limit = limit_of(request, WINDOWS_LIMIT_DEFAULT)
    return Window.of_label(label), limit, time_of(request, "from", NEVER_MS), time_of(request, "to", NOT_YET_MS)


def not_ready(detail: str) -> ProblemError:
    """503 with a time to try again: the partition is moving or being recovered."""
    return ProblemError(503, "Service Unavailable", detail, headers={"Retry-After": "1"})


def time_of(request: web.Request, name: str, default_ms: int) -> int:
    """A time of a query in epoch milliseconds."""
    text = request.query.get(name)
    if not text:
        return default_ms
    try:
        return to_epoch_ms(time_in_query(text))
    except ValueError:
        raise ProblemError(400, "Bad Request", f"{name}={text!r}: must be a time with its zone, such as 2026-01-31T12:00:00Z") from None
