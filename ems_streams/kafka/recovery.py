"""Faust's table manager with our recovery in place of its own (why: see `ems_streams.kafka.changelog`)."""

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

import structlog
from faust.tables.manager import TableManager as FaustTableManager
from faust.tables.recovery import Recovery as FaustRecovery
from mode import Service

from ems_streams.kafka.engine import Engine

if TYPE_CHECKING:
    from ems_streams.kafka.worker_app import WorkerApp

log = structlog.get_logger(__name__)
# What Faust's own code says in our subclasses is Faust's to say, and is quietened with it.
faust_logger = logging.getLogger("faust.tables")


class Recovery(FaustRecovery):
    """Recovers the partitions of a new assignment through the engine, then lets the streams run.

    A new rebalance cancels a recovery under way; an error stops the worker instead of being swallowed.
    """

    logger = faust_logger
    app: "WorkerApp"

    @property
    def engine(self) -> Engine:
        """The engine of the worker that this service belongs to."""
        return self.app.engine

    @Service.task
    async def _restart_recovery(self) -> None:
        while not self.should_stop:
            if await self.wait_for_stopped(cast(Any, self.signal_recovery_start)):
                return
            self.signal_recovery_start.clear()
            self._set_recovery_started()
            recovery = asyncio.ensure_future(self._recover(self._generation_id))
            await self.wait_first(recovery, self.signal_recovery_start.wait())
            if not recovery.done():
                recovery.cancel()
                await asyncio.gather(recovery, return_exceptions=True)
            elif not recovery.cancelled() and (error := recovery.exception()) is not None:
                log.error("recovery_failed", error=repr(error))
                await self.app.fail(error)
                return

    async def _recover(self, generation: int) -> None:
        await self.engine.close_partitions()
        await self.engine.open_partitions(set(self.active_tps), generation)
        self._set_recovery_ended()
        await self._resume_streams(generation_id=generation)
        self.app.on_recovered()

    @Service.task
    async def _slurp_changelogs(self) -> None:
        """Changelogs do not come through the worker's consumer; there is nothing to slurp."""

    @Service.task
    async def _publish_stats(self) -> None:
        """The engine reports its own progress."""

    def flush_buffers(self) -> None:
        """No changelog event is ever buffered."""


class TableManager(FaustTableManager):
    """Table manager that uses `Recovery`."""

    logger = faust_logger

    @property
    def recovery(self) -> FaustRecovery:
        """Recovery service of this table manager."""
        if self._recovery is None:
            self._recovery = Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
