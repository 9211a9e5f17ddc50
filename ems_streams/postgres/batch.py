"""What is read, on its way into the database: entries in the order of their partitions, and what is written of them at once."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from ems_streams.postgres.offsets import Move, Partition
from ems_streams.postgres.rows import Row
from ems_streams.postgres.schema import Table


class Entry(NamedTuple):
    """A record and the row that it becomes.

    Attributes:
        record: As the Kafka client gives it, for the dead letters.
        row: None when there is nothing to write, and the offset moves past it all the same.
    """

    partition: Partition
    offset: int
    record: Any
    row: Row | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows by table, no two with one key, and the moves of the partitions that they come from; `expired` rows were left out."""

    rows: dict[Table, list[Row]]
    moves: dict[Partition, Move]
    expired: int = 0

    @property
    def starts(self) -> dict[Table, set[datetime]]:
        """Of the partitions by time that the rows belong into."""
        return {table: {table.span.start_of(row.moment) for row in rows} for table, rows in self.rows.items()}


def batch_of(entries: Sequence[Entry], positions: Mapping[Partition, int], first_kept: Mapping[Table, datetime]) -> Batch:
    """What writing these entries, and moving their partitions from `positions` to behind them, consists of.

    Of rows with one key only the one of the greatest revision is kept: the database would touch none of them twice in one statement,
    and has no use for the others. Rows from before `first_kept` of their table are left out.
    """
    latest: dict[tuple[str, tuple[object, ...]], Row] = {}
    ends: dict[Partition, int] = {}
    expired = 0
    for entry in entries:
        ends[entry.partition] = entry.offset + 1
        if (row := entry.row) is None:
            continue
        if row.moment < first_kept.get(row.table, row.moment):
            expired += 1
            continue
        key = (row.table.name, row.key)
        if (other := latest.get(key)) is None or row.revision > other.revision:
            latest[key] = row
    moves = {partition: Move(positions[partition], end) for partition, end in ends.items()}
    return Batch(_by_table(latest.values()), moves, expired)


def halves(entries: Sequence[Entry]) -> tuple[Sequence[Entry], Sequence[Entry]]:
    """Two parts to be written one after the other; each keeps the order."""
    middle = len(entries) // 2
    return entries[:middle], entries[middle:]


def _by_table(rows: Iterable[Row]) -> dict[Table, list[Row]]:
    tables: dict[Table, list[Row]] = defaultdict(list)
    for row in rows:
        tables[row.table].append(row)
    return dict(tables)
