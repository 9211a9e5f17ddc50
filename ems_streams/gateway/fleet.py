"""The devices of all workers together: each is asked for its own, and the answers are merged by serial number."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

import aiohttp
import orjson
import structlog

from ems_streams.gateway.coverage import Coverage
from ems_streams.gateway.forwarding import no_worker
from ems_streams.gateway.topology import Topology

log = structlog.get_logger(__name__)

Device = dict[str, Any]
T = TypeVar("T")
WORKER_PAGE = 1000


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """Which devices are wanted; `None` is no condition."""

    site_id: int | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Gathered(Coverage):
    """Devices of all workers that answered in time, sorted by serial number, each once."""

    devices: list[Device]


class Fleet:
    """Asks all live workers at once, each with the deadline `timeout_s`."""

    def __init__(self, session: aiohttp.ClientSession, topology: Topology, timeout_s: float) -> None:
        self._session = session
        self._topology = topology
        self._timeout_s = timeout_s

    async def page(self, wanted: DeviceFilter, after: str | None, limit: int) -> Gathered:
        """The first `limit` devices after a serial number; a 503 problem when no worker answers."""
        return await self._gather(lambda url: self._ask(url, wanted, after, limit), limit)

    async def all(self, wanted: DeviceFilter) -> Gathered:
        """Every device; a 503 problem when no worker answers."""
        return await self._gather(lambda url: self._ask_all(url, wanted), None)

    async def _gather(self, ask: Callable[[str], Awaitable["_Answer"]], limit: int | None) -> Gathered:
        as_of = datetime.now(UTC)
        workers = self._topology.live()
        answers = await asyncio.gather(*(self._or_none(url, ask(url)) for url in workers))
        heard = [answer for answer in answers if answer is not None]
        if not heard:
            raise no_worker()
        answered = frozenset[int]().union(*(answer.partitions for answer in heard))
        devices = list(islice(merge(answer.devices for answer in heard), limit))
        total = max(self._topology.view.partitions, len(answered))
        return Gathered(as_of, total, len(answered), devices)

    async def _or_none(self, url: str, call: Awaitable["_Answer"]) -> "_Answer | None":
        try:
            return await call
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            log.warning("worker did not answer", url=url, error=f"{type(error).__name__}: {error}")
            self._topology.report_failure(url)
            return None

    async def _ask_all(self, url: str, wanted: DeviceFilter) -> "_Answer":
        devices: list[Device] = []
        partitions: frozenset[int] | None = None
        async for answer in self._pages(url, wanted):
            devices.extend(answer.devices)
            # A partition that went away between two pages is not answered as a whole.
            partitions = answer.partitions if partitions is None else partitions & answer.partitions
        return _Answer(partitions or frozenset(), devices)

    async def _pages(self, url: str, wanted: DeviceFilter) -> AsyncIterator["_Answer"]:
        after: str | None = None
        while True:
            answer = await self._ask(url, wanted, after, WORKER_PAGE)
            yield answer
            if not answer.devices:
                return
            after = answer.devices[-1]["serialNumber"]

    async def _ask(self, url: str, wanted: DeviceFilter, after: str | None, limit: int) -> "_Answer":
        parameters = {"limit": str(limit), "after": after, "site": wanted.site_id, "status": wanted.status}
        query = {name: str(value) for name, value in parameters.items() if value is not None}
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        async with self._session.get(f"{url}/internal/v1/devices", params=query, timeout=timeout) as response:
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            return _parse(await response.read())


@dataclass(frozen=True, slots=True)
class _Answer:
    partitions: frozenset[int]
    devices: list[Device]


def _parse(body: bytes) -> _Answer:
    document = orjson.loads(body)
    try:
        devices = [device for device in document["devices"] if isinstance(device["serialNumber"], str)]
        return _Answer(frozenset(document["partitionsAnswered"]), devices)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a list of devices: {error!r}") from None


def merge(lists: Iterable[list[Device]]) -> Iterable[Device]:
    """Merges lists sorted by serial number; of a device that two workers name, the one that knows more counts.

    Two workers can name one device for a moment while its partition moves.
    """
    last: Device | None = None
    for device in heapq.merge(*lists, key=lambda device: str(device["serialNumber"])):
        if last is not None and last["serialNumber"] == device["serialNumber"]:
            last = max(last, device, key=_knowledge)
            continue
        if last is not None:
            yield last
        last = device
    if last is not None:
        yield last


def _knowledge(device: Device) -> tuple[int, str]:
    return int(device.get("sequence") or 0), str(device.get("lastSeen") or "")
