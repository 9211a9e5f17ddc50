"""Stores what was read, come what may: a batch that fails as a whole is halved until what is at fault is alone."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import structlog

from ems_streams.kafka.retries import attempts
from ems_streams.metrics import sink
from ems_streams.postgres import offsets
from ems_streams.postgres.batch import Batch, Entry, batch_of, halves
from ems_streams.postgres.connection import WRITE_ERRORS, blames_the_data
from ems_streams.postgres.database import Database, SlowError
from ems_streams.postgres.offsets import Partition
from ems_streams.postgres.partitions import ManyPartitionsError, first_kept
from ems_streams.postgres.schema import TABLES
from ems_streams.postgres.writer import Writer, Written
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

PutAside = Callable[[Entry, Exception, datetime], Awaitable[None]]
"""Called with what PostgreSQL cannot take, the reason and the time of the first failure; returns when it is safe elsewhere."""


class Store:
    """The database as the sink uses it: positions, and entries that are to be written.

    Attributes:
        positions: Next offset that the database wants, of every partition that was loaded.
        at_once: How many entries it is good to bring at once: fewer when the server was too slow for more.
        rows: How many rows were written since the start.
        writing: Whether a batch is being written, which has deadlines of its own.
        expired: How many were not, since they are older than their table keeps rows.
    """

    def __init__(self, settings: Settings, database: Database, group: str, put_aside: PutAside) -> None:
        self._settings = settings
        self._database = database
        self._group = group
        self._put_aside = put_aside
        self._writer = Writer(group)
        self.positions: dict[Partition, int] = {}
        self.at_once = settings.sink_batch_records
        self.writing = False
        self.rows = 0
        self.expired = 0

    async def load(self, beginnings: dict[Partition, int]) -> dict[Partition, int]:
        """Stored offsets of partitions, that begin at `beginnings` when they are new; waits while the database is away."""
        while True:
            try:
                found = await self._database.run(lambda connection: offsets.load(connection, self._group, beginnings))
            except SlowError:
                continue
            self.positions.update(found)
            return found

    async def write(self, entries: Sequence[Entry]) -> set[Partition]:
        """Return when every entry is durable, or put aside and passed; waits while the database is slow or away.

        Returns the partitions that others have moved meanwhile: of these nothing was written, and they must be loaded again.
        """
        self.writing = True
        try:
            return await self._write_parts(entries)
        finally:
            self.writing = False

    async def _write_parts(self, entries: Sequence[Entry]) -> set[Partition]:
        stale: set[Partition] = set()
        parts = [entries]
        while parts:
            part = [entry for entry in parts.pop() if entry.partition not in stale]
            if part:
                left, moved_by_others = await self._write_part(part)
                stale |= moved_by_others
                parts += reversed(left)
        return stale

    async def _write_part(self, entries: Sequence[Entry]) -> tuple[list[Sequence[Entry]], set[Partition]]:
        """Try once; gives what is to be tried next, in order, and the partitions that are stale."""
        try:
            stale = await self._try(entries)
        except SlowError:
            self.at_once = max(1, len(entries) // 2)
            sink.TRANSACTIONS.labels("slow").inc()
            log.warning("batch_halved", entries=len(entries), reason="slow")
            return _parts(entries), set()
        except ManyPartitionsError:
            return _parts(entries), set()
        except WRITE_ERRORS as error:
            if not blames_the_data(error):
                raise
            return await self._after_bad_data(entries), set()
        # What is not stale of a part that was not written for the sake of what is, is tried again without it.
        return [entries] if stale else [], stale

    async def _try(self, entries: Sequence[Entry]) -> set[Partition]:
        """Write all, or nothing and give the partitions that are stale."""
        now = datetime.now(UTC)
        oldest = {table: first for table in TABLES if (first := first_kept(self._settings, table, now)) is not None}
        batch = batch_of(entries, self.positions, oldest)
        written = await self._database.run(lambda connection: self._writer.write(connection, batch))
        if written.stale:
            sink.TRANSACTIONS.labels("stale").inc()
        else:
            self.positions.update({partition: move.end for partition, move in batch.moves.items()})
            self._account(batch, written)
        return set(written.stale)

    async def _after_bad_data(self, entries: Sequence[Entry]) -> list[Sequence[Entry]]:
        """Halves of what holds something bad; an entry that is bad by itself is tried again, and then put aside."""
        sink.TRANSACTIONS.labels("refused").inc()
        if len(entries) > 1:
            return _parts(entries)
        first_failed_at = datetime.now(UTC)
        try:
            async for attempt in attempts():
                with attempt:
                    # One that has become stale meanwhile comes up again by itself.
                    return [entries] if await self._try(entries) else []
        except SlowError:
            return [entries]
        except WRITE_ERRORS as error:
            # Without its row there is nothing of it that could be bad.
            if not blames_the_data(error) or entries[0].row is None:
                raise
            await self._put_aside(entries[0], error, first_failed_at)
        return [[entries[0]._replace(row=None)]]

    def _account(self, batch: Batch, written: Written) -> None:
        rows = sum(written.rows.values())
        self.rows += rows
        sink.TRANSACTIONS.labels("written").inc()
        sink.TRANSACTION_SECONDS.observe(written.took_s)
        sink.TRANSACTION_ROWS.observe(rows)
        for table, count in written.rows.items():
            sink.ROWS.labels(table).inc(count)
        if batch.expired:
            self.expired += batch.expired
            sink.EXPIRED_ROWS.inc(batch.expired)
            log.info("rows_past_retention", rows=batch.expired)
        if written.took_s * 4 < self._settings.sink_write_timeout_s:
            self.at_once = min(self._settings.sink_batch_records, self.at_once * 2)


def _parts(entries: Sequence[Entry]) -> list[Sequence[Entry]]:
    return [part for part in halves(entries) if part]
