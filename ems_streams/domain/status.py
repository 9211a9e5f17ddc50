"""The status of a device: a state machine over what it reports of itself and over its telemetry.

What a report or telemetry makes of a status (a status that stays is no transition):

| status      | reports X | telemetry   |
|-------------|-----------|-------------|
| UNKNOWN     | X         | ONLINE      |
| ONLINE      | X         | ONLINE      |
| OFFLINE     | X         | ONLINE      |
| MAINTENANCE | X         | MAINTENANCE |
| ERROR       | X         | ERROR       |

Which inputs count at all:

- A report counts when its device time is after that of the last report that counted. Of two reports with the same time the graver one
  counts (`ERROR` over `OFFLINE` over `MAINTENANCE` over `ONLINE`), in whatever order they come; so one and the same report
  twice counts once. Older reports come late and are ignored.
- A report is compared with reports only: a last will that carries the time of the connect must still take a device offline
  that has sent telemetry since. A device that lives is back with its next telemetry.
- Telemetry ends `OFFLINE` when its time is after that of the report that said so.

`last_seen_ms` is the greatest device time of anything that came from the device.
"""

from dataclasses import dataclass
from typing import Final

from ems_streams.domain.events import DeviceStatus, ReportableStatus, StatusEvent, StatusReport
from ems_streams.domain.identifiers import event_id
from ems_streams.domain.telemetry_record import TelemetryRecord
from ems_streams.domain.timestamps import from_epoch_ms, to_epoch_ms

EVENT_KIND: Final = "status"

_ONLINE: Final = DeviceStatus.ONLINE

AFTER_TELEMETRY: Final[dict[DeviceStatus, ReportableStatus]] = {
    DeviceStatus.UNKNOWN: DeviceStatus.ONLINE,
    DeviceStatus.ONLINE: DeviceStatus.ONLINE,
    DeviceStatus.OFFLINE: DeviceStatus.ONLINE,
    DeviceStatus.MAINTENANCE: DeviceStatus.MAINTENANCE,
    DeviceStatus.ERROR: DeviceStatus.ERROR,
}
"""The table's column for telemetry; a report's column is the reported status itself."""

GRAVITY: Final[dict[DeviceStatus, int]] = {
    DeviceStatus.ONLINE: 0,
    DeviceStatus.MAINTENANCE: 1,
    DeviceStatus.OFFLINE: 2,
    DeviceStatus.ERROR: 3,
}

_TELEMETRY_REASONS: Final[dict[DeviceStatus, str]] = {
    DeviceStatus.UNKNOWN: "First telemetry received",
    DeviceStatus.OFFLINE: "Device communication restored: telemetry received",
}


