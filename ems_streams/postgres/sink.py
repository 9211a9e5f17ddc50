"""The sink: what workers publish, from Kafka into PostgreSQL, each record once.

Read, decode, put aside what is malformed, write with the offsets in one transaction, go on. One batch at a time: while the database is
slow or away nothing more is read, so that what is in memory stays bounded, and Kafka keeps the rest.
"""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TypeAlias

import structlog
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from ems_streams.domain.dead_letter import Headers, Origin, contents, dead_letter_headers, malformed_headers, replay_count_of
from ems_streams.errors import MalformedError
from ems_streams.kafka.catalogue import dlt_of
from ems_streams.kafka.outbox import KafkaOutbox, Record
from ems_streams.kafka.positioned_reader import PositionedReader
from ems_streams.kafka.retries import ATTEMPTS_MAX
from ems_streams.postgres.batch import Entry
from ems_streams.postgres.connection import summary
from ems_streams.postgres.database import Database
from ems_streams.postgres.offsets import Partition
from ems_streams.postgres.rows import TOPICS, Row, Source, row_of
from ems_streams.postgres.store import Store
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

STAGE = "sink"
WRITTEN_TOPICS = tuple(dlt_of(topic) for topic in TOPICS)
_RETRY_S = 1.0

KafkaRecord: TypeAlias = "ConsumerRecord[bytes, bytes]"


class Sink:
    """Moves records for as long as nobody ends `run`.

    Args:
        reader: Started; gives records in order from where it is told to begin.
        database: Prepared with `make_staging`.
        outbox: Started; takes the dead letters.
    """

    def __init__(self, settings: Settings, reader: PositionedReader, database: Database, outbox: KafkaOutbox) -> None:
        self._reader = reader
        self._outbox = outbox
        self._stopping = False
        self.store = Store(settings, database, settings.sink_group, self._put_aside)

    def stop_soon(self) -> None:
        """Let `run` return after the batch that is under way."""
        self._stopping = True

    async def run(self) -> None:
        """Move records until `stop_soon`; raises `BeyondEndError` for a topic that was made anew."""
        while not self._stopping:
            if self._reader.waiting:
                await self._load_positions()
            polled = await self._reader.poll(self.store.at_once)
            if polled:
                await self._move([record for records in polled.values() for record in records])

    async def _load_positions(self) -> None:
        waiting = frozenset(self._reader.waiting)
        try:
            beginnings = await self._reader.beginnings(waiting)
            stored = await self.store.load({Partition(*tp): offset for tp, offset in beginnings.items()})
            await self._reader.begin({TopicPartition(*partition): offset for partition, offset in stored.items()})
        except (KafkaError, OSError) as error:
            log.warning("positions_not_loaded", partitions=len(waiting), error=repr(error))
            await asyncio.sleep(_RETRY_S)

    async def _move(self, records: Iterable[KafkaRecord]) -> None:
        entries, dead_letters = decode_all(records)
        # Before the offset moves past them: a crash in between makes a second copy, never none.
        await self._outbox.deliver(dead_letters)
        stale = await self.store.write(entries)
        if stale:
            log.warning("moved_by_another_sink", partitions=len(stale))
            self._reader.release(TopicPartition(*partition) for partition in stale)
        moved = {entry.partition for entry in entries} - stale
        self._reader.durable({TopicPartition(*partition): self.store.positions[partition] for partition in moved})

    async def _put_aside(self, entry: Entry, error: Exception, first_failed_at: datetime) -> None:
        record: KafkaRecord = entry.record
        log.error("record_put_aside", topic=record.topic, partition=record.partition, offset=record.offset, error=summary(error))
        headers = dead_letter_headers(
            _origin(record),
            type(error).__name__,
            summary(error),
            stage=STAGE,
            failed_at=first_failed_at,
            attempts=ATTEMPTS_MAX,
            replay_count=replay_count_of(record.headers),
        )
        await self._outbox.deliver([_dead_letter(record, headers)])


def decode_all(records: Iterable[KafkaRecord]) -> tuple[list[Entry], list[Record]]:
    """An entry for each record, in their order, and a dead letter for each that is malformed; its entry has no row."""
    entries: list[Entry] = []
    dead_letters: list[Record] = []
    for record in records:
        row: Row | None = None
        try:
            row = row_of(record.topic, record.value, Source(record.partition, record.offset, record.timestamp))
        except MalformedError as error:
            # The record's own time, and not the clock's: whoever decodes it again makes the same dead letter.
            failed_at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
            replays = replay_count_of(record.headers)
            headers = malformed_headers(_origin(record), error, stage=STAGE, failed_at=failed_at, replay_count=replays)
            dead_letters.append(_dead_letter(record, headers))
        entries.append(Entry(Partition(record.topic, record.partition), record.offset, record, row))
    return entries, dead_letters


def _origin(record: KafkaRecord) -> Origin:
    return Origin(record.topic, record.timestamp, record.partition, record.offset)


def _dead_letter(record: KafkaRecord, headers: Headers) -> Record:
    return Record(dlt_of(record.topic), record.key, *contents(record.value, headers, record.headers))
