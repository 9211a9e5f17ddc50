"""Lists over the fleet: `/api/v1/devices`, `/api/v1/sites` and `/api/v1/sites/{siteId}`."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import orjson
from aiohttp import web

from ems_streams.gateway.answers.devices import DevicesPage, SitesPage, SiteView
from ems_streams.gateway.cursors import decode_device, encode_device
from ems_streams.gateway.fleet import Device, DeviceFilter, Fleet, Gathered
from ems_streams.gateway.openapi.describe import Says, describe
from ems_streams.gateway.openapi.parameters import CURSOR, SITE, STATUS, limit
from ems_streams.gateway.openapi.words import DEVICES, SITES
from ems_streams.gateway.paging import next_link
from ems_streams.gateway.parameters import cursor_of, limit_of, site_id, status_of, visible_sites
from ems_streams.gateway.security.asking import sites_of
from ems_streams.gateway.single_flight import SingleFlight
from ems_streams.ops.http import ProblemError, json_response

DEFAULT_LIMIT = 100
MAX_LIMIT = 500
LIST_FRESH_S = 0.5
SITES_FRESH_S = 1.0
SILENT = frozenset({"OFFLINE", "UNKNOWN"})
"""The last power of a device in these states says nothing about now."""
_MORE = "[status](../howto/status.md)"
_NO_WORKER = {503: "No worker answers."}
_Page = tuple[bytes, str | None]


class DeviceLists:
    """Handlers of the lists; equal questions within half a second share one answer."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._pages: SingleFlight[_Page] = SingleFlight(LIST_FRESH_S, capacity=256)
        self._everything: SingleFlight[Gathered] = SingleFlight(SITES_FRESH_S, capacity=1)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/devices", self._devices),
            web.get("/api/v1/sites", self._sites),
            web.get("/api/v1/sites/{siteId}", self._site),
        ]

    @describe(
        "devices, by serial number",
        tag=DEVICES,
        answers={200: Says("Devices.", (DevicesPage,))},
        parameters=(SITE, STATUS, limit(DEFAULT_LIMIT, MAX_LIMIT), CURSOR),
        problems=_NO_WORKER,
        more=_MORE,
        revalidated=True,
    )
    async def _devices(self, request: web.Request) -> web.Response:
        wanted = DeviceFilter(visible_sites(request), status_of(request))
        most = limit_of(request, DEFAULT_LIMIT, MAX_LIMIT)
        after = cursor_of(request, decode_device)
        body, following = await self._pages.get((wanted, after, most), lambda: self._page(wanted, after, most))
        headers = {"Cache-Control": "no-store", **next_link(request, following)}
        return web.Response(body=body, content_type="application/json", headers=headers)

    async def _page(self, wanted: DeviceFilter, after: str | None, most: int) -> _Page:
        # One more than asked for tells whether there is a next page.
        gathered = await self._fleet.page(wanted, after, most + 1)
        devices = gathered.devices[:most]
        following = encode_device(devices[-1]["serialNumber"]) if len(gathered.devices) > most else None
        return orjson.dumps({**gathered.header(), "devices": devices, "nextCursor": following}), following

    @describe(
        "sites, with how many devices have which status",
        tag=SITES,
        answers={200: Says("Sites, by id.", (SitesPage,))},
        problems=_NO_WORKER,
        more=_MORE,
        revalidated=True,
    )
    async def _sites(self, request: web.Request) -> web.Response:
        gathered = await self._all()
        sites = sites_of(request)
        devices = [device for device in gathered.devices if sites is None or device.get("siteId") in sites]
        return json_response({**gathered.header(), "sites": summarise(devices)})

    @describe(
        "one site",
        tag=SITES,
        answers={200: Says("The site.", (SiteView,))},
        problems={404: "No device of the site has been heard of.", 503: "No worker answers, or not all that might know the site."},
        more=_MORE,
        revalidated=True,
    )
    async def _site(self, request: web.Request) -> web.Response:
        wanted = site_id(request.match_info["siteId"], "siteId")
        gathered = await self._all()
        found = [device for device in gathered.devices if device.get("siteId") == wanted]
        if found:
            return json_response({**gathered.header(), **summarise(found)[0]})
        if not gathered.complete:
            detail = "Some partitions do not answer, and no other one knows the site; try again."
            raise ProblemError(503, "Not all partitions answer", detail, headers={"Retry-After": "2"})
        raise ProblemError(404, "No such site", f"No device of a site {wanted} has been heard of.")

    async def has_devices(self, site: int) -> bool:
        """Whether any device of the site has been heard of, as far as workers answer."""
        return any(device.get("siteId") == site for device in (await self._all()).devices)

    async def _all(self) -> Gathered:
        return await self._everything.get("all", lambda: self._fleet.all(DeviceFilter()))


def summarise(devices: Iterable[Device]) -> list[dict[str, Any]]:
    """Per site, by its id: how many devices in which status, and the sum of their latest power in kW.

    Power counts only where the device is heard of: what an offline device said last is not what flows now.
    """
    counts: dict[int, Counter[str]] = {}
    power_kw: Counter[int] = Counter()
    for device in devices:
        site = int(device.get("siteId") or 0)
        status = str(device.get("status") or "UNKNOWN")
        counts.setdefault(site, Counter())[status] += 1
        latest_kw = (device.get("latest") or {}).get("powerKw")
        if status not in SILENT and isinstance(latest_kw, int | float):
            power_kw[site] += latest_kw  # type: ignore[assignment]  # a Counter of floats adds just as well
    return [
        {"siteId": site, "devices": sum(states.values()), "statuses": dict(states), "powerKw": round(power_kw[site], 3)}
        for site, states in sorted(counts.items())
    ]
