"""Telemetry of a file onto a topic: each row once, also when it is done twice, or goes on after a kill.

Which lines of a file, told by a hash of its content, are sent, say records of the topic `replays`, one written after each part of the file is safe. A part that
was sent and not written down is sent again: its rows have the same ids, and no device has more of them in a part than its state remembers.
"""

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from ems_streams.domain.backfill_rows import BadRow, Find, GoodRow, csv_rows, events_of, json_rows
from ems_streams.domain.events import TelemetryEvent
from ems_streams.domain.fold_outcome import RECENT_IDENTITIES
from ems_streams.domain.redrives import runs_of
from ems_streams.domain.registry import RegistryEntry
from ems_streams.errors import MalformedError, UsageError
from ems_streams.kafka.batching import KeyValue
from ems_streams.kafka.catalogue import DEVICE_REGISTRY, DEVICE_TELEMETRY, REPLAYS
from ems_streams.kafka.command_writer import command_writer
from ems_streams.kafka.device_registry import read_registry
from ems_streams.kafka.partitioner import partition_for
from ems_streams.kafka.topic_lifecycle import create_topics
from ems_streams.replay.registry import PARTITION, backfill_prefix, latest_records, replays
from ems_streams.replay.topics import backfill_topic, topics_of
from ems_streams.settings import Settings

ROWS_AT_ONCE = 5_000
RUNS_OF_A_RECORD = 20_000
"""Each bad row in a file ends a run; so many are some hundred kilobytes."""
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

    A row that was bad before and is good by now, since its device is registered, is sent by the next run of the same file. Raises `UsageError` for a file that
    cannot be read and for a replay that has frozen its offsets, `DependencyError` without Kafka.
    """
    registry = await read_registry(settings)
    # By what is registered now: a device that the file itself brings in must not make rows good that were told to be bad.
    find = dict(registry).get
    topic = DEVICE_TELEMETRY if into is None else backfill_topic(settings.application_id, into)
    found = Backfill(topic)
    for row in _rows(settings, path, file_format, find):
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
    prefix = f"{backfill_prefix(settings, topic)}{_hash(path)}/".encode()
    known = {key: value for key, value in (await latest_records(settings)).items() if value and key.startswith(prefix)}
    sent_before = _Lines(known.values())
    async with command_writer(settings, "the rows", "start it again, it goes on where it was", compression_type="gzip") as writer:
        for part, passed in _parts(_rows(settings, path, file_format, find), sent_before):
            events = [row.event for row in part]
            await writer.write(_records(settings, topic, events, registry, register=into is None))
            lines = [row.line for row in part]
            key, known[key] = _record(prefix, runs_of(lines))
            await writer.write({(REPLAYS, PARTITION): [(key, known[key], ())]})
            found.sent += len(part)
            on_progress(passed, found.good)
        await writer.write({(REPLAYS, PARTITION): _joined(prefix, known)})
    return found


def _record(prefix: bytes, runs: Sequence[tuple[int, int]]) -> tuple[bytes, bytes]:
    """Key and value of a record of runs of lines that are sent."""
    return prefix + str(runs[0][0]).encode(), orjson.dumps(runs)


def _joined(prefix: bytes, known: Mapping[bytes, bytes]) -> list[KeyValue]:
    """Records that say in as few as can be what these say, and then the end of those that are not needed any more: all of them are read by whoever asks for replays."""
    runs = _Lines(known.values()).runs
    # The last ones first: a record is about lines from that of its key on, so that what replaces it takes nothing away that is not there by then.
    joined = dict(_record(prefix, runs[at : at + RUNS_OF_A_RECORD]) for at in reversed(range(0, len(runs), RUNS_OF_A_RECORD)))
    if joined == known:
        return []
    return [*((key, value, ()) for key, value in joined.items()), *((key, None, ()) for key in known if key not in joined)]


class _Lines:
    """Lines of a file, by runs of them.

    Args:
        records: JSON arrays of runs, both ends included.

    Attributes:
        runs: In order; they do not touch.
    """

    def __init__(self, records: Iterable[bytes]) -> None:
        self.runs: list[tuple[int, int]] = []
        for first, last in sorted((first, last) for record in records for first, last in orjson.loads(record)):
            if self.runs and first <= self.runs[-1][1] + 1:
                self.runs[-1] = (self.runs[-1][0], max(last, self.runs[-1][1]))
            else:
                self.runs.append((first, last))

    def __contains__(self, line: object) -> bool:
        if not isinstance(line, int):
            return False
        at = bisect_right(self.runs, line, key=lambda run: run[0]) - 1
        return at >= 0 and line <= self.runs[at][1]


def _rows(settings: Settings, path: Path, file_format: str, find: Find) -> Iterator[GoodRow | BadRow]:
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            yield from events_of(_FORMATS[file_format](lines), find, provision_unknown=settings.unknown_devices == "provision")
    except (OSError, UnicodeDecodeError, MalformedError) as error:
        raise UsageError(f"{path}: cannot be read as {file_format}: {error}") from None


def _parts(rows: Iterable[GoodRow | BadRow], sent_before: Container[int]) -> Iterator[tuple[list[GoodRow], int]]:
    """Good rows that were not sent before, in parts in which no device has more rows than its state remembers; and how many good ones there are up to the end of it."""
    part: list[GoodRow] = []
    by_device: Counter[str] = Counter()
    passed = 0
    for row in rows:
        if isinstance(row, BadRow):
            continue
        if row.line in sent_before:
            passed += 1
            continue
        serial_number = row.event.serial_number
        if len(part) == ROWS_AT_ONCE or by_device[serial_number] == RECENT_IDENTITIES:
            yield part, passed
            part, by_device = [], Counter()
        passed += 1
        part.append(row)
        by_device[serial_number] += 1
    if part:
        yield part, passed


def _records(
    settings: Settings, topic: str, events: Iterable[TelemetryEvent], registry: dict[str, RegistryEntry], *, register: bool
) -> dict[tuple[str, int], list[KeyValue]]:
    """By topic and partition; with entries of the devices that nobody knew, which are in the registry then."""
    by_target: dict[tuple[str, int], list[KeyValue]] = {}

    def add(topic: str, key: bytes, value: bytes) -> None:
        by_target.setdefault((topic, partition_for(key, settings.partitions)), []).append((key, value, ()))

    for event in events:
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
    return by_target


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
