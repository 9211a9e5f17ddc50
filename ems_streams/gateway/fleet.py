"""The devices of all workers together: each is asked for its own, and the answers are merged by serial number."""

import heapq
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import aiohttp
import orjson

from ems_streams.gateway.coverage import Coverage
from ems_streams.gateway.every_worker import EveryWorker
from ems_streams.gateway.topology import Topology

Device = dict[str, Any]
WORKER_PAGE = 1000


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """Which devices are wanted; `None` is no condition.

    Attributes:
        sites: Of one of these sites; of none there is nothing.
        status: In this state.
    """

    sites: frozenset[int] | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Gathered(Coverage):
    """Devices of all workers that answered in time, sorted by serial number, each once."""

    devices: list[Device]


class Fleet:
    """Asks all live workers at once, each request with the deadline `timeout_s`.

    Args:
        name_of: What people call the device of a serial number; workers do not know it.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        topology: Topology,
        timeout_s: float,
        name_of: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._workers = EveryWorker(session, topology, timeout_s)
        self._name_of = name_of

    async def page(self, wanted: DeviceFilter, after: str | None, limit: int) -> Gathered:
        """The first `limit` devices after a serial number; a 503 problem when no worker answers."""
        return await self._gather(lambda url: self._ask(url, wanted, after, limit), limit)

    async def all(self, wanted: DeviceFilter) -> Gathered:
        """Every device; a 503 problem when no worker answers."""
        return await self._gather(lambda url: self._ask_all(url, wanted), None)

    async def _gather(self, ask: Callable[[str], Awaitable["_Answer"]], limit: int | None) -> Gathered:
        covered, answers = await self._workers.answers(ask)
        merged = islice(merge(answer.devices for answer in answers), limit)
        devices = [{**device, "name": self._name_of(device["serialNumber"])} for device in merged]
        return Gathered(covered.as_of, covered.partitions_total, covered.partitions_answered, devices)

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
        sites = None if wanted.sites is None else ",".join(map(str, sorted(wanted.sites)))
        parameters = {"limit": str(limit), "after": after, "site": sites, "status": wanted.status}
        query = {name: str(value) for name, value in parameters.items() if value is not None}
        return _parse(await self._workers.get(f"{url}/internal/v1/devices", query))


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
