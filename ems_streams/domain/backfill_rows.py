"""Rows of a file of telemetry as events: what a row says of its device wins over the registry, and every row has an id made of its content.

A row is an object by column name (CSV) or a JSON object (JSON lines): `serialNumber`, `timestamp` (ISO-8601, UTC when it names no zone), optional
`siteId`, `deviceId`, `deviceType`, `messageId`; metrics are in `telemetryData`, or every other field is one. Cells that are empty are absent.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from xxhash import xxh3_128_hexdigest

from ems_streams.domain import file_rows
from ems_streams.domain.events import TelemetryEvent, malformed
from ems_streams.domain.registry import UNKNOWN_TYPE, RegistryEntry, provisional_device_id
from ems_streams.errors import MalformedError

_OWN = ("serialNumber", "timestamp", "siteId", "deviceId", "deviceType", "messageId", "telemetryData", "eventType")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is no telemetry.

    Attributes:
        line: Its number in the file, from 1.
        reason: What is wrong: field, value, expectation.
    """

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class GoodRow:
    """A row as an event.

    Attributes:
        line: Its number in the file, from 1.
        event: As it goes to Kafka.
        registered: Whether the registry knows the device.
    """

    line: int
    event: TelemetryEvent
    registered: bool


Find = Callable[[str], RegistryEntry | None]
Numbered = Iterable[tuple[int, Mapping[str, Any] | MalformedError]]


def csv_rows(lines: Iterable[str]) -> Iterator[tuple[int, Mapping[str, Any] | MalformedError]]:
    """Rows of a CSV file whose first line names the columns; raises `MalformedError` when there are no such names."""
    for row in file_rows.csv_rows(lines, _check_names):
        cells = row.fields
        if isinstance(cells, MalformedError):
            yield row.line, cells
        else:
            yield row.line, {name: _cell(name, text) for name, cell in cells.items() if (text := cell.strip())}


def json_rows(lines: Iterable[str]) -> Iterator[tuple[int, Mapping[str, Any] | MalformedError]]:
    """Rows of a file with a JSON object in each line."""
    return ((row.line, row.fields) for row in file_rows.json_line_rows(lines))


def events_of(rows: Numbered, find: Find, *, provision_unknown: bool) -> Iterator[GoodRow | BadRow]:
    """Each row as an event, or what is wrong with it."""
    for line, row in rows:
        try:
            if isinstance(row, MalformedError):
                raise row
            yield _event(line, row, find, provision_unknown=provision_unknown)
        except MalformedError as error:
            yield BadRow(line, str(error))


def _event(line: int, row: Mapping[str, Any], find: Find, *, provision_unknown: bool) -> GoodRow:
    serial_number = str(row.get("serialNumber", ""))
    entry = find(serial_number)
    device = _device(row, serial_number, entry, provision_unknown=provision_unknown)
    fields = {
        "deviceId": device.device_id,
        "serialNumber": serial_number,
        "siteId": device.site_id,
        "deviceType": device.device_type,
        "telemetryData": row.get("telemetryData", {name: value for name, value in row.items() if name not in _OWN}),
        "timestamp": _time(row.get("timestamp")),
        "messageId": row.get("messageId"),
    }
    try:
        event = TelemetryEvent.model_validate(fields)
    except ValidationError as error:
        raise malformed(error) from None
    if event.message_id is None:
        event = event.model_copy(update={"message_id": f"backfill-{xxh3_128_hexdigest(event.encode())}"})
    return GoodRow(line, event, entry is not None)


def _device(row: Mapping[str, Any], serial_number: str, entry: RegistryEntry | None, *, provision_unknown: bool) -> RegistryEntry:
    site_id, device_id, device_type = row.get("siteId"), row.get("deviceId"), row.get("deviceType")
    if entry is None:
        if not provision_unknown:
            raise MalformedError("unknown_device", f"serialNumber={serial_number!r}: not in the registry")
        if site_id is None:
            raise MalformedError("missing_field", f"siteId: expected, since the registry does not know {serial_number!r}")
        try:
            return RegistryEntry.model_validate(
                {
                    "serialNumber": serial_number,
                    "siteId": site_id,
                    "deviceId": provisional_device_id(serial_number) if device_id is None else device_id,
                    "deviceType": device_type or UNKNOWN_TYPE,
                    "provisioned": True,
                }
            )
        except ValidationError as error:
            raise malformed(error) from None
    if site_id not in (None, entry.site_id) and not entry.provisioned:
        raise MalformedError("site_mismatch", f"siteId={site_id}: the registry has the device at {entry.site_id}")
    given = {"site_id": site_id, "device_id": device_id, "device_type": device_type}
    return entry.model_copy(update={name: value for name, value in given.items() if value is not None})


def _time(text: object) -> datetime | object:
    """An aware time; whatever is none is left to the model, which words the error."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return text
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _check_names(names: Sequence[str]) -> None:
    if not {"serialNumber", "timestamp"} <= set(names):
        raise MalformedError("invalid_header", f"{','.join(names)}: must name serialNumber and timestamp")


def _cell(name: str, text: str) -> object:
    """Numbers as such; what is none is left to the model, which words the error."""
    if name in {"serialNumber", "timestamp", "deviceType", "messageId"}:
        return text
    try:
        return int(text) if name in {"siteId", "deviceId"} else float(text)
    except ValueError:
        return text
