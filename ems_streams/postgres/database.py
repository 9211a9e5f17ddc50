"""PostgreSQL as a dependency that may be slow or away: one connection, opened when it is needed, behind a circuit breaker."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from ems_streams.domain.circuit_breaker import BreakerState, CircuitBreaker
from ems_streams.postgres.connection import SERVER_ERRORS, Connection, address, blames_the_data, close, connect, summary
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

PROBE_INTERVAL_S = 3.0
PROBE_TIMEOUT_S = 5.0
_JITTER = 1.25

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]


class SlowError(Exception):
    """The server was there and did not finish in time; less at once may do."""


class Database:
    """One connection that work is done on, one piece of work at a time.

    While the breaker is open nothing is tried; whoever wants work done waits. A connection is given up after any error on it that is not
    the data's fault, since nothing is known of its state then.

    Args:
        application_name: What `pg_stat_activity` shows.
        timeout_s: Deadline of one piece of work.
        prepare: Run on every new connection before any work.
    """

    def __init__(
        self, settings: Settings, application_name: str, timeout_s: float, prepare: Callable[[Connection], Awaitable[None]] | None = None
    ) -> None:
        self._settings = settings
        self._application_name = application_name
        self._timeout_s = timeout_s
        self._prepare = prepare
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()
        self._probe: asyncio.Task[None] | None = None
        self._contacted = False
        self.breaker = CircuitBreaker()

    def check(self) -> tuple[bool, str]:
        """Whether the server does what it is asked, as far as is known, and one line about it; from memory."""
        where = address(self._settings)
        if self.breaker.state is not BreakerState.CLOSED:
            return False, f"{where}: circuit breaker {self.breaker.state}: {self.breaker.reason}"
        return self._contacted, where if self._contacted else f"{where}: not reached yet"

    @property
    def available(self) -> bool:
        """Whether the last thing asked of it was done."""
        return self.check()[0]

    def start_probing(self) -> None:
        """Ask the server every few seconds whether it is there when nothing else is asked."""
        self._probe = asyncio.create_task(self._keep_probing(), name="postgres probe")

    async def stop(self) -> None:
        """Give the connection up; what is under way on it is undone by the server."""
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await close(connection)

    async def run(self, work: Work[T], timeout_s: float | None = None) -> T:
        """Do the work as soon as the server lets it be done, however long that takes; only cancellation ends the waiting.

        The work may be done more than once, and may have been done when it seems to have failed. Raises `SlowError` when the deadline
        passed, and whatever blames the data.
        """
        while True:
            await asyncio.sleep(self._pause_s())
            async with self._lock:
                if not self.breaker.allows(time.monotonic()):
                    continue
                try:
                    return await self._try(work, timeout_s or self._timeout_s)
                except SERVER_ERRORS as error:
                    if blames_the_data(error):
                        raise
                    self._failed(summary(error))

    async def _try(self, work: Work[T], timeout_s: float) -> T:
        try:
            result = await self._within_deadline(work, timeout_s)
        except SlowError:
            self._failed(f"not done within {timeout_s:.0f} s")
            raise
        except asyncio.CancelledError:
            # A trial that is given up has shown nothing; without an outcome nobody would ever be let through again.
            self._failed("given up")
            raise
        except SERVER_ERRORS as error:
            if not blames_the_data(error):
                self._give_up()
                raise
            self._succeeded()
            raise
        except Exception:
            # Ours, or the driver's about a value: the server has done what it was asked until then.
            self._succeeded()
            raise
        self._succeeded()
        return result

    async def _within_deadline(self, work: Work[T], timeout_s: float) -> T:
        task = asyncio.create_task(self._work(work), name=f"work of {self._application_name}")
        try:
            await asyncio.wait((task,), timeout=timeout_s)
            if not task.done():
                raise SlowError
        finally:
            if not task.done():
                # The connection goes first: a transaction that is cancelled waits for its rollback, and a server that does not answer
                # would be waited for without end.
                self._give_up()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        return task.result()

    async def _work(self, work: Work[T]) -> T:
        return await work(await self._open())

    async def _open(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._settings, self._application_name)
            if self._prepare is not None:
                try:
                    await self._prepare(self._connection)
                except BaseException:
                    self._give_up()
                    raise
        return self._connection

    def _give_up(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _pause_s(self) -> float:
        """How long to wait for the breaker; not all the same, so that replicas do not come back at the same moment."""
        return self.breaker.wait_s(time.monotonic()) * random.uniform(1.0, _JITTER)  # noqa: S311 - no secret

    def _failed(self, reason: str) -> None:
        if self.breaker.state is BreakerState.CLOSED:
            log.warning("postgres_unavailable", reason=reason)
        self.breaker.on_failure(time.monotonic(), reason)

    def _succeeded(self) -> None:
        if self.breaker.state is not BreakerState.CLOSED:
            log.warning("postgres_available")
        self._contacted = True
        self.breaker.on_success(time.monotonic())

    async def _keep_probing(self) -> None:
        while True:
            await asyncio.sleep(PROBE_INTERVAL_S)
            if not self._lock.locked():
                try:
                    await self.run(_ask, PROBE_TIMEOUT_S)
                except SlowError:
                    continue


async def _ask(connection: Connection) -> None:
    await connection.execute("SELECT 1")
