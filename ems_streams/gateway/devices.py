"""Lists over the fleet: `/api/v1/devices`, `/api/v1/sites` and `/api/v1/sites/{siteId}`."""

import asyncio
import gzip
from collections import Counter
from collections.abc import Iterable
from typing import Any

import orjson
from aiohttp import web

from ems_streams.gateway.cursors import decode_device, encode_device
from ems_streams.gateway.fleet import Device, DeviceFilter, Fleet, Gathered
from ems_streams.gateway.parameters import cursor_of, limit_of, site_id, status_of, visible_sites
from ems_streams.gateway.security.asking import sites_of
from ems_streams.gateway.single_flight import SingleFlight
from ems_streams.ops.http import ProblemError, json_response

DEFAULT_LIMIT = 100
MAX_LIMIT = 500
LIST_FRESH_S = 0.5
SITES_FRESH_S = 1.0
COMPRESS_FROM_BYTES = 2048
SILENT = frozenset({"OFFLINE", "UNKNOWN"})
"""The last power of a device in these states says nothing about now."""


class DeviceLists:
    """Handlers of the lists; equal questions within half a second share one answer."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._pages: SingleFlight[bytes] = SingleFlight(LIST_FRESH_S, capacity=256)
        self._compressed: SingleFlight[bytes] = SingleFlight(LIST_FRESH_S, capacity=64)
        self._everything: SingleFlight[Gathered] = SingleFlight(SITES_FRESH_S, capacity=1)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/devices", self._devices),
            web.get("/api/v1/sites", self._sites),
            web.get("/api/v1/sites/{siteId}", self._site),
        ]

    async def _devices(self, request: web.Request) -> web.Response:
        wanted = DeviceFilter(visible_sites(request), status_of(request))
        limit = limit_of(request, DEFAULT_LIMIT, MAX_LIMIT)
        after = cursor_of(request, decode_device)
        key = (wanted, after, limit)
        body = await self._pages.get(key, lambda: self._page(wanted, after, limit))
        headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
        if len(body) >= COMPRESS_FROM_BYTES and "gzip" in request.headers.get("Accept-Encoding", ""):
            body = await self._compressed.get(body, lambda: asyncio.to_thread(gzip.compress, body, 1))
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, content_type="application/json", headers=headers)

    async def _page(self, wanted: DeviceFilter, after: str | None, limit: int) -> bytes:
        # One more than asked for tells whether there is a next page.
        gathered = await self._fleet.page(wanted, after, limit + 1)
        devices = gathered.devices[:limit]
        more = len(gathered.devices) > limit
        following = encode_device(devices[-1]["serialNumber"]) if more else None
        return orjson.dumps({**gathered.header(), "devices": devices, "nextCursor": following})

    async def _sites(self, request: web.Request) -> web.Response:
        gathered = await self._all()
        sites = sites_of(request)
        devices = [device for device in gathered.devices if sites is None or device.get("siteId") in sites]
        return json_response({**gathered.header(), "sites": summarise(devices)})

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
