"""A recording in CSV as readings: columns timestamp, serialNumber, siteId, deviceType, then one column per metric."""

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ems_streams.dev.simulator.fleet import Identity, Reading, message_id
from ems_streams.errors import UsageError

COLUMNS = ("timestamp", "serialNumber", "siteId", "deviceType")
_MAX_METRICS = 64
_MAX_SHOWN = 20
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")


class RecordingError(UsageError):
    """A recording cannot be replayed; the text names file, lines and what was expected."""


@dataclass(frozen=True, slots=True)
class Row:
    """One valid line of a recording; cells that are empty are metrics that were not measured."""

    timestamp_ms: int
    serial_number: str
    site_id: int
    device_type: str
    metrics: dict[str, float]


@dataclass(slots=True)
class Recording:
    """A checked recording.

    Attributes:
        path: The file.
        rows: Number of rows that can be replayed.
        problems: One line of text per row that cannot, with its line number.
    """

    path: Path
    rows: int = 0
    problems: list[str] = field(default_factory=list)


def check_recording(path: Path, skip_bad_rows: bool = False) -> Recording:
    """Read the whole file once before anything is published.

    Raises `RecordingError` for a bad header or an empty recording, and for bad rows unless they are to be skipped.
    """
    recording = Recording(path)
    for row in _rows(path):
        if isinstance(row, Row):
            recording.rows += 1
        else:
            recording.problems.append(row)
    if recording.problems and not skip_bad_rows:
        shown = "\n".join(recording.problems[:_MAX_SHOWN])
        more = len(recording.problems) - _MAX_SHOWN
        raise RecordingError(shown + (f"\n... and {more} more" if more > 0 else ""))
    if not recording.rows:
        raise RecordingError(f"{path}: no rows to replay")
    return recording


def recorded_readings(path: Path, seed: int, speed: float, start_ms: int | None = None) -> Iterator[Reading]:
    """The good rows as readings, in the order of the file.

    Args:
        path: The file.
        seed: First part of the message ids.
        speed: How many times faster than recorded; 0 without waiting.
        start_ms: Device time of the first row; all others move with it. `None` keeps the recorded times.
    """
    devices: dict[tuple[str, int, str], Identity] = {}
    sequences: dict[str, int] = {}
    first_ms: int | None = None
    due_s = 0.0
    for row in _rows(path):
        if not isinstance(row, Row):
            continue
        first_ms = row.timestamp_ms if first_ms is None else first_ms
        due_s = max(due_s, (row.timestamp_ms - first_ms) / 1000.0 / speed) if speed else 0.0
        key = (row.serial_number, row.site_id, row.device_type)
        device = devices.setdefault(key, Identity(len(devices), *key))
        sequence = sequences[row.serial_number] = sequences.get(row.serial_number, -1) + 1
        moved_ms = 0 if start_ms is None else start_ms - first_ms
        yield Reading(
            due_s,
            device,
            sequence,
            row.timestamp_ms + moved_ms,
            message_id(seed, first_ms + moved_ms, row.serial_number, sequence),
            row.metrics,
        )


def parse_time_ms(text: str) -> int:
    """Milliseconds since the epoch of an ISO-8601 time; without a zone it is UTC. Raises `ValueError`."""
    moment = datetime.fromisoformat(text.strip())
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000.0 + 0.5)


def _rows(path: Path) -> Iterator[Row | str]:
    """Every row, or the text of what is wrong with it."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            names = _header(path, next(reader, []))
            for cells in reader:
                if not any(cells):
                    continue
                try:
                    yield _row(cells, names)
                except ValueError as problem:
                    yield f"{path}:{reader.line_num}: {problem}"
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordingError(f"{path}: cannot be read: {error}") from None


def _header(path: Path, header: list[str]) -> list[str]:
    names = [name.strip() for name in header]
    if tuple(names[: len(COLUMNS)]) != COLUMNS:
        raise RecordingError(f"{path}:1: the header must begin with {','.join(COLUMNS)}; it is {','.join(names) or 'empty'}")
    metrics = names[len(COLUMNS) :]
    bad = [name for name in metrics if not _NAME.fullmatch(name)]
    if bad:
        raise RecordingError(f"{path}:1: {bad[0]!r} is not a metric name; expected a letter, then up to 63 letters, digits or _")
    if len(set(metrics)) < len(metrics):
        twice = next(name for name in metrics if metrics.count(name) > 1)
        raise RecordingError(f"{path}:1: column {twice!r} occurs more than once")
    if not 1 <= len(metrics) <= _MAX_METRICS:
        raise RecordingError(f"{path}:1: {len(metrics)} metric columns; expected 1 to {_MAX_METRICS}")
    return metrics


def _row(cells: list[str], names: list[str]) -> Row:
    expected = len(COLUMNS) + len(names)
    if len(cells) != expected:
        raise ValueError(f"{len(cells)} cells; expected {expected}")
    timestamp, serial_number, site_id, device_type = (cell.strip() for cell in cells[: len(COLUMNS)])
    try:
        timestamp_ms = parse_time_ms(timestamp)
    except ValueError:
        raise ValueError(f"timestamp={timestamp!r}: expected an ISO-8601 time") from None
    if not _SERIAL.fullmatch(serial_number):
        raise ValueError(f"serialNumber={serial_number!r}: expected a letter or digit, then up to 63 of letters, digits and _.:-")
    if not (site_id.isascii() and site_id.isdigit()) or int(site_id) >= 2**63:
        raise ValueError(f"siteId={site_id!r}: expected a whole number")
    metrics = {name: _value(name, cell) for name, cell in zip(names, cells[len(COLUMNS) :], strict=True) if cell.strip()}
    if not metrics:
        raise ValueError("no metric has a value")
    return Row(timestamp_ms, serial_number, int(site_id), device_type, metrics)


def _value(name: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name}={cell.strip()!r}: expected a finite number")
    return value
