"""History for whoever answers people: a few connections, a deadline, and no waiting for a server that was away a moment ago."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
import structlog

from ems_streams.postgres.connection import CONNECT_TIMEOUT_S, SERVER_ERRORS, SERVER_SETTINGS, Connection, address, summary
from ems_streams.postgres.history import Page
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

CONNECTIONS_MAX = 4
PAUSE_AFTER_FAILURE_S = 3.0
PROBE_INTERVAL_S = 5.0

T = TypeVar("T")
Query = Callable[[Connection], Awaitable[Page]]


class HistoryReader:
    """Reads windows from PostgreSQL while it is there; opens connections when they are first needed.

    Args:
        settings: Where PostgreSQL is.
        application_name: What `pg_stat_activity` shows.
        timeout_s: Deadline of one query, connecting included.

    Attributes:
        failure: Why the last question was not answered, in words; empty when it was.
    """

    def __init__(self, settings: Settings, application_name: str, timeout_s: float) -> None:
        self._settings = settings
        self._application_name = application_name
        self._timeout_s = timeout_s
        self._pool: Connection | None = None
        self._opening = asyncio.Lock()
        self._away_until_s = 0.0
        self.failure = ""

    async def run(self) -> None:
        """Ask every few seconds whether PostgreSQL is there, so that `failure` is right also when nobody reads; until cancelled."""
        while True:
            await self.read(_ask)
            await asyncio.sleep(PROBE_INTERVAL_S)

    async def read(self, query: Callable[[Connection], Awaitable[T]]) -> T | None:
        """What the query gives, or None when PostgreSQL cannot answer in time; asked again only after a pause."""
        if time.monotonic() < self._away_until_s:
            return None
        try:
            async with asyncio.timeout(self._timeout_s):
                page = await query(await self._connections())
        except SERVER_ERRORS as error:
            self._away_until_s = time.monotonic() + PAUSE_AFTER_FAILURE_S
            if not self.failure:
                log.warning("history_away", database=address(self._settings), error=summary(error))
            self.failure = summary(error)
            return None
        self.failure = ""
        return page

    async def close(self) -> None:
        """Give the connections up."""
        if self._pool is not None:
            self._pool.terminate()

    async def _connections(self) -> Connection:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._settings.database_url.get_secret_value(),
                    min_size=0,
                    max_size=CONNECTIONS_MAX,
                    timeout=CONNECT_TIMEOUT_S,
                    server_settings={**SERVER_SETTINGS, "application_name": self._application_name},
                )
        return self._pool


async def _ask(connection: Connection) -> None:
    await connection.execute("SELECT 1")
