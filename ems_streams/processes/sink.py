"""The sink process: event topics -> PostgreSQL, with health endpoints."""

import asyncio
import contextlib
import random
import time
from collections.abc import Hashable
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import structlog
import uvloop
from aiokafka import TopicPartition

from ems_streams.domain.circuit_breaker import BreakerState, CircuitBreaker
from ems_streams.domain.stall import Progress
from ems_streams.kafka.joining import start_patiently
from ems_streams.kafka.outbox import KafkaOutbox
from ems_streams.kafka.positioned_reader import PositionedReader
from ems_streams.kafka.stall_watch import StallWatch
from ems_streams.metrics import Process, dependencies
from ems_streams.ops.health import CheckResult, Health
from ems_streams.ops.logs import configure_logging
from ems_streams.postgres.connection import SERVER_ERRORS, address, summary
from ems_streams.postgres.database import Database, SlowError
from ems_streams.postgres.migrate import migrate
from ems_streams.postgres.partitions import maintain
from ems_streams.postgres.rows import TOPICS
from ems_streams.postgres.sink import WRITTEN_TOPICS, Sink
from ems_streams.postgres.writer import make_staging
from ems_streams.processes.rights import Role, wait_for_rights
from ems_streams.processes.serving import Address, serve, stop_signal
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

FINISH_TIMEOUT_S = 10.0
WATCH_INTERVAL_S = 1.0
MAINTENANCE_INTERVAL_S = 3600.0
_MAINTENANCE_TIMEOUT_S = 60.0


class SinkProcess:
    """All parts of the process, from `start` to `stop`.

    Guarantees: a record is in the database, or in the dead letters, before the stored offset moves past it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        client_id = f"{settings.sink_group}-{settings.sink_port}"
        self.database = Database(settings, "ems-sink", settings.sink_write_timeout_s, make_staging)
        self.outbox = KafkaOutbox(settings, [*TOPICS, *WRITTEN_TOPICS], client_id=client_id)
        self.reader = PositionedReader(settings, TOPICS, settings.sink_group, client_id)
        self.sink = Sink(settings, self.reader, self.database, self.outbox)
        self.migration = CircuitBreaker()
        self.schema: str | None = None
        self._stalls = StallWatch(self._observe, settings.stall_timeout_s, interval_s=WATCH_INTERVAL_S)
        self._able = False
        self._lags: dict[TopicPartition, int] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._parts = AsyncExitStack()

    def watch(self, health: Health) -> None:
        """Register what makes this process alive, and what makes it ready: Kafka, PostgreSQL, their breakers and progress, each by name."""
        health.add_liveness("progress", self._check_alive)
        health.add_readiness("kafka", lambda: CheckResult(*self.outbox.check()))
        health.add_readiness("postgres", self._check_postgres)
        health.add_readiness("breaker", self._check_breakers)
        health.add_readiness("progress", self._check_progress)

    def sample(self) -> None:
        """Set what the metrics say of the moment; from memory."""
        for name, breaker in self._breakers().items():
            dependencies.show_breaker(name, breaker)
        dependencies.STALL_SECONDS.set(self._stalls.longest_s)
        # Partitions come and go: what is not ours any more has no lag here.
        dependencies.LAG.clear()
        for tp, lag in (self._lags or {}).items():
            dependencies.LAG.labels(tp.topic, tp.partition).set(lag)

    async def start(self) -> None:
        """Start everything; waits for servers that are not there yet, and raises `TopicsMissingError`, `RightsMissingError` and `MigrationError`."""
        await self._migrate_patiently()
        self._parts.push_async_callback(self.database.stop)
        self._parts.push_async_callback(self.outbox.stop)
        await self.outbox.start()
        await wait_for_rights(Role.SINK, self._settings)
        self._parts.push_async_callback(self.reader.stop)
        await start_patiently(self.reader.start)
        self.database.start_probing()
        for name, work in (("sink", self.sink.run()), ("watchdog", self._stalls.run()), ("maintenance", self._keep_maintaining())):
            self._tasks.append(asyncio.create_task(work, name=name))
        log.info("sink_started")

    async def run(self) -> None:
        """Return, or raise the error, when one of the parts has ended by itself."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task

    async def stop(self) -> None:
        """Finish the batch under way, for at most `FINISH_TIMEOUT_S` and only if its database is there; then close everything."""
        self.sink.stop_soon()
        if self._tasks and self.database.available:
            await asyncio.wait(self._tasks[:1], timeout=FINISH_TIMEOUT_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._parts.aclose()

    def _breakers(self) -> dict[str, CircuitBreaker]:
        return {"kafka": self.outbox.breaker, "postgres": self.migration if self.schema is None else self.database.breaker}

    def _check_breakers(self) -> CheckResult:
        breakers = self._breakers()
        closed = all(breaker.state is BreakerState.CLOSED for breaker in breakers.values())
        return CheckResult(closed, "; ".join(f"{name} {breaker.describe()}" for name, breaker in breakers.items()))

    def _check_alive(self) -> CheckResult:
        return CheckResult(not self._stalls.stuck, f"longest stall {self._stalls.longest_s:.0f} s")

    def _check_progress(self) -> CheckResult:
        if self._lags is None:
            return CheckResult(False, "not reading yet")
        longest_s, rows = self._stalls.longest_s, self.sink.store.rows
        return CheckResult(
            self._able and longest_s < self._settings.stall_timeout_s / 2,
            f"{len(self._lags)} partitions, {sum(self._lags.values())} offsets behind, {rows} rows written, longest stall {longest_s:.0f} s",
        )

    def _check_postgres(self) -> CheckResult:
        if self.schema is None:
            return CheckResult(False, f"{address(self._settings)}: schema not migrated yet {self.migration.reason}".rstrip())
        ok, detail = self.database.check()
        return CheckResult(ok, f"{detail}, schema {self.schema}" if ok else detail)

    async def _migrate_patiently(self) -> None:
        while True:
            try:
                self.schema = (await migrate(self._settings)).head
                return
            except SERVER_ERRORS as error:
                if not self.migration.failures:
                    log.warning("postgres_unavailable", reason=summary(error))
                self.migration.on_failure(time.monotonic(), summary(error))
            await asyncio.sleep(self.migration.wait_s(time.monotonic()) * random.uniform(1.0, 1.25))  # noqa: S311 - no secret

    async def _observe(self) -> dict[Hashable, Progress]:
        """Also remembers how far behind it is, for those who ask."""
        found = await self.reader.progress()
        self._able = self.database.available and self.outbox.check()[0]
        self._lags = {tp: lag for tp, (_, lag) in found.items()}
        watched = found if self._able and not self.sink.store.writing else {}
        return {f"{tp.topic}[{tp.partition}]": progress for tp, (progress, _) in watched.items()}

    async def _keep_maintaining(self) -> None:
        # On a connection of its own: a long wait for a lock must not hold up the batches.
        database = Database(self._settings, "ems-sink-maintenance", _MAINTENANCE_TIMEOUT_S)
        try:
            while True:
                with contextlib.suppress(SlowError):
                    await database.run(lambda connection: maintain(connection, self._settings, datetime.now(UTC)))
                await database.stop()
                await asyncio.sleep(MAINTENANCE_INTERVAL_S * random.uniform(0.9, 1.1))  # noqa: S311 - no secret
        finally:
            await database.stop()


def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code, or raises an `EmsError` that says why it cannot run."""
    configure_logging(settings, "sink")
    return uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    stopping = stop_signal()
    address = Address(settings.bind_host, settings.sink_port, "EMS_SINK_PORT")
    await serve(SinkProcess(settings), Process.SINK, address, stopping)
    return 0
