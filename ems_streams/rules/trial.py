"""Trying rules on telemetry of a file, or of `device-telemetry`."""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from aiokafka import TopicPartition

from ems_streams.domain.alarm_rules import AlarmRule
from ems_streams.domain.alarm_trial import Trial, TrialResult
from ems_streams.domain.backfill_rows import BadRow, csv_rows, events_of, json_rows
from ems_streams.domain.telemetry_record import TelemetryRecord, decode_telemetry_record, record_of
from ems_streams.errors import MalformedError, UsageError
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from ems_streams.kafka.partitioner import partition_for
from ems_streams.kafka.range_reader import between, positioned_consumer, read_ranges
from ems_streams.settings import Settings
from ems_streams.windowing import window_policy

FORMATS = {"csv": csv_rows, "jsonl": json_rows}
_TELL_EVERY = 1_000

OnProgress = Callable[[int, int], None]


class Told(NamedTuple):
    """A record, and where it is from.

    Attributes:
        arrived_ms: When it arrived; None when that is not known.
        partition: Of the topic; 0 of a file.
        offset: On the topic; its line in a file.
    """

    record: TelemetryRecord
    arrived_ms: int | None
    partition: int
    offset: int


@dataclass(slots=True)
class Source:
    """Where telemetry is from, and what of it could not be used.

    Attributes:
        name: For people.
        bad: Rows that are no telemetry.
        devices: Only these; empty is all of them.
    """

    name: str
    devices: frozenset[str] = frozenset()
    bad: list[BadRow] = field(default_factory=list)


class FileSource(Source):
    """A file in CSV or JSON lines, as `backfill` and `simulate --csv` know them. No registry is asked: rows must say site and type themselves."""

    def __init__(self, path: Path, file_format: str | None, devices: Sequence[str]) -> None:
        super().__init__(str(path), frozenset(devices))
        self._path = path
        self._format = file_format or path.suffix.removeprefix(".")
        if self._format not in FORMATS:
            raise UsageError(f"--format {self._format!r}: expected csv or jsonl")

    def told(self, on_progress: OnProgress) -> Iterator[Told]:
        """Records in the order of the file; `on_progress` gets how many characters are read, and about how many there are."""
        self.bad.clear()
        try:
            size = self._path.stat().st_size
            with self._path.open(encoding="utf-8-sig", newline="") as lines:
                rows = FORMATS[self._format](_counted(lines, size, on_progress))
                for row in events_of(rows, lambda _serial: None, provision_unknown=True):
                    if isinstance(row, BadRow):
                        self.bad.append(row)
                    elif not self.devices or row.event.serial_number in self.devices:
                        yield Told(record_of(row.event), None, 0, row.line)
        except (OSError, UnicodeDecodeError, MalformedError) as error:
            raise UsageError(f"{self._path}: cannot be read as {self._format}: {error}") from None


class TopicSource(Source):
    """Records of `device-telemetry` whose Kafka timestamps are of a time."""

    def __init__(self, settings: Settings, since_ms: int, until_ms: int, devices: Sequence[str]) -> None:
        super().__init__(DEVICE_TELEMETRY, frozenset(devices))
        self._settings = settings
        self._since_ms = since_ms
        self._until_ms = until_ms

    async def told(self, on_progress: OnProgress) -> AsyncGenerator[Told, None]:
        """Records, those of a device in their order; `on_progress` gets how many are read, and of how many."""
        self.bad.clear()
        async with positioned_consumer(self._settings) as consumer:
            ranges = self._wanted(await between(consumer, DEVICE_TELEMETRY, self._since_ms, self._until_ms))
            total, done = sum(end - start for start, end in ranges.values()), 0
            async with aclosing(read_ranges(consumer, ranges)) as polled:
                async for tp, records in polled:
                    done += len(records)
                    on_progress(done, total)
                    for record in records:
                        try:
                            telemetry = decode_telemetry_record(record.value)
                        except MalformedError as error:
                            self.bad.append(BadRow(record.offset, f"partition {tp.partition}: {error}"))
                            continue
                        if not self.devices or telemetry.serial_number in self.devices:
                            yield Told(telemetry, record.timestamp, tp.partition, record.offset)

    def _wanted(self, ranges: dict[TopicPartition, tuple[int, int]]) -> dict[TopicPartition, tuple[int, int]]:
        if not self.devices:
            return ranges
        partitions = {partition_for(serial_number.encode(), len(ranges)) for serial_number in self.devices}
        return {tp: bounds for tp, bounds in ranges.items() if tp.partition in partitions}


def try_on_file(settings: Settings, rules: Sequence[AlarmRule], source: FileSource, on_progress: OnProgress) -> TrialResult:
    """What the rules would have raised on a file; raises `UsageError` when it cannot be read."""
    trial = Trial(rules, window_policy(settings), source.name)
    for told in source.told(on_progress):
        trial.take(*told)
    return trial.finish()


async def try_on_topic(
    settings: Settings, rules: Sequence[AlarmRule], source: TopicSource, until_ms: int, on_progress: OnProgress
) -> TrialResult:
    """What the rules would have raised on the topic until a time; raises `EmsError`."""
    trial = Trial(rules, window_policy(settings), source.name)
    async with aclosing(source.told(on_progress)) as every:
        async for told in every:
            trial.take(*told)
    return trial.finish(until_ms)


def _counted(lines: Iterator[str], size: int, on_progress: OnProgress) -> Iterator[str]:
    read = 0
    for number, line in enumerate(lines):
        read += len(line)
        if number % _TELL_EVERY == 0:
            on_progress(min(read, size), size)
        yield line
    on_progress(size, size)
