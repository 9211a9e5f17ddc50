"""The alarms of all workers together: each is asked for those of its partitions, and the answers are merged, newest first."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import merge
from typing import Any

import aiohttp
import orjson
import structlog

from ems_streams.domain.alarm_index import AlarmFilter, Place
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.gateway.coverage import Coverage
from ems_streams.gateway.forwarding import no_worker
from ems_streams.gateway.topology import Topology

log = structlog.get_logger(__name__)

AlarmView = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Alarms(Coverage):
    """Alarms of all workers that answered in time, each once."""

    alarms: list[AlarmView]


@dataclass(frozen=True, slots=True)
class _Answer:
    partitions: frozenset[int]
    alarms: list[AlarmView]


class AlarmFleet:
    """Asks all live workers at once, each with the deadline `timeout_s`."""

    def __init__(self, session: aiohttp.ClientSession, topology: Topology, timeout_s: float) -> None:
        self._session = session
        self._topology = topology
        self._timeout_s = timeout_s

    async def page(self, wanted: AlarmFilter, after: Place | None, limit: int) -> Alarms:
        """The first `limit` alarms behind a place, newest first; a 503 problem when no worker answers."""
        parameters = {
            "limit": str(limit),
            "after": None if after is None else f"{-after[0]}:{after[1]}",
            "state": None if wanted.states is None else ",".join(sorted(wanted.states)),
            "severity": None if wanted.severities is None else ",".join(sorted(wanted.severities)),
            "site": None if wanted.site_id is None else str(wanted.site_id),
            "serial": wanted.serial_number,
        }
        return await self._gather("/internal/v1/alarms", {name: each for name, each in parameters.items() if each is not None}, limit)

    async def find(self, alarm_id: str) -> Alarms:
        """The alarm of an id, if a worker that answers has it; a 503 problem when none answers."""
        return await self._gather(f"/internal/v1/alarms/{alarm_id}", {}, 1)

    async def _gather(self, path: str, query: dict[str, str], limit: int) -> Alarms:
        as_of = datetime.now(UTC)
        answers = await asyncio.gather(*(self._ask(url, path, query) for url in self._topology.live()))
        heard = [answer for answer in answers if answer is not None]
        if not heard:
            raise no_worker()
        answered = frozenset[int]().union(*(answer.partitions for answer in heard))
        # Two workers can name one alarm for a moment while its partition moves.
        found = {alarm["alarmId"]: alarm for alarm in merge(*(answer.alarms for answer in heard), key=place_of)}
        return Alarms(as_of, max(self._topology.view.partitions, len(answered)), len(answered), list(found.values())[:limit])

    async def _ask(self, url: str, path: str, query: dict[str, str]) -> _Answer | None:
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        try:
            async with self._session.get(url + path, params=query, timeout=timeout) as response:
                if response.status != 200:
                    raise ValueError(f"status {response.status}")
                return _parse(await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            log.warning("worker did not answer", url=url, error=f"{type(error).__name__}: {error}")
            self._topology.report_failure(url)
            return None


def place_of(alarm: AlarmView) -> Place:
    """Where an alarm is in the list: newest first."""
    return -to_epoch_ms(datetime.fromisoformat(alarm["raisedAt"])), str(alarm["alarmId"])


def _parse(body: bytes) -> _Answer:
    document = orjson.loads(body)
    try:
        alarms = document["alarms"] if "alarms" in document else [each for each in (document["alarm"],) if each is not None]
        sorted(map(place_of, alarms))  # whatever is no alarm shows here
        return _Answer(frozenset(document["partitionsAnswered"]), alarms)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not alarms: {error!r}") from None
