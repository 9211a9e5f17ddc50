"""What a worker that is stuck is told by: source partitions, recovery, commits, and its membership of the group."""

import asyncio
from collections.abc import Hashable
from typing import TYPE_CHECKING

from ems_streams.domain.circuit_breaker import BreakerState
from ems_streams.domain.stall import Progress
from ems_streams.errors import StalledError
from ems_streams.kafka.stall_watch import StallWatch

if TYPE_CHECKING:
    from ems_streams.kafka.worker_app import WorkerApp

MEMBERSHIP = "membership of the group"
RECOVERY = "recovery"
COMMITS = "commits of "


class Watchdog:
    """Watches source partitions (fetched and durable against the log's end), recovery, commits, and the way back into the group.

    While Kafka is away nothing counts as stuck: a restart would mend nothing. Commits that fail although recoveries in between succeed are no
    outage (`CommitTroubles`).

    Attributes:
        watch: What has not moved, and for how long.
    """

    def __init__(self, app: "WorkerApp", stall_timeout_s: float) -> None:
        self._app = app
        self._task: asyncio.Task[None] | None = None
        self.watch = StallWatch(self._observe, stall_timeout_s)

    def start(self) -> None:
        """Begin watching."""
        self._task = asyncio.create_task(self._run(), name="watchdog")

    async def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            await self.watch.run()
        except StalledError as error:
            await self._app.fail(error)

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
