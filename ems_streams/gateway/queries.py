"""Queries about one device: handed to the worker that has it, or to any other that can hand it on; windows come from history too."""

import time
from collections.abc import Mapping
from urllib.parse import quote

import aiohttp
import structlog
from aiohttp import web

from ems_streams.gateway.parameters import serial_number_of
from ems_streams.gateway.topology import Topology
from ems_streams.gateway.windows import WindowRequest, answer, page_query
from ems_streams.ops.http import ProblemError
from ems_streams.postgres.history import device_windows
from ems_streams.postgres.reader import HistoryReader

log = structlog.get_logger(__name__)

TRY_ANOTHER = frozenset({500, 502, 503, 504})
_HEADERS_PASSED_BACK = ("Retry-After", "Content-Type")
NO_WORKER = "No worker answers at the moment; the live tables are back as soon as one does."


def no_worker() -> ProblemError:
    """What people get while no worker can be reached."""
    return ProblemError(503, "No worker is reachable", NO_WORKER, headers={"Retry-After": "2"})


class DeviceQueries:
    """Proxy of `/api/v1/devices/{serial}` and `/aggregates`.

    The owner of the device's partition is asked first; a worker that cannot be reached, or that answers with a server
    error, is followed by the next one, all within one deadline.
    """

    def __init__(self, session: aiohttp.ClientSession, topology: Topology, history: HistoryReader, timeout_s: float) -> None:
        self._session = session
        self._topology = topology
        self._history = history
        self._timeout_s = timeout_s

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
        path = f"/api/v1/devices/{quote(serial_number, safe='')}{suffix}"
        workers = self._candidates(serial_number)
        give_up_at = time.monotonic() + self._timeout_s
        refusal: web.Response | None = None
        timed_out = False
        for index, url in enumerate(workers):
            remaining_s = give_up_at - time.monotonic()
            if remaining_s <= 0:
                break
            # Half of what is left for each but the last: one worker that hangs must not use up the deadline.
            share_s = remaining_s if index == len(workers) - 1 else remaining_s / 2
            try:
                answer = await self._ask(url + path, query, share_s)
            except TimeoutError:
                timed_out = True
                self._topology.report_failure(url)
                continue
            except (aiohttp.ClientError, OSError):
                self._topology.report_failure(url)
                continue
            if answer.status not in TRY_ANOTHER:
                return answer
            refusal = answer
        if refusal is not None:
            return refusal
        if timed_out:
            raise ProblemError(504, "Deadline exceeded", f"No worker answered within {self._timeout_s:g} s.")
        raise no_worker()

    def _candidates(self, serial_number: str) -> list[str]:
        workers = self._topology.live()
        owner = self._topology.view.owner_of(serial_number)
        return sorted(workers, key=lambda url: url != owner)

    async def _ask(self, url: str, query: Mapping[str, str], timeout_s: float) -> web.Response:
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        async with self._session.get(url, params=query, timeout=timeout, allow_redirects=False) as response:
            body = await response.read()
            headers = {name: response.headers[name] for name in _HEADERS_PASSED_BACK if name in response.headers}
            return web.Response(status=response.status, body=body, headers={**headers, "Cache-Control": "no-store"})
