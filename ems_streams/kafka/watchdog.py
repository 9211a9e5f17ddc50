"""Ends a worker that is stuck: behind, and without progress for too long. A silent stall is worse than a restart."""

import asyncio
import time
from collections.abc import Hashable
from typing import TYPE_CHECKING

import structlog

from ems_streams.domain.circuit_breaker import BreakerState
from ems_streams.domain.stall import Progress, StallDetector
from ems_streams.errors import EmsError

if TYPE_CHECKING:
    from ems_streams.kafka.worker_app import WorkerApp

log = structlog.get_logger(__name__)

INTERVAL_S = 2.0
SHOWN_MAX = 5
MEMBERSHIP = "membership of the group"
RECOVERY = "recovery"
COMMITS = "commits of "


class StalledError(EmsError):
    """A partition, the recovery or commits have more to do and do not move."""


class Watchdog:
    """Watches source partitions (fetched and durable against the log's end), recovery, commits, and the way back into the group.

    While Kafka is away nothing counts as stuck: a restart would mend nothing. Commits that fail although recoveries in between succeed are no
    outage (`CommitTroubles`).

    Attributes:
        stalled: Seconds without progress of everything that is behind, by what it is.
    """

    def __init__(self, app: "WorkerApp", stall_timeout_s: float) -> None:
        self._app = app
        self._stall_timeout_s = stall_timeout_s
        self._detector = StallDetector()
        self._task: asyncio.Task[None] | None = None
        self.stalled: dict[Hashable, float] = {}

    @property
    def longest_stall_s(self) -> float:
        """The longest of `stalled`; 0 when all moves."""
        return max(self.stalled.values(), default=0.0)

    @property
    def where(self) -> str:
        """What is stalled, worst first, in words."""
        worst = sorted(self.stalled.items(), key=lambda item: -item[1])
        return ", ".join(f"{key} for {seconds:.0f} s" for key, seconds in worst[:SHOWN_MAX])

    def start(self) -> None:
        """Begin watching."""
        self._task = asyncio.create_task(self._watch(), name="watchdog")

    async def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            self.stalled = self._detector.stalled_for_s(await self._observe(), time.monotonic())
            if self.longest_stall_s > self._stall_timeout_s:
                log.error("stalled", where=self.where, timeout_s=self._stall_timeout_s)
                await self._app.fail(StalledError(f"no progress: {self.where}"))
                return

    async def _observe(self) -> dict[Hashable, Progress]:
        app = self._app
        if not app.kafka.reachable:
            return {}
        if app.outside_group:
            return {MEMBERSHIP: Progress(app.consumer_generation_id, behind=True)}
        # Also while the breaker is open and partitions are recovered, which goes on all the time when commits fail.
        commits: dict[Hashable, Progress] = {COMMITS + partition: Progress(0, behind=True) for partition in app.engine.troubles.repeated}
        if app.engine.breaker.state is not BreakerState.CLOSED:
            return commits
        if app.engine.missing_partitions(app.assignor.assigned_actives()):
            return {RECOVERY: Progress(app.engine.recovered_records + app.engine.epoch, behind=True), **commits}
        sources = await app.batch_consumer.progress()
        return {**{f"{tp.topic}[{tp.partition}]": progress for tp, progress in sources.items()}, **commits}
