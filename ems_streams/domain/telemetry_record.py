"""The hot decoder of `device-telemetry`: the checks of `events.TelemetryEvent` at a small part of its cost.

The usual record is read by a scanner (`_telemetry`), where there is a C compiler. What that does not know, or everything where there is
none, is decoded by msgspec, with the patterns of names and serials remembered. Whatever that refuses goes to the pydantic model, which
has the last word: it accepts rarer spellings (other forms of times, unknown fields) and words the error. All three accept and
read the same, but for two rarities of msgspec: of a key that occurs twice in `telemetryData` only the last value is looked at, and
times finer than a microsecond are rounded, where the model cuts them off.
"""

import contextlib
import re
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from ems_streams.domain.events import MAX_METRICS, TIME_LIMIT, TelemetryEvent, decode
from ems_streams.domain.timestamps import EPOCH, to_epoch_ms

_SERIAL_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_METRIC_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_DAYS_LIMIT = (TIME_LIMIT - EPOCH).days
_Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class TelemetryRecord(msgspec.Struct, frozen=True, gc=False):
    """A valid record of `device-telemetry`.

    Attributes:
        serial_number: Of the device.
        key: The serial number as the key of the device's records.
        device_id: As in the registry.
        site_id: As in the registry.
        device_type: As in the registry.
        metrics: 1 to 64 finite values by metric name; nobody may change it.
        timestamp_ms: Event time, epoch milliseconds.
        message_id: The sender's own id of the message, if it gave one.
    """

    serial_number: str
    device_id: int
    site_id: int
    device_type: str
    metrics: dict[str, float]
    timestamp_ms: int
    message_id: str | None

    @property
    def key(self) -> bytes:
        return self.serial_number.encode()


def scan(value: bytes | None) -> TelemetryRecord | None:
    """The record, if it is of the usual form; None says nothing about it. Knows no form at all unless it is compiled."""
    return None


if not TYPE_CHECKING:  # the compiled ones have the same attributes and signatures
    with contextlib.suppress(ImportError):
        from ems_streams.domain._telemetry import TelemetryRecord, scan


class _Wire(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    device_id: _Id
    serial_number: str
    site_id: _Id
    device_type: str
    telemetry_data: dict[str, float]
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    event_type: Literal["DEVICE_TELEMETRY"] = "DEVICE_TELEMETRY"
    message_id: str | None = None


_decode_wire = msgspec.json.Decoder(_Wire).decode


@lru_cache(maxsize=65_536)
def _is_serial_number(text: str) -> bool:
    return _SERIAL_NUMBER.fullmatch(text) is not None


_known_metric_names: set[str] = set()
_KNOWN_NAMES_MAX = 4_096


def _are_metric_names(metrics: dict[str, float]) -> bool:
    if not 0 < len(metrics) <= MAX_METRICS:
        return False
    if _known_metric_names.issuperset(metrics):
        return True
    if not all(map(_METRIC_NAME.fullmatch, metrics)):
        return False
    if len(_known_metric_names) >= _KNOWN_NAMES_MAX:
        _known_metric_names.clear()
    _known_metric_names.update(metrics)
    return True


def decode_telemetry_record(value: bytes | None) -> TelemetryRecord:
    """Validate a record's bytes.

    Raises:
        MalformedError: `empty`, `invalid_json` or `invalid_field`, with field, value and expectation.
    """
    return scan(value) or decode_uncompiled(value)


def decode_uncompiled(value: bytes | None) -> TelemetryRecord:
    """As `decode_telemetry_record`, without the scanner."""
    try:
        wire = _decode_wire(value)  # type: ignore[arg-type]  # no value at all ends in the careful path like any defect
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return _decode_carefully(value)
    metrics = wire.telemetry_data
    age = wire.timestamp - EPOCH
    days = age.days
    if not (_are_metric_names(metrics) and _is_serial_number(wire.serial_number) and 0 <= days < _DAYS_LIMIT):
        return _decode_carefully(value)
    return TelemetryRecord(
        wire.serial_number,
        wire.device_id,
        wire.site_id,
        wire.device_type,
        metrics,
        (days * 86_400 + age.seconds) * 1_000 + age.microseconds // 1_000,
        wire.message_id,
    )


def record_of(event: TelemetryEvent) -> TelemetryRecord:
    """An event as the record that folds take."""
    return TelemetryRecord(
        event.serial_number,
        event.device_id,
        event.site_id,
        event.device_type,
        event.telemetry_data,
        to_epoch_ms(event.timestamp),
        event.message_id,
    )


def _decode_carefully(value: bytes | None) -> TelemetryRecord:
    return record_of(decode(TelemetryEvent, value))
