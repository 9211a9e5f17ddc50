"""Partitions of the tables by time: made before they are needed, or when old data needs them, and dropped whole.

Where the tables are hypertables, TimescaleDB makes the chunks, and only dropping is left.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg
import structlog

from ems_streams.postgres.connection import Connection
from ems_streams.postgres.schema import LOCK_MAINTENANCE, TABLES, Table
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

NEW_PER_BATCH_MAX = 32
"""Partitions that one batch may bring about; what needs more is written in parts."""

Starts = Mapping[Table, set[datetime]]

_PARTITIONS = """
SELECT child.relname AS name FROM pg_inherits
JOIN pg_class AS child ON child.oid = inhrelid
JOIN pg_class AS parent ON parent.oid = inhparent
WHERE parent.oid = to_regclass($1) AND parent.relkind = 'p' ORDER BY child.relname
"""


class ManyPartitionsError(Exception):
    """A batch needs more new partitions than one batch may make."""


@dataclass(frozen=True, slots=True)
class Maintained:
    """What one round of maintenance did: names of partitions."""

    made: tuple[str, ...]
    dropped: tuple[str, ...]


def first_kept(settings: Settings, table: Table, now: datetime) -> datetime | None:
    """Start of the oldest partition that holds anything within the table's retention; None when all is kept for ever."""
    days: int = getattr(settings, table.retention_setting)
    return table.span.start_of(now - timedelta(days=days)) if days else None


class PartitionKeeper:
    """Knows which partitions there are, as far as it has looked or made them."""

    def __init__(self) -> None:
        self._known: set[tuple[str, datetime]] = set()
        self._plain: dict[str, bool] = {}

    def forget(self) -> None:
        """Look again: a partition was not there that should have been."""
        self._known.clear()
        self._plain.clear()

    async def ensure(self, connection: Connection, starts: Starts) -> list[str]:
        """Make the partitions that are not there yet, and return their names; call it outside a transaction.

        Raises `ManyPartitionsError` when there are more than `NEW_PER_BATCH_MAX`; none is made then.
        """
        unknown = {table: {start for start in wanted if (table.name, start) not in self._known} for table, wanted in starts.items()}
        missing: list[tuple[Table, datetime]] = []
        for table, wanted in unknown.items():
            if wanted and await self._is_partitioned(connection, table):
                present = set(await partition_names(connection, table))
                missing += [(table, start) for start in sorted(wanted) if table.partition_name(start) not in present]
        if len(missing) > NEW_PER_BATCH_MAX:
            raise ManyPartitionsError
        for table, start in missing:
            await _make(connection, table, start)
        self._known |= {(table.name, start) for table, wanted in unknown.items() for start in wanted}
        return [table.partition_name(start) for table, start in missing]

    async def _is_partitioned(self, connection: Connection, table: Table) -> bool:
        if table.name not in self._plain:
            self._plain[table.name] = await is_hypertable(connection, table)
        return not self._plain[table.name]


async def is_hypertable(connection: Connection, table: Table) -> bool:
    """Whether TimescaleDB looks after the table: it is an ordinary one then, as far as PostgreSQL knows."""
    kind = await connection.fetchval("SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass($1)", table.name)
    return bool(kind)


async def partition_names(connection: Connection, table: Table) -> list[str]:
    """Names of the table's partitions, oldest first; none for a hypertable."""
    return [row["name"] for row in await connection.fetch(_PARTITIONS, table.name)]


async def maintain(connection: Connection, settings: Settings, now: datetime) -> Maintained:
    """Make the partitions of the near future and drop those that are past retention; one process at a time, the others do nothing."""
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_MAINTENANCE):
        return Maintained((), ())
    try:
        made = await PartitionKeeper().ensure(connection, {table: set(_near_future(table, now)) for table in TABLES})
        dropped: list[str] = []
        for table in TABLES:
            dropped += await _drop_expired(connection, settings, table, now)
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", LOCK_MAINTENANCE)
    if dropped:
        log.info("partitions_dropped", names=dropped)
    return Maintained(tuple(made), tuple(dropped))


def _near_future(table: Table, now: datetime) -> Iterable[datetime]:
    start = table.span.start_of(now)
    for _ in range(table.ahead + 1):
        yield start
        start = table.span.next_start(start)


async def _make(connection: Connection, table: Table, start: datetime) -> None:
    """A table like the parent, then attached: unlike `PARTITION OF` that needs no lock which a long read would hold up."""
    name, end = table.partition_name(start), table.span.next_start(start)
    async with connection.transaction():
        # Two sinks may want the same one.
        await connection.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", LOCK_MAINTENANCE, name)
        if name in await partition_names(connection, table):
            return
        # One that somebody has detached is taken back: its rows are needed where they were.
        await connection.execute(f"CREATE TABLE IF NOT EXISTS {name} (LIKE {table.name} INCLUDING ALL)")
        await connection.execute(
            f"ALTER TABLE {table.name} ATTACH PARTITION {name} FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
        )


async def _drop_expired(connection: Connection, settings: Settings, table: Table, now: datetime) -> list[str]:
    oldest = first_kept(settings, table, now)
    if oldest is None:
        return []
    if await is_hypertable(connection, table):
        chunks = await connection.fetch("SELECT drop_chunks($1::regclass, older_than => $2::timestamptz) AS name", table.name, oldest)
        return [chunk["name"] for chunk in chunks]
    starts = {name: table.start_of_partition(name) for name in await partition_names(connection, table)}
    expired = [name for name, start in starts.items() if start is not None and start < oldest]
    try:
        for name in expired:
            await _drop(connection, name)
    except asyncpg.LockNotAvailableError:
        # The next round tries again: whoever waits for this lock holds up all who come after, and so must not wait long or often.
        log.warning("partitions_not_dropped", names=expired, reason="a long read or a backup uses the table")
        return []
    return expired


async def _drop(connection: Connection, name: str) -> None:
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '1s'")
        await connection.execute(f"DROP TABLE {name}")
