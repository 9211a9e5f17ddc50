"""`GET /api/v1/pipeline`: how fast telemetry comes in, what waits, who works on it, and how they are."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog
from aiohttp import web
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from ems_streams.domain.events import format_time
from ems_streams.errors import EmsError
from ems_streams.gateway.answers.operation import PipelineView
from ems_streams.gateway.openapi.describe import Says, describe
from ems_streams.gateway.openapi.words import OPERATION
from ems_streams.gateway.security.asking import sites_of
from ems_streams.gateway.topic_metadata import partitions_of
from ems_streams.gateway.topology import Topology
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from ems_streams.kafka.client import client_options
from ems_streams.kafka.refusals import refusal_of
from ems_streams.ops.health import CheckResult
from ems_streams.ops.http import json_response
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

SAMPLE_EVERY_S = 1.0
WINDOW_S = 5.0
STALE_S = 6.0


class RateMeter:
    """Events per second over the last few seconds, from samples of a growing total.

    Args:
        window_s: How far back the rate looks.
        clock: Monotonic seconds.
    """

    def __init__(self, window_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._window_s = window_s
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()

    @property
    def age_s(self) -> float:
        """Seconds since the last sample; infinite before the first."""
        return self._clock() - self._samples[-1][0] if self._samples else float("inf")

    @property
    def total(self) -> int:
        """The total of the last sample."""
        return self._samples[-1][1] if self._samples else 0

    def sample(self, total: int) -> None:
        """Takes a sample; a total that shrank begins anew."""
        now = self._clock()
        if self._samples and total < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now, total))
        while len(self._samples) > 2 and now - self._samples[1][0] >= self._window_s:
            self._samples.popleft()

    def rate_per_s(self) -> float | None:
        """`None` while there are too few samples to tell."""
        if len(self._samples) < 2:
            return None
        (first_at, first), (last_at, last) = self._samples[0], self._samples[-1]
        return (last - first) / (last_at - first_at) if last_at > first_at else None


class Pipeline:
    """Samples the end offsets of `device-telemetry` every second; by that it also knows whether Kafka answers."""

    def __init__(self, settings: Settings, topology: Topology) -> None:
        self._settings = settings
        self._topology = topology
        self._meter = RateMeter(WINDOW_S)
        self._trouble = "not asked yet"

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/api/v1/pipeline", self._handle)]

    def check(self) -> CheckResult:
        """Readiness: whether Kafka answered within the last seconds."""
        if self._meter.age_s <= STALE_S:
            return CheckResult(True, f"answered {self._meter.age_s:.1f} s ago")
        return CheckResult(False, self._trouble)

    async def run(self) -> None:
        """Samples until cancelled."""
        while True:
            try:
                await self._sample()
            except TimeoutError:
                self._trouble = f"Kafka did not answer within {STALE_S:g} s"
            except (KafkaError, OSError, EmsError) as error:
                self._trouble = refusal_of(self._settings) or f"{type(error).__name__}: {error}"
            await asyncio.sleep(SAMPLE_EVERY_S)

    async def _sample(self) -> None:
        partitions = await partitions_of(self._settings, DEVICE_TELEMETRY)
        consumer = AIOKafkaConsumer(**client_options(self._settings), group_id=None, enable_auto_commit=False)
        await consumer.start()
        try:
            while True:
                async with asyncio.timeout(STALE_S):
                    ends = await consumer.end_offsets(partitions)
                self._meter.sample(sum(ends.values()))
                await asyncio.sleep(SAMPLE_EVERY_S)
        finally:
            await consumer.stop()

    @describe(
        "workers, how they are, their partitions, messages per second and those that wait",
        tag=OPERATION,
        answers={200: Says("The pipeline.", (PipelineView,))},
        more="[dashboard](../howto/dashboard.md)",
    )
    async def _handle(self, request: web.Request) -> web.Response:
        # Counts of all sites together: whoever sees some of them would learn how much the others send.
        shown = sites_of(request) is None
        rate = self._meter.rate_per_s() if shown and self._meter.age_s <= STALE_S else None
        view = self._topology.view
        conditions = {url: self._topology.condition(url) if shown else {} for url in view.owners}
        workers = [_worker(url, owned, view.live, conditions[url]) for url, owned in sorted(view.owners.items())]
        return json_response(
            {
                "asOf": format_time(datetime.now(UTC)),
                "eventsPerSecond": None if rate is None else round(rate, 1),
                "eventsTotal": self._meter.total if shown else None,
                "partitionsTotal": view.partitions,
                "partitionsAnswered": len(frozenset[int]().union(*(view.owners[url] for url in view.live))),
                "lag": lag_of(conditions[url] for url in view.live),
                "workers": workers,
            }
        )


def _worker(url: str, owned: Iterable[int], live: Iterable[str], said: Mapping[str, Any]) -> dict[str, Any]:
    """A worker for people; what one that does not answer would say is null."""
    told = {name: said.get(name) for name in ("ready", "breaker", "checks")}
    return {"url": url, "partitions": sorted(owned), "live": url in live, **told}


def lag_of(conditions: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Messages that wait for the workers that answer, by topic, and telemetry by partition; None when no worker says."""
    lags = [said["lags"] for said in conditions if isinstance(said.get("lags"), dict)]
    if not lags:
        return None
    by_topic: Counter[str] = Counter()
    by_partition: Counter[str] = Counter()
    for topics in lags:
        for topic, partitions in topics.items():
            by_topic[topic] += sum(partitions.values())
        by_partition.update(topics.get(DEVICE_TELEMETRY, {}))
    return {"messages": by_topic[DEVICE_TELEMETRY], "byTopic": dict(by_topic), "byPartition": dict(by_partition)}
