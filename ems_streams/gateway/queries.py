"""Queries about one device: handed to the worker that has it, or to any other that can hand it on; windows come from history too."""

from collections.abc import Callable, Mapping
from urllib.parse import quote

import orjson
from aiohttp import web

from ems_streams.gateway.answers.devices import DeviceView
from ems_streams.gateway.answers.windows import DeviceAggregates
from ems_streams.gateway.forwarding import Forwarder
from ems_streams.gateway.openapi.describe import Says, describe
from ems_streams.gateway.openapi.words import DEVICES
from ems_streams.gateway.parameters import serial_number_of
from ems_streams.gateway.windows import MORE, PARAMETERS, WindowRequest, answer, page_query
from ems_streams.ops.http import json_response
from ems_streams.postgres.history import device_windows
from ems_streams.postgres.reader import HistoryReader

_PROBLEMS = {404: "The device has not been heard of.", 503: "The worker that has the device does not answer, or is recovering."}


class DeviceQueries:
    """Proxy of `/api/v1/devices/{serial}` and `/aggregates`."""

    def __init__(self, workers: Forwarder, history: HistoryReader, name_of: Callable[[str], str | None] = lambda _: None) -> None:
        self._workers = workers
        self._history = history
        self._name_of = name_of

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/devices/{serial}", self._device),
            web.get("/api/v1/devices/{serial}/aggregates", self._aggregates),
        ]

    @describe(
        "live state of a device",
        tag=DEVICES,
        answers={200: Says("The device.", (DeviceView,))},
        problems=_PROBLEMS,
        more="[status](../howto/status.md)",
        revalidated=True,
    )
    async def _device(self, request: web.Request) -> web.Response:
        serial_number = serial_number_of(request)
        answer = await self._forward(serial_number, "", {})
        if answer.status != 200 or not isinstance(answer.body, bytes):
            return answer
        return json_response({**orjson.loads(answer.body), "name": self._name_of(serial_number)})

    @describe(
        "its statistics, or its windows, live and from history",
        tag=DEVICES,
        answers={200: Says("Statistics and windows.", (DeviceAggregates,))},
        parameters=PARAMETERS,
        problems=_PROBLEMS,
        more=MORE,
        revalidated=True,
    )
    async def _aggregates(self, request: web.Request) -> web.Response:
        serial_number = serial_number_of(request)
        wanted = WindowRequest(request)
        query = page_query(device_windows, serial_number, wanted)
        unknown = {"serialNumber": serial_number, "total": None}
        return await answer(wanted, lambda live: self._forward(serial_number, "/aggregates", live), query, self._history, unknown)

    async def _forward(self, serial_number: str, suffix: str, query: Mapping[str, str]) -> web.Response:
        return await self._workers.forward(serial_number, f"/api/v1/devices/{quote(serial_number, safe='')}{suffix}", query)
