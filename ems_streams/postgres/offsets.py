"""Where the sink goes on reading: offsets that are stored beside the data, in the transaction that writes it.

They alone decide. A row is moved only from the value that its mover has read before, so that whoever was paused, cut off or
replaced can neither move it back nor past anything.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ems_streams.postgres.connection import Connection


class Partition(NamedTuple):
    """A partition of a topic, as anything with these two names in this order."""

    topic: str
    partition: int


class Move(NamedTuple):
    """From the offset that is stored to the one after the last record that is written."""

    start: int
    end: int


_INSERT = """
INSERT INTO sink_offsets (consumer_group, topic, partition, next_offset)
SELECT $1, topic, partition, next_offset FROM unnest($2::text[], $3::integer[], $4::bigint[]) AS new (topic, partition, next_offset)
ON CONFLICT DO NOTHING
"""
# In one order by all, or two sinks that want the same rows wait for each other for ever.
_SELECT = """
SELECT stored.topic, stored.partition, stored.next_offset
FROM sink_offsets AS stored JOIN unnest($2::text[], $3::integer[]) AS wanted (topic, partition) USING (topic, partition)
WHERE stored.consumer_group = $1
ORDER BY stored.topic, stored.partition
FOR UPDATE OF stored
"""
_UPDATE = """
UPDATE sink_offsets AS stored SET next_offset = moved.next_offset, updated_at = now()
FROM unnest($2::text[], $3::integer[], $4::bigint[]) AS moved (topic, partition, next_offset)
WHERE stored.consumer_group = $1 AND stored.topic = moved.topic AND stored.partition = moved.partition
"""
_FORGET = "DELETE FROM sink_offsets WHERE consumer_group = $1 AND topic = $2"
_ALL = "SELECT consumer_group, topic, partition, next_offset, updated_at FROM sink_offsets ORDER BY consumer_group, topic, partition"


async def load(connection: Connection, group: str, beginnings: Mapping[Partition, int]) -> dict[Partition, int]:
    """The stored offset of each partition; one that was never read begins at the given offset.

    Waits for a writer that is moving one of them just now.
    """
    if not beginnings:
        return {}
    columns = _columns(beginnings)
    async with connection.transaction():
        await connection.execute(_INSERT, group, *columns, list(beginnings.values()))
        return await _locked(connection, group, columns)


async def lock(connection: Connection, group: str, moves: Mapping[Partition, Move]) -> set[Partition]:
    """Lock the rows until the end of the transaction; gives the partitions that are not where their mover believes."""
    stored = await _locked(connection, group, _columns(moves))
    return {partition for partition, move in moves.items() if stored.get(partition) != move.start}


async def store(connection: Connection, group: str, moves: Mapping[Partition, Move]) -> None:
    """Move rows that this transaction has locked."""
    await connection.execute(_UPDATE, group, *_columns(moves), [move.end for move in moves.values()])


async def forget(connection: Connection, group: str, topic: str) -> int:
    """Remove the offsets of a topic, which is read from its beginning then; returns of how many partitions."""
    status: str = await connection.execute(_FORGET, group, topic)
    return int(status.rpartition(" ")[2])


async def stored_offsets(connection: Connection) -> list[dict[str, Any]]:
    """All rows, for people."""
    return [dict(row) for row in await connection.fetch(_ALL)]


async def _locked(connection: Connection, group: str, columns: tuple[list[str], list[int]]) -> dict[Partition, int]:
    rows = await connection.fetch(_SELECT, group, *columns)
    return {Partition(row["topic"], row["partition"]): row["next_offset"] for row in rows}


def _columns(partitions: Mapping[Partition, object]) -> tuple[list[str], list[int]]:
    return [each.topic for each in partitions], [each.partition for each in partitions]
