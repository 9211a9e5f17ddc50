"""Queries about one device: handed to the worker that has it, or to any other that can hand it on; windows come from history too."""

from collections.abc import Mapping
from urllib.parse import quote

from aiohttp import web

from ems_streams.gateway.forwarding import Forwarder
from ems_streams.gateway.parameters import serial_number_of
from ems_streams.gateway.windows import WindowRequest, answer, page_query
from ems_streams.postgres.history import device_windows
from ems_streams.postgres.reader import HistoryReader


class DeviceQueries:
    """Proxy of `/api/v1/devices/{serial}` and `/aggregates`."""

    def __init__(self, workers: Forwarder, history: HistoryReader) -> None:
        self._workers = workers
        self._history = history

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/devices/{serial}", self._device),
            web.get("/api/v1/devices/{serial}/aggregates", self._aggregates),
        ]

    async def _device(self, request: web.Request) -> web.Response:
        serial_number = serial_number_of(request)
        return await self._forward(serial_number, "", {})

    async def _aggregates(self, request: web.Request) -> web.Response:
        serial_number = serial_number_of(request)
        wanted = WindowRequest(request)
        query = page_query(device_windows, serial_number, wanted)
        return await answer(wanted, lambda live: self._forward(serial_number, "/aggregates", live), query, self._history)

    async def _forward(self, serial_number: str, suffix: str, query: Mapping[str, str]) -> web.Response:
        return await self._workers.forward(serial_number, f"/api/v1/devices/{quote(serial_number, safe='')}{suffix}", query)
