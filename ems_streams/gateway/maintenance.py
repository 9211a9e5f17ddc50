"""Maintenance windows over HTTP: `/api/v1/maintenance-windows`."""

from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from ems_streams.access.roles import Principal
from ems_streams.domain.maintenance import MaintenanceWindow, window_of
from ems_streams.errors import MalformedError
from ems_streams.gateway.answers.alarms import EndedWindow, MaintenanceWindows, MaintenanceWindowView
from ems_streams.gateway.answers.bodies import MaintenanceWindowBody
from ems_streams.gateway.bodies import json_object
from ems_streams.gateway.openapi.describe import Body, Says, describe
from ems_streams.gateway.openapi.parameters import ALL
from ems_streams.gateway.openapi.words import MAINTENANCE
from ems_streams.gateway.parameters import boolean_of
from ems_streams.gateway.security.asking import author_of, note, principal_of
from ems_streams.gateway.security.maintenance_scope import SiteOf, check_own, is_own, seen_by
from ems_streams.kafka.maintenance import NoSuchWindowError, end_window, maintenance_windows, set_window
from ems_streams.ops.http import ProblemError, json_response
from ems_streams.settings import Settings

BODY_MAX_BYTES = 128 * 1024
DEFAULT_AUTHOR = "api"
_MORE = "[maintenance](../howto/status.md#maintenance)"
_KAFKA = {503: "Kafka is away."}


class MaintenanceApi:
    """Handlers that read and write the topic `maintenance-windows`; 503 while Kafka is away."""

    def __init__(self, settings: Settings, site_of: SiteOf = lambda _: None) -> None:
        self._settings = settings
        self._site_of = site_of

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/maintenance-windows", self._list),
            web.post("/api/v1/maintenance-windows", self._set),
            web.delete("/api/v1/maintenance-windows/{windowId}", self._end),
        ]

    @describe(
        "windows that are or will be",
        tag=MAINTENANCE,
        answers={200: Says("Windows, by their beginning.", (MaintenanceWindows,))},
        parameters=(ALL,),
        problems=_KAFKA,
        more=_MORE,
    )
    async def _list(self, request: web.Request) -> web.Response:
        now = _now()
        every = boolean_of(request, "all")
        windows = await maintenance_windows(self._settings)
        principal = principal_of(request)
        visible = (seen_by(principal, each, self._site_of) for each in windows if every or each.ends_at > now)
        return json_response({"windows": [_view(each, now) for each in visible if each is not None]})

    @describe(
        "the window that was set",
        tag=MAINTENANCE,
        body=Body(
            MaintenanceWindowBody, BODY_MAX_BYTES, {"sites": [7], "endsAt": "2026-01-31T18:00:00Z", "reason": "inverters are exchanged"}
        ),
        answers={201: Says("It is set.", (MaintenanceWindowView,), headers=("Location",))},
        problems=_KAFKA | {409: "A window of other sites has this id."},
        more=_MORE,
    )
    async def _set(self, request: web.Request) -> web.Response:
        """Set a window; the same one twice is one window, as long as the request says when it begins."""
        fields = await json_object(request, "Bad maintenance window", max_bytes=BODY_MAX_BYTES)
        now = _now()
        defaults = {"startsAt": now.isoformat(), "reason": "maintenance"}
        try:
            window = window_of({**defaults, **fields, "createdBy": author_of(request, fields.get("createdBy", DEFAULT_AUTHOR))})
        except MalformedError as error:
            raise ProblemError(400, "Bad maintenance window", error.detail) from None
        principal = principal_of(request)
        check_own(principal, window, self._site_of)
        note(request, window=window.window_id)
        known = None if principal.sites is None else await self._find(window.window_id)
        if known is not None and not is_own(principal, known, self._site_of):
            raise ProblemError(409, "Another window", f"windowId={window.window_id!r}: is the id of another window already")
        await set_window(self._settings, window)
        return json_response(_view(window, now), 201, headers={"Location": f"/api/v1/maintenance-windows/{window.window_id}"})

    @describe(
        "the window, ended",
        tag=MAINTENANCE,
        answers={200: Says("It is over now.", (EndedWindow,))},
        problems=_KAFKA | {404: "There is no such window, or it is over."},
        more=_MORE,
    )
    async def _end(self, request: web.Request) -> web.Response:
        window_id = request.match_info["windowId"]
        await self._check_end(principal_of(request), window_id)
        window = await end_window(self._settings, window_id, _now())
        return json_response({"windowId": window.window_id, "ended": True})

    async def _check_end(self, principal: Principal, window_id: str) -> None:
        """Raises as if there were no such window when it concerns none of their sites, and 403 when it concerns others as well."""
        if principal.sites is None:
            return
        known = await self._find(window_id)
        if known is None or seen_by(principal, known, self._site_of) is None:
            raise NoSuchWindowError(f"there is no maintenance window {window_id!r}")
        if not is_own(principal, known, self._site_of):
            raise ProblemError(403, "Not allowed", "The window concerns other sites than those of the token as well.")

    async def _find(self, window_id: str) -> MaintenanceWindow | None:
        windows = await maintenance_windows(self._settings)
        return next((each for each in windows if each.window_id == window_id), None)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _view(window: MaintenanceWindow, now: datetime) -> dict[str, Any]:
    return {**window.model_dump(mode="json", by_alias=True), "active": window.starts_at <= now < window.ends_at}
