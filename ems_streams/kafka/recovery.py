"""Faust's table manager with our recovery in place of its own (why: see `ems_streams.kafka.changelog`)."""

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, cast

import structlog
from aiokafka.errors import KafkaError
from faust.tables.manager import TableManager as FaustTableManager
from faust.tables.recovery import Recovery as FaustRecovery
from mode import Service

from ems_streams.errors import EmsError
from ems_streams.kafka.engine import Engine
from ems_streams.kafka.refusals import told
from ems_streams.metrics.worker import RECOVERY_FAILURES, RECOVERY_SECONDS

if TYPE_CHECKING:
    from ems_streams.kafka.worker_app import WorkerApp

log = structlog.get_logger(__name__)
# What Faust's own code says in our subclasses is Faust's to say, and is quietened with it.
faust_logger = logging.getLogger("faust.tables")


NOT_A_MEMBER_WAIT_S = 0.5


class NotAMemberError(EmsError):
    """The group has given this worker's partitions away; it has to wait for what the next rebalance assigns."""


class Recovery(FaustRecovery):
    """Recovers the partitions of a new assignment through the engine, then lets the streams run.

    A new rebalance cancels a recovery under way. While Kafka is away it is tried again and again, behind the engine's circuit
    breaker; any other error stops the worker instead of being swallowed. Nothing is opened unless the group says that this
    worker is still a member of the generation: opening fences, and a worker that wakes from a long pause must not fence the
    rightful owners.
    """

    logger = faust_logger
    app: "WorkerApp"
    outside_group = False
    """Whether the group has given this worker's partitions away and nothing new is assigned yet."""

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
            again = asyncio.ensure_future(self.signal_recovery_start.wait())
            stopped = asyncio.ensure_future(self._stopped.wait())
            await asyncio.wait((recovery, again, stopped), return_when=asyncio.FIRST_COMPLETED)
            again.cancel()
            stopped.cancel()
            if not recovery.done():
                recovery.cancel()
                await asyncio.gather(recovery, return_exceptions=True)
            elif not recovery.cancelled() and (error := recovery.exception()) is not None and not await self._may_try_again(error):
                log.error("recovery_failed", error=repr(error))
                await self.app.fail(error)
                return

    def again(self) -> None:
        """Recover all partitions of the present assignment once more."""
        self._generation_id = self.app.consumer_generation_id
        self.signal_recovery_start.set()

    async def _may_try_again(self, error: BaseException) -> bool:
        """Whether it was Kafka that failed, and not the data; if so, waits as long as the breaker says and starts over."""
        if isinstance(error, NotAMemberError):
            log.warning("not_a_member", detail=str(error))
            await self._wait_for_rebalance(NOT_A_MEMBER_WAIT_S)
            return True
        RECOVERY_FAILURES.inc()
        if not isinstance(error, KafkaError | OSError | TimeoutError):
            return False
        self.engine.troubles.outage()
        breaker = self.engine.breaker
        breaker.on_failure(time.monotonic(), f"recovery: {told(error)}")
        log.warning("kafka_away", error=told(error), next_try_s=round(breaker.wait_s(time.monotonic()), 1))
        await self._wait_for_rebalance(breaker.wait_s(time.monotonic()))
        return True

    async def _wait_for_rebalance(self, wait_s: float) -> None:
        """Wait for a new assignment; when there is none in time, start over with the present one."""
        try:
            async with asyncio.timeout(wait_s):
                await self.signal_recovery_start.wait()
        except TimeoutError:
            self.again()

    async def _recover(self, generation: int) -> None:
        began_s = time.monotonic()
        await self.engine.close_partitions()
        self.outside_group = not await self.app.batch_consumer.is_member(generation)
        if self.outside_group:
            raise NotAMemberError(f"generation {generation} is over, or a rebalance is under way")
        await self.engine.open_partitions(set(self.active_tps), generation)
        self.engine.breaker.on_success(time.monotonic())
        RECOVERY_SECONDS.observe(time.monotonic() - began_s)
        self._set_recovery_ended()
        await self._resume_streams(generation_id=generation)
        self.engine.follow_standbys(set(self.standby_tps))
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