@dataclass(slots=True)
class DeviceStatusState:
    """Status of one device; mutable, and only `on_report` and `on_telemetry` may change it.

    Attributes:
        serial_number: Key of the device.
        device_id: As of the last report or transition, like `site_id` and `device_type`.
        status: Never `UNKNOWN`: a device never heard of has no state.
        previous_status: `UNKNOWN` for the first status.
        status_since_ms: Device time of what caused the status.
        reason: Of the status, in words.
        sequence: Number of transitions; the first is 1.
        last_seen_ms: Greatest device time of any evidence.
        last_report_ms: Device time of the last report that counted; `None` before the first.
        last_report_status: What that report said.
        evidence_topic: With partition and offset, the record that caused the status.
    """

    serial_number: str
    device_id: int
    site_id: int
    device_type: str
    status: DeviceStatus
    previous_status: DeviceStatus
    status_since_ms: int
    reason: str
    sequence: int
    last_seen_ms: int
    last_report_ms: int | None = None
    last_report_status: DeviceStatus | None = None
    evidence_topic: str = ""
    evidence_partition: int = -1
    evidence_offset: int = -1


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of status.

    Attributes:
        state: The device's state after it: the one that was passed in, or a new one.
        event: To be published on `device-status`; a replay of the same record gives the same event.
    """

    state: DeviceStatusState
    event: StatusEvent


def on_report(state: DeviceStatusState | None, report: StatusReport, topic: str, partition: int, offset: int) -> Transition | None:
    """Take a report into the state, in place, or into the new state of the transition when there is none yet.

    Args:
        state: Of the report's device; `None` before it was ever heard of, and then there is always a transition.
        report: What the device says of itself.
        topic: Where the report was read, with `partition` and `offset`.
    """
    timestamp_ms = to_epoch_ms(report.timestamp)
    reason = report.reason or f"Device reported {report.status}"
    if state is None:
        state = _unknown(report, timestamp_ms)
    elif timestamp_ms > state.last_seen_ms:
        state.last_seen_ms = timestamp_ms
    if not _counts(state, report.status, timestamp_ms):
        return None
    state.last_report_ms = timestamp_ms
    state.last_report_status = report.status
    if report.status is state.status:
        _identify(state, report)
        return None
    return _change(state, report, report.status, timestamp_ms, reason, source=(topic, partition, offset))


def on_telemetry(state: DeviceStatusState | None, record: TelemetryRecord, topic: str, partition: int, offset: int) -> Transition | None:
    """Take the sign of life that telemetry is into the state, in place, or into the new state of the transition.

    Args:
        state: Of the record's device; `None` before it was ever heard of, and then there is always a transition.
        record: Telemetry.
        topic: Where the record was read, with `partition` and `offset`.
    """
    if state is not None:
        if record.timestamp_ms > state.last_seen_ms:
            state.last_seen_ms = record.timestamp_ms
        if state.status is _ONLINE:
            return None
    return _on_sign_of_life(state, record, (topic, partition, offset))


def _on_sign_of_life(state: DeviceStatusState | None, record: TelemetryRecord, source: tuple[str, int, int]) -> Transition | None:
    timestamp_ms = record.timestamp_ms
    if state is None:
        state = _unknown(record, timestamp_ms)
    elif state.status is DeviceStatus.OFFLINE and timestamp_ms <= _offline_as_of_ms(state):
        return None
    new_status = AFTER_TELEMETRY[state.status]
    if new_status is state.status:
        return None
    return _change(state, record, new_status, timestamp_ms, _TELEMETRY_REASONS[state.status], source=source)


def _unknown(evidence: StatusReport | TelemetryRecord, timestamp_ms: int) -> DeviceStatusState:
    unknown = DeviceStatus.UNKNOWN
    return DeviceStatusState(
        evidence.serial_number,
        evidence.device_id,
        evidence.site_id,
        evidence.device_type,
        unknown,
        unknown,
        timestamp_ms,
        "",
        0,
        timestamp_ms,
    )


def _counts(state: DeviceStatusState, status: DeviceStatus, timestamp_ms: int) -> bool:
    if state.last_report_ms is None or state.last_report_status is None or timestamp_ms > state.last_report_ms:
        return True
    return timestamp_ms == state.last_report_ms and GRAVITY[status] > GRAVITY[state.last_report_status]


def _offline_as_of_ms(state: DeviceStatusState) -> int:
    # The device may have repeated that it is offline; telemetry from before the repetition is no news.
    if state.last_report_ms is None or state.last_report_status is not DeviceStatus.OFFLINE:
        return state.status_since_ms
    return max(state.status_since_ms, state.last_report_ms)


def _identify(state: DeviceStatusState, evidence: StatusReport | TelemetryRecord) -> None:
    state.device_id = evidence.device_id
    state.site_id = evidence.site_id
    state.device_type = evidence.device_type


def _change(
    state: DeviceStatusState,
    evidence: StatusReport | TelemetryRecord,
    new_status: ReportableStatus,
    timestamp_ms: int,
    reason: str,
    *,
    source: tuple[str, int, int],
) -> Transition:
    _identify(state, evidence)
    state.previous_status, state.status = state.status, new_status
    state.status_since_ms = timestamp_ms
    state.reason = reason
    state.sequence += 1
    state.evidence_topic, state.evidence_partition, state.evidence_offset = source
    event = StatusEvent(
        event_id=event_id(state.serial_number, *source, EVENT_KIND),
        sequence=state.sequence,
        device_id=state.device_id,
        serial_number=state.serial_number,
        site_id=state.site_id,
        previous_status=state.previous_status,
        new_status=new_status,
        timestamp=from_epoch_ms(timestamp_ms),
        reason=reason,
    )
    return Transition(state, event)
