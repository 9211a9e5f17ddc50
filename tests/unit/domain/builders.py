"""Records and states that the tests of the folds start from."""

from collections.abc import Iterable
from typing import Any

from ems_streams.domain.aggregates import DeviceAggregates, fold
from ems_streams.domain.events import DeviceStatus, StatusReport
from ems_streams.domain.identifiers import message_identity
from ems_streams.domain.telemetry_record import TelemetryRecord
from ems_streams.domain.timestamps import MINUTE_MS, from_epoch_ms

SERIAL = "INV-001"
NOON_MS = 1_759_579_200_000
"""2025-10-04T12:00:00Z, the start of a minute."""

Sample = tuple[int, dict[str, float]]


def record(timestamp_ms: int, metrics: dict[str, float], **changes: Any) -> TelemetryRecord:
    fields: dict[str, Any] = {
        "serial_number": SERIAL,
        "device_id": 123,
        "site_id": 1,
        "device_type": "SOLAR_INVERTER",
        "metrics": metrics,
        "timestamp_ms": timestamp_ms,
        "message_id": None,
    }
    return TelemetryRecord(**(fields | changes))


def identity(number: int) -> bytes:
    """Of the message that a device sent as its `number`th."""
    return message_identity(str(number))


def folded(samples: Iterable[Sample], arrived_ms: int | None = None) -> DeviceAggregates:
    """A state with all samples in it, each one a message of its own."""
    state = DeviceAggregates(SERIAL)
    for offset, (timestamp_ms, metrics) in enumerate(samples):
        assert fold(state, record(timestamp_ms, metrics), identity(offset), offset, arrived_ms)
    return state


def minutes(count: int, first: int = 0) -> list[Sample]:
    """One sample in each of so many minutes, its value being the minute's number."""
    return [(NOON_MS + number * MINUTE_MS, {"powerKw": float(number)}) for number in range(first, first + count)]


def report(status: DeviceStatus, timestamp_ms: int, reason: str | None = None) -> StatusReport:
    return StatusReport(
        device_id=123,
        serial_number=SERIAL,
        site_id=1,
        device_type="SOLAR_INVERTER",
        status=status,  # type: ignore[arg-type]  # tests go through the list of all statuses
        reason=reason,
        timestamp=from_epoch_ms(timestamp_ms),
    )
