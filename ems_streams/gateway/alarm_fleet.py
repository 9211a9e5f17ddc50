"""The alarms of all workers together: each is asked for those of its partitions, and the answers are merged, newest first."""

from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from typing import Any

import aiohttp
import orjson

from ems_streams.domain.alarm_index import AlarmFilter, Place
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.gateway.coverage import Coverage
from ems_streams.gateway.every_worker import EveryWorker
from ems_streams.gateway.topology import Topology

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
        self._workers = EveryWorker(session, topology, timeout_s)

    async def page(self, wanted: AlarmFilter, after: Place | None, limit: int) -> Alarms:
        """The first `limit` alarms behind a place, newest first; a 503 problem when no worker answers."""
        parameters = {
            "limit": str(limit),
            "after": None if after is None else f"{-after[0]}:{after[1]}",
            "state": None if wanted.states is None else ",".join(sorted(wanted.states)),
            "severity": None if wanted.severities is None else ",".join(sorted(wanted.severities)),
            "site": None if wanted.sites is None else ",".join(map(str, sorted(wanted.sites))),
            "serial": wanted.serial_number,
        }
        return await self._gather("/internal/v1/alarms", {name: each for name, each in parameters.items() if each is not None}, limit)

    async def find(self, alarm_id: str) -> Alarms:
        """The alarm of an id, if a worker that answers has it; a 503 problem when none answers."""
        return await self._gather(f"/internal/v1/alarms/{alarm_id}", {}, 1)

    async def _gather(self, path: str, query: dict[str, str], limit: int) -> Alarms:
        async def ask(url: str) -> _Answer:
            return _parse(await self._workers.get(url + path, query))

        covered, answers = await self._workers.answers(ask)
        # Two workers can name one alarm for a moment while its partition moves.
        found = {alarm["alarmId"]: alarm for alarm in merge(*(answer.alarms for answer in answers), key=place_of)}
        return Alarms(covered.as_of, covered.partitions_total, covered.partitions_answered, list(found.values())[:limit])


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
