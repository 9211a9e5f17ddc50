"""What is in the database, for people: tables with their partitions, and the stored offsets."""

from typing import Any

from ems_streams.domain.events import format_time
from ems_streams.postgres.connection import Connection
from ems_streams.postgres.offsets import stored_offsets
from ems_streams.postgres.partitions import is_hypertable, partition_names
from ems_streams.postgres.schema import TABLES, Table
from ems_streams.settings import Settings

# As of the last time that PostgreSQL has looked (`ANALYZE`); -1 is never. Counting would read everything.
_ROWS_ABOUT = """
SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class
WHERE oid = to_regclass($1) OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass($1))
"""


async def database_status(connection: Connection, _settings: Settings) -> dict[str, Any]:
    """Tables and offsets, as JSON can hold them."""
    return {
        "tables": [await _table(connection, table) for table in TABLES],
        "offsets": [
            {
                "group": row["consumer_group"],
                "topic": row["topic"],
                "partition": row["partition"],
                "nextOffset": row["next_offset"],
                "updatedAt": format_time(row["updated_at"]),
            }
            for row in await stored_offsets(connection)
        ],
    }


async def _table(connection: Connection, table: Table) -> dict[str, Any]:
    names = await partition_names(connection, table)
    return {
        "name": table.name,
        "kind": "hypertable" if await is_hypertable(connection, table) else "partitioned",
        "partitions": len(names),
        "first": names[0] if names else None,
        "last": names[-1] if names else None,
        "rowsAbout": await connection.fetchval(_ROWS_ABOUT, table.name),
    }
