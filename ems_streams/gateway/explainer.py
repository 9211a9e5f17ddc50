"""Gathering what explains a device: from the worker that has it, from the registry, and from Kafka, each as far as it can be had in time."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, NamedTuple
from urllib.parse import quote

from pydantic import ValidationError

from ems_streams.domain.device_facts import DeviceFacts
from ems_streams.domain.device_history import Found
from ems_streams.domain.explaining import Gathered, Topics, explain, for_sites
from ems_streams.domain.explanation import Explanation, Missing
from ems_streams.domain.registry import RegistryEntry
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.errors import EmsError
from ems_streams.gateway.forwarding import Forwarder
from ems_streams.gateway.topology import Topology
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY, DEVICE_TELEMETRY_LATE
from ems_streams.kafka.device_history import Bounds, read_device
from ems_streams.kafka.device_topics import PUT_ASIDE, READERS, TOPICS_OF_A_DEVICE
from ems_streams.ops.http import ProblemError
from ems_streams.settings import Settings

TOPICS: Final = Topics(READERS, PUT_ASIDE, DEVICE_TELEMETRY_LATE, DEVICE_TELEMETRY)
REGISTRY_TIMEOUT_S: Final = 10.0

Registry = Callable[[str], Awaitable[RegistryEntry | None]]
"""The entry of a device; raises `ProblemError` or `EmsError` when that cannot be found out now."""


class Cost(NamedTuple):
    """What looking through Kafka may cost at the most.

    Attributes:
        records: Of all devices, on all topics together.
        read_bytes: Of values in them.
        deadline_s: For all of it.
    """

    records: int
    read_bytes: int
    deadline_s: float


class Explainer:
    """Asks everybody; who does not answer is named in the explanation."""

    def __init__(self, settings: Settings, workers: Forwarder, topology: Topology, registry: Registry, cost: Cost) -> None:
        self._settings = settings
        self._workers = workers
        self._topology = topology
        self._registry = registry
        self._cost = cost

    async def explain(
        self, serial_number: str, now: datetime, since: datetime, limit: int, sites: frozenset[int] | None = None
    ) -> Explanation:
        """Why a device is as it is; never raises because somebody is away.

        Args:
            since: Its records are looked for back to here.
            limit: So many of them of each topic.
            sites: Only records of these are told; None for all.
        """
        (facts, no_worker), (registered, no_registry) = await asyncio.gather(self._facts(serial_number), self._registered(serial_number))
        found, no_kafka = await self._history(serial_number, facts, since, limit)
        not_told = None
        if found is not None and sites is not None:
            found, left_out = for_sites(found, sites)
            why = "they are of other sites, or name none; the token is for some sites only"
            not_told = Missing(part="topic", fact=f"{left_out} of its records", why=why) if left_out else None
        partition = facts.partition if facts is not None else _partition(found)
        gathered = Gathered(
            serial_number=serial_number,
            as_of=now,
            since=since,
            registered=registered,
            unknown_devices=self._settings.unknown_devices,
            facts=facts,
            found=found,
            partition=partition,
            owner=self._topology.view.owner_of(serial_number) if facts is None else facts.worker,
            missing=tuple(each for each in (no_worker, no_registry, no_kafka, not_told) if each is not None),
        )
        return explain(gathered, TOPICS)

    async def _facts(self, serial_number: str) -> tuple[DeviceFacts | None, Missing | None]:
        fact = "its live status, silence, alarms and how far it is read"
        try:
            answer = await self._workers.forward(serial_number, f"/internal/v1/devices/{quote(serial_number, safe='')}/facts", {})
            if answer.status == 200:
                assert isinstance(answer.body, bytes), "the forwarder reads the answer wholly"
                return DeviceFacts.model_validate_json(answer.body), None
            why = f"the worker answers {answer.status}; its partition is being recovered, or it is of another release"
        except ProblemError as error:
            why = error.detail.rstrip(".")
        except ValidationError as error:
            why = f"the worker's answer cannot be read ({error.error_count()} fields differ); it is of another release"
        return None, Missing(part="worker", fact=fact, why=why)

    async def _registered(self, serial_number: str) -> tuple[RegistryEntry | None, Missing | None]:
        fact = "its entry in the registry"
        try:
            async with asyncio.timeout(REGISTRY_TIMEOUT_S):
                return await self._registry(serial_number), None
        except ProblemError as error:
            return None, Missing(part="registry", fact=fact, why=error.detail.rstrip("."))
        except EmsError as error:
            return None, Missing(part="registry", fact=fact, why=str(error))
        except TimeoutError:
            return None, Missing(part="registry", fact=fact, why=f"it was not read within {REGISTRY_TIMEOUT_S:g} s")

    async def _history(
        self, serial_number: str, facts: DeviceFacts | None, since: datetime, limit: int
    ) -> tuple[Found | None, Missing | None]:
        bounds = Bounds(to_epoch_ms(since), limit, self._cost.records, self._cost.read_bytes, self._cost.deadline_s)
        status = None if facts is None else facts.status
        places = () if status is None else tuple(each for each in (status.evidence, status.heard) if each is not None)
        # What only windows and rules rest on may be on a topic that is not looked through.
        wanted = [(each.topic, each.partition, each.offset) for each in places if each.topic in READERS]
        try:
            return await read_device(self._settings, serial_number, TOPICS_OF_A_DEVICE, wanted, bounds), None
        except EmsError as error:
            return None, Missing(part="kafka", fact="its records, and what was dropped of them", why=str(error))


def _partition(found: Found | None) -> int | None:
    reads = () if found is None else found.reads
    return next((each.partition for each in reads if each.topic == DEVICE_TELEMETRY), None)
