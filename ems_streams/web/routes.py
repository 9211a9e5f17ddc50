"""The worker's HTTP side, on Faust's built-in web: every worker answers for every device, by asking its owner when it is another."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

import aiohttp
from aiohttp import web

from ems_streams.domain.aggregates import NEVER_MS, NOT_YET_MS
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.domain.windows import LABELS, Window
from ems_streams.kafka.state_table import PartitionNotReadyError
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.ops.http import ProblemError, error_middleware, health_routes, json_response
from ems_streams.web.health import worker_health
from ems_streams.web.live import LiveTables

ROUTED_HEADER = "X-EMS-Routed"
"""Set on a request that one worker sends another, so that two workers in doubt cannot send it in circles."""

WINDOWS_LIMIT_DEFAULT = 10
DEVICES_LIMIT_DEFAULT = 100
LIMIT_MAX = 1001  # of the gateway, and one more

Answer = Callable[[str], dict[str, Any] | None]


def add_routes(app: WorkerApp, tables: LiveTables) -> None:
    """Add the live table views and the health endpoints to the worker's web."""
    routes = _Routes(app, tables)
    web_app = cast(web.Application, cast(Any, app.web).web_app)  # of the aiohttp driver, the only one there is
    web_app.middlewares.append(error_middleware)
    web_app.add_routes(
        [
            web.get("/api/v1/devices/{serial}", routes.device),
            web.get("/api/v1/devices/{serial}/aggregates", routes.aggregates),
            web.get("/internal/v1/devices", routes.devices),
            web.get("/internal/v1/topology", routes.topology),
            *health_routes(worker_health(app)),
        ]
    )


class _Routes:
    def __init__(self, app: WorkerApp, tables: LiveTables) -> None:
        self._app = app
        self._tables = tables

    async def device(self, request: web.Request) -> web.StreamResponse:
        return await self._of_device(request, self._tables.device)

    async def aggregates(self, request: web.Request) -> web.StreamResponse:
        label = request.query.get("window", LABELS[0])
        if label not in LABELS:
            raise ProblemError(400, "Bad Request", f"window={label!r}: must be one of {', '.join(LABELS)}")
        window, limit = Window.of_label(label), limit_of(request, WINDOWS_LIMIT_DEFAULT)
        start_ms, end_ms = time_of(request, "from", NEVER_MS), time_of(request, "to", NOT_YET_MS)
        return await self._of_device(request, lambda serial: self._tables.aggregates(serial, window, limit, start_ms, end_ms))

    async def devices(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        site = query.get("site")
        if site is not None and not site.isdigit():
            raise ProblemError(400, "Bad Request", f"site={site!r}: must be a site id, a whole number")
        page = self._tables.devices(
            after=query.get("after", ""),
            limit=limit_of(request, DEVICES_LIMIT_DEFAULT),
            site=None if site is None else int(site),
            status=query.get("status"),
        )
        return json_response(page)

    async def topology(self, _: web.Request) -> web.StreamResponse:
        return json_response(self._tables.topology())

    async def _of_device(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        serial = request.match_info["serial"]
        try:
            found = answer(serial)
        except PartitionNotReadyError as error:
            return await self._from_owner(request, serial, error)
        if found is None:
            raise ProblemError(404, "Not Found", f"device {serial!r} has not been heard of")
        return json_response(found)

    async def _from_owner(self, request: web.Request, serial: str, error: PartitionNotReadyError) -> web.StreamResponse:
        owner = self._tables.owner(serial)
        if owner is None or owner == self._app.settings.worker_url or ROUTED_HEADER in request.headers:
            raise not_ready(str(error))
        timeout = aiohttp.ClientTimeout(total=self._app.settings.query_timeout_s)
        try:
            async with self._app.http_client.get(owner + request.path_qs, headers={ROUTED_HEADER: "1"}, timeout=timeout) as response:
                return web.Response(
                    status=response.status,
                    body=await response.read(),
                    headers={"Content-Type": response.headers.get("Content-Type", "application/json"), "Cache-Control": "no-store"},
                )
        except (TimeoutError, aiohttp.ClientError) as failure:
            raise not_ready(f"the owner of device {serial!r}, {owner}, does not answer: {failure!r}") from failure


def not_ready(detail: str) -> ProblemError:
    """503 with a time to try again: the partition is moving or being recovered."""
    return ProblemError(503, "Service Unavailable", detail, headers={"Retry-After": "1"})


def limit_of(request: web.Request, default: int) -> int:
    """The `limit` of a query, 1 to `LIMIT_MAX`."""
    text = request.query.get("limit", str(default))
    if not text.isdigit() or not 1 <= int(text) <= LIMIT_MAX:
        raise ProblemError(400, "Bad Request", f"limit={text!r}: must be a whole number from 1 to {LIMIT_MAX}")
    return int(text)


def time_of(request: web.Request, name: str, default_ms: int) -> int:
    """A time of a query in epoch milliseconds."""
    text = request.query.get(name)
    if not text:
        return default_ms
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        return to_epoch_ms(moment)
    except (ValueError, TypeError):
        raise ProblemError(400, "Bad Request", f"{name}={text!r}: must be a time with its zone, such as 2026-01-31T12:00:00Z") from None
