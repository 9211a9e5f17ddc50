"""Records and states that the tests of the folds start from."""

from collections.abc import Iterable
from typing import Any

from ems_streams.domain import quarter
from ems_streams.domain.aggregates import DeviceAggregates, fold
from ems_streams.domain.aggregates_codec import decode, encode
from ems_streams.domain.device_windows import WindowResult
from ems_streams.domain.events import DeviceStatus, StatusReport
from ems_streams.domain.fold_outcome import Outcome
from ems_streams.domain.identifiers import message_identity, telemetry_identity
from ems_streams.domain.quarter import Quarter
from ems_streams.domain.summary import Summary
from ems_streams.domain.telemetry_record import TelemetryRecord
from ems_streams.domain.timestamps import MINUTE_MS, from_epoch_ms
from ems_streams.domain.window_closing import settle
from ems_streams.domain.window_ticks import tick
from ems_streams.domain.windows import Window, WindowPolicy

SERIAL = "INV-001"
NOON_MS = 1_759_579_200_000
"""2025-10-04T12:00:00Z, the start of a minute."""

Sample = tuple[int, dict[str, float]]
POLICY = WindowPolicy()


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


class MemoryQuarters:
    """Quarters that are kept as they are stored, so that after `forget` what was not put is not there."""

    def __init__(self) -> None:
        self.stored: dict[int, bytes] = {}
        self._read: dict[int, Quarter] = {}
        self._put: set[int] = set()

    def get(self, start_ms: int) -> Quarter | None:
        if start_ms not in self._read and start_ms in self.stored:
            self._read[start_ms] = quarter.decode(self.stored[start_ms])
        return self._read.get(start_ms)

    def put(self, kept: Quarter) -> None:
        self._read[kept.start_ms] = kept
        self._put.add(kept.start_ms)

    def delete(self, start_ms: int) -> None:
        self._read.pop(start_ms, None)
        self._put.discard(start_ms)
        self.stored.pop(start_ms, None)

    def forget(self) -> None:
        """Only what was put is known from now on, as it is stored."""
        self.stored |= {start_ms: quarter.encode(self._read[start_ms]) for start_ms in self._put}
        self._read.clear()
        self._put.clear()


class Device:
    """A device's state and quarters, fed by the batch, with what was published of its windows."""

    def __init__(self, policy: WindowPolicy = POLICY) -> None:
        self.policy = policy
        self.state = DeviceAggregates(SERIAL)
        self.quarters = MemoryQuarters()
        self.published: list[WindowResult] = []
        self.outcomes: list[Outcome] = []

    def send(self, *records: TelemetryRecord, arrived_ms: int | None = None) -> list[WindowResult]:
        """A batch, which arrives with its newest record; the identity of a record is made of all that it says."""
        if arrived_ms is None:
            arrived_ms = max(each.timestamp_ms for each in records)
        for each in records:
            identity_ = telemetry_identity(each.message_id, repr((each.timestamp_ms, sorted(each.metrics.items()))).encode())
            self.outcomes.append(fold(self.state, each, identity_, self.state.last_offset + 1, arrived_ms, self.policy))
        self.state = decode(encode(self.state)) if not self.state.late else self.state
        return self.settle()

    def settle(self) -> list[WindowResult]:
        results = settle(self.state, self.quarters, self.policy)
        self.quarters.forget()
        self.state = decode(encode(self.state))
        self.published += results
        return results

    def quiet(self, quiet_ms: int) -> list[WindowResult]:
        """Let so much time pass since the last message."""
        return self.settle() if tick(self.state, self.state.arrived_ms + quiet_ms, self.policy) else []

    def last(self) -> dict[tuple[Window, int], Summary]:
        """What the greatest revision of every window says."""
        return {(result.window, result.span.start_ms): result.summary for result in self.published}


def folded(samples: Iterable[Sample], arrived_ms: int = NOON_MS) -> DeviceAggregates:
    """A state with all samples in it, each one a message of its own."""
    device = Device()
    device.send(
        *(record(timestamp_ms, metrics, message_id=str(index)) for index, (timestamp_ms, metrics) in enumerate(samples)),
        arrived_ms=arrived_ms,
    )
    return device.state


def minutes(count: int, first: int = 0) -> list[Sample]:
    """One sample in each of so many minutes, its value being the minute's number."""
    return [(NOON_MS + number * MINUTE_MS, {"powerKw": float(number)}) for number in range(first, first + count)]


def report(status: DeviceStatus, timestamp_ms: int, reason: str | None = None, error_code: str | None = None) -> StatusReport:
    return StatusReport(
        device_id=123,
        serial_number=SERIAL,
        site_id=1,
        device_type="SOLAR_INVERTER",
        status=status,  # type: ignore[arg-type]  # tests go through the list of all statuses
        reason=reason,
        error_code=error_code,
        timestamp=from_epoch_ms(timestamp_ms),
    )
