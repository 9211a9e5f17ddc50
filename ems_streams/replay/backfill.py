"""Telemetry of a file onto a topic: each row once, also when it is done twice, or goes on after a kill.

How far a file is, told by a hash of its content, is a record of the topic `replays`, written after each part of the file is safe. A part that
was sent and not written down is sent again: its rows have the same ids, and no device has more of them in a part than its state remembers.
"""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError

from ems_streams.domain.backfill_rows import BadRow, Find, GoodRow, csv_rows, events_of, json_rows
from ems_streams.domain.events import TelemetryEvent
from ems_streams.domain.fold_outcome import RECENT_IDENTITIES
from ems_streams.domain.registry import RegistryEntry
from ems_streams.errors import DependencyError, MalformedError, UsageError
from ems_streams.kafka.batching import KeyValue, send_records
from ems_streams.kafka.catalogue import DEVICE_REGISTRY, DEVICE_TELEMETRY, REPLAYS
from ems_streams.kafka.client import producer_options
from ems_streams.kafka.device_registry import read_registry
from ems_streams.kafka.partitioner import partition_for
from ems_streams.kafka.refusals import unreachable
from ems_streams.kafka.topic_lifecycle import create_topics
from ems_streams.replay.registry import PARTITION, latest_records, replays
from ems_streams.replay.topics import backfill_topic, topics_of
from ems_streams.settings import Settings

ROWS_AT_ONCE = 5_000
_FORMATS = {"csv": csv_rows, "jsonl": json_rows}


@dataclass(slots=True)
class Backfill:
    """What became of a file.

    Attributes:
        topic: Where its rows went, or would go.
        good: Rows that are telemetry.
        sent: Rows that were sent by this run; the rest of the good ones had been sent before.
        bad: The others.
        devices: Devices in it.
    """

    topic: str
    good: int = 0
    sent: int = 0
    bad: list[BadRow] = field(default_factory=list)
    devices: set[str] = field(default_factory=set)


async def backfill(
    settings: Settings, path: Path, file_format: str, *, into: str | None, dry_run: bool, on_progress: Callable[[int, int], None]
) -> Backfill:
    """Check the whole file, then send its good rows; `on_progress` gets how many are done, and of how many.

    Raises `UsageError` for a file that cannot be read and for a replay that has frozen its offsets, `DependencyError` without Kafka.
    """
    registry = await read_registry(settings)
    topic = DEVICE_TELEMETRY if into is None else backfill_topic(settings.application_id, into)
    found = Backfill(topic)
    for row in _rows(settings, path, file_format, registry.get):
        if isinstance(row, BadRow):
            found.bad.append(row)
        else:
            found.good += 1
            found.devices.add(row.event.serial_number)
    if dry_run or not found.good:
        return found
    if into is not None:
        if into in await replays(settings):
            raise UsageError(f"replay {into} has fixed what it reads: backfill into a new one, before it is started")
        await create_topics(settings, topics_of(settings.application_id, into, settings.partitions))
    key = f"{settings.application_id}/~backfill/{topic}/{_hash(path)}".encode()
    done = orjson.loads((await latest_records(settings)).get(key) or b"0")
    async with _producer(settings) as producer:
        for part in _parts(_rows(settings, path, file_format, registry.get), done):
            await _send(producer, settings, topic, part, registry, register=into is None)
            done += len(part)
            found.sent += len(part)
            await producer.send_and_wait(REPLAYS, orjson.dumps(done), key=key, partition=PARTITION)
            on_progress(done, found.good)
    return found


def _rows(settings: Settings, path: Path, file_format: str, find: Find) -> Iterator[GoodRow | BadRow]:
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            yield from events_of(_FORMATS[file_format](lines), find, provision_unknown=settings.unknown_devices == "provision")
    except (OSError, UnicodeDecodeError, MalformedError) as error:
        raise UsageError(f"{path}: cannot be read as {file_format}: {error}") from None


def _parts(rows: Iterable[GoodRow | BadRow], done: int) -> Iterator[list[TelemetryEvent]]:
    """Good rows behind the first `done` in parts in which no device has more rows than its state remembers."""
    good = (row.event for row in rows if isinstance(row, GoodRow))
    part: list[TelemetryEvent] = []
    by_device: Counter[str] = Counter()
    for number, event in enumerate(good):
        if number < done:
            continue
        if len(part) == ROWS_AT_ONCE or by_device[event.serial_number] == RECENT_IDENTITIES:
            yield part
            part, by_device = [], Counter()
        part.append(event)
        by_device[event.serial_number] += 1
    if part:
        yield part


async def _send(
    producer: AIOKafkaProducer,
    settings: Settings,
    topic: str,
    part: Iterable[TelemetryEvent],
    registry: dict[str, RegistryEntry],
    *,
    register: bool,
) -> None:
    """Return when Kafka has all of them; devices that nobody knew are registered first."""
    by_target: dict[tuple[str, int], list[KeyValue]] = {}

    def add(topic: str, key: bytes, value: bytes) -> None:
        by_target.setdefault((topic, partition_for(key, settings.partitions)), []).append((key, value, ()))

    for event in part:
        key = event.serial_number.encode()
        if register and event.serial_number not in registry:
            entry = registry[event.serial_number] = RegistryEntry(
                device_id=event.device_id,
                serial_number=event.serial_number,
                site_id=event.site_id,
                device_type=event.device_type,
                provisioned=True,
            )
            add(DEVICE_REGISTRY, key, entry.encode())
        add(topic, key, event.encode())
    try:
        sent = [batch for target, records in sorted(by_target.items()) for batch in await send_records(producer, *target, records)]
        for batch in sent:
            await batch.last_offset()
    except KafkaError as error:
        raise DependencyError(f"Kafka does not take the rows: {error!r}; start it again, it goes on where it was") from None


@asynccontextmanager
async def _producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(**producer_options(settings), compression_type="gzip")
    try:
        await producer.start()
    except (KafkaConnectionError, OSError):
        raise unreachable(settings) from None
    try:
        yield producer
    finally:
        await producer.stop()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
