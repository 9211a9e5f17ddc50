"""Writes a batch and moves its offsets in one transaction: both or neither, and only from where the offsets are believed to be."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from ems_streams.postgres import offsets
from ems_streams.postgres.batch import Batch
from ems_streams.postgres.connection import Connection, lacks_partition
from ems_streams.postgres.offsets import Partition
from ems_streams.postgres.partitions import PartitionKeeper
from ems_streams.postgres.schema import TABLES


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch.

    Attributes:
        stale: Partitions that others have moved meanwhile; when there is one, nothing was written.
        rows: How many rows were handed to the database, by table.
        took_s: How long the transaction took.
    """

    stale: frozenset[Partition]
    rows: Mapping[str, int]
    took_s: float


async def make_staging(connection: Connection) -> None:
    """Prepare a new connection for `Writer`."""
    for table in TABLES:
        await connection.execute(table.staging_sql())


class Writer:
    """Writes for one consumer group, on connections that `make_staging` has prepared.

    Args:
        group: Whose offsets are moved.
    """

    def __init__(self, group: str) -> None:
        self._group = group
        self._keeper = PartitionKeeper()

    async def write(self, connection: Connection, batch: Batch) -> Written:
        """Write all of it, or nothing when a partition is stale.

        Raises `ManyPartitionsError` when it needs more new partitions than one batch may make, and whatever asyncpg raises; after an
        error of the connection it may have been written all the same, and the next write of the same moves finds them stale.
        """
        started_s = time.monotonic()
        try:
            await self._keeper.ensure(connection, batch.starts)
            stale = await self._write(connection, batch)
        except BaseException as error:
            if lacks_partition(error):
                self._keeper.forget()
            raise
        rows = {} if stale else {table.name: len(written) for table, written in batch.rows.items()}
        return Written(frozenset(stale), rows, time.monotonic() - started_s)

    async def _write(self, connection: Connection, batch: Batch) -> set[Partition]:
        async with connection.transaction():
            # Before the offsets are locked: from then on only the server works, and whoever is frozen holds the locks for a short time.
            for table, rows in batch.rows.items():
                await connection.copy_records_to_table(table.staging, records=[row.values for row in rows], columns=table.columns)
            stale = await offsets.lock(connection, self._group, batch.moves)
            if stale:
                return stale
            for table in batch.rows:
                await connection.execute(table.upsert_sql())
            await offsets.store(connection, self._group, batch.moves)
        return set()
