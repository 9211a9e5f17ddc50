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
MEMBERSHIP = "membership of the group"
RECOVERY = "recovery"


class StalledError(EmsError):
    """A partition, or the recovery, has more to do and does not move."""


class Watchdog:
    """Watches source partitions (fetched and durable against the log's end), recovery, and the way back into the group.

    While Kafka is away nothing counts as stuck: a restart would mend nothing.
    """

    def __init__(self, app: "WorkerApp", stall_timeout_s: float) -> None:
        self._app = app
        self._stall_timeout_s = stall_timeout_s
        self._detector = StallDetector()
        self._task: asyncio.Task[None] | None = None
        self.longest_stall_s = 0.0

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
            stalled = self._detector.stalled_for_s(await self._observe(), time.monotonic())
            self.longest_stall_s = max(stalled.values(), default=0.0)
            if self.longest_stall_s > self._stall_timeout_s:
                where = ", ".join(f"{key} for {seconds:.0f} s" for key, seconds in stalled.items())
                log.error("stalled", where=where, timeout_s=self._stall_timeout_s)
                await self._app.fail(StalledError(f"no progress: {where}"))
                return

    async def _observe(self) -> dict[Hashable, Progress]:
        app = self._app
        if not app.kafka.reachable:
            return {}
        if app.outside_group:
            return {MEMBERSHIP: Progress(app.consumer_generation_id, behind=True)}
        if app.engine.breaker.state is not BreakerState.CLOSED:
            return {}
        if app.engine.missing_partitions(app.assignor.assigned_actives()):
            return {RECOVERY: Progress(app.engine.recovered_records + app.engine.epoch, behind=True)}
        return {f"{tp.topic}[{tp.partition}]": progress for tp, progress in (await app.batch_consumer.progress()).items()}
