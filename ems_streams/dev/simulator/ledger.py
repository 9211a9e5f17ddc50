"""The ledger: what the broker has acknowledged, one JSON line per message, and what follows from it.

Three files: `FILE` (acknowledged telemetry: these messages must arrive), `FILE.unacknowledged` (published, but the run ended
before the broker said that it has them: these may have arrived) and `FILE.poison` (acknowledged poison: each must be in the
dead letters). The latter two exist only when there is something to say.
"""

from array import array
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import fsum
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import orjson

from ems_streams.dev.simulator.fleet import Reading
from ems_streams.dev.simulator.publications import Kind, Publication
from ems_streams.dev.simulator.wire import format_ms
from ems_streams.errors import EmsError

_BUFFER_BYTES = 1 << 20


class LedgerError(EmsError):
    """A ledger cannot be written, or says something that no ledger says."""


class LedgerWriter:
    """Writes the three files of a run; replaces those of an earlier one. Use as a context manager.

    Args:
        path: `FILE`; `None` writes nothing.
        statuses: Write acknowledged status reports too, as lines with `"kind":"status"`.
    """

    def __init__(self, path: Path | None, statuses: bool = False) -> None:
        self._path = path
        self._statuses = statuses
        self._files: dict[str, BinaryIO] = {}
        self.lines = 0

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                for suffix in (".unacknowledged", ".poison"):
                    self._beside(suffix).unlink(missing_ok=True)
                self._file("")
            except OSError as error:
                raise LedgerError(f"ledger {self._path} cannot be written: {error.strerror}") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def acknowledged(self, publication: Publication) -> None:
        """The broker has the message. The first of two copies writes the line."""
        reading = publication.reading
        if reading is not None:
            if not reading.acknowledged:
                reading.acknowledged = True
                self.lines += 1
                self._write("", reading_entry(reading))
        elif publication.kind is Kind.POISON:
            self._write(".poison", poison_entry(publication))
        elif self._statuses and publication.status is not None:
            self._write("", {"kind": "status", **publication.status})

    def unacknowledged(self, publication: Publication) -> None:
        """Nobody knows whether the broker has the message. Call only when no acknowledgement can come any more."""
        reading = publication.reading
        if reading is None:
            entry = poison_entry(publication) if publication.kind is Kind.POISON else publication.status
            self._write(".unacknowledged", {**(entry or {}), "kind": publication.kind.value})
        elif not reading.acknowledged:
            self._write(".unacknowledged", reading_entry(reading))

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        """Flush and close; the writer can be closed twice."""
        for file in self._files.values():
            file.close()

    def _write(self, suffix: str, entry: dict[str, Any]) -> None:
        if self._path is not None:
            self._file(suffix).write(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))

    def _file(self, suffix: str) -> BinaryIO:
        if suffix not in self._files:
            self._files[suffix] = self._beside(suffix).open("wb", buffering=_BUFFER_BYTES)
        return self._files[suffix]

    def _beside(self, suffix: str) -> Path:
        return Path(f"{self._path}{suffix}")


def reading_entry(reading: Reading) -> dict[str, Any]:
    """The ledger's line for a telemetry message."""
    return {
        "serialNumber": reading.device.serial_number,
        "siteId": reading.device.site_id,
        "timestamp": format_ms(reading.timestamp_ms),
        "messageId": reading.message_id,
        "metrics": reading.metrics,
    }


def poison_entry(publication: Publication) -> dict[str, Any]:
    """The line for a poison message; `payload` is base64 of the exact bytes."""
    return {"kind": publication.label, "topic": publication.topic, "payload": b64encode(publication.payload).decode()}


def read_ledger(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a ledger (or of its two companions); raises `LedgerError` naming file and line of one that is not JSON."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise LedgerError(f"{path}:{number}: not a ledger line: {error}") from None


@dataclass(frozen=True, slots=True)
class Totals:
    """What a metric of a device must come to when every message is counted exactly once.

    Attributes:
        count: Number of messages that have the metric.
        sum: Correctly rounded (`math.fsum`), whatever the order.
        min: Smallest value.
        max: Greatest value.
        last: Value of the greatest device timestamp; of equal ones, of the greatest message id (it counts up within a device).
    """

    count: int
    sum: float
    min: float
    max: float
    last: float


@dataclass(slots=True)
class _Tally:
    values: "array[float]" = field(default_factory=lambda: array("d"))
    last: float = 0.0
    last_key: tuple[str, str] = ("", "")


def totals(path: Path) -> dict[str, dict[str, Totals]]:
    """Totals per serial number and metric over all telemetry lines of a ledger."""
    tallies: dict[str, dict[str, _Tally]] = {}
    for entry in read_ledger(path):
        if "metrics" not in entry:
            continue
        key = (entry["timestamp"], entry["messageId"])
        metrics = tallies.setdefault(entry["serialNumber"], {})
        for name, value in entry["metrics"].items():
            tally = metrics.get(name)
            if tally is None:
                tally = metrics[name] = _Tally()
            tally.values.append(value)
            if key >= tally.last_key:
                tally.last, tally.last_key = value, key
    return {serial: {name: _totals(tally) for name, tally in metrics.items()} for serial, metrics in tallies.items()}


def _totals(tally: _Tally) -> Totals:
    values = tally.values
    return Totals(count=len(values), sum=fsum(values), min=min(values), max=max(values), last=tally.last)
