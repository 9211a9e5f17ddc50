"""Windows of one site: from the worker that has them, and from history."""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from ems_streams.gateway.answers.windows import SiteAggregates
from ems_streams.gateway.forwarding import Forwarder
from ems_streams.gateway.openapi.describe import Says, describe
from ems_streams.gateway.openapi.words import SITES
from ems_streams.gateway.parameters import site_id
from ems_streams.gateway.windows import MORE, PARAMETERS, WindowRequest, answer, page_query
from ems_streams.ops.http import json_response
from ems_streams.postgres.history import site_windows
from ems_streams.postgres.reader import HistoryReader


class SiteQueries:
    """Proxy of `/api/v1/sites/{siteId}/aggregates`; the site itself is made of its devices (`devices.DeviceLists`).

    Args:
        has_devices: Whether a site has any: such a site is there also before its first window is closed.
    """

    def __init__(self, workers: Forwarder, history: HistoryReader, has_devices: Callable[[int], Awaitable[bool]] | None = None) -> None:
        self._workers = workers
        self._history = history
        self._has_devices = has_devices

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/api/v1/sites/{siteId}/aggregates", self._aggregates)]

    @describe(
        "windows of a site, live and from history",
        tag=SITES,
        answers={200: Says("Windows.", (SiteAggregates,))},
        parameters=PARAMETERS,
        problems={404: "The site has no windows.", 503: "The worker that has the site does not answer, or is recovering."},
        more=MORE,
        revalidated=True,
    )
    async def _aggregates(self, request: web.Request) -> web.Response:
        site = site_id(request.match_info["siteId"], "siteId")
        wanted = WindowRequest(request)
        path = f"/api/v1/sites/{site}/aggregates"
        query = page_query(site_windows, site, wanted)

        async def ask(live: Mapping[str, str]) -> web.Response:
            found = await self._workers.forward(str(site), path, live)
            if found.status == 404 and self._has_devices is not None and await self._has_devices(site):
                return json_response({"siteId": site, "windows": []})
            return found

        return await answer(wanted, ask, query, self._history, {"siteId": site})
