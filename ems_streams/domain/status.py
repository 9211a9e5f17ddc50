"""The status of a device: a state machine over what it reports, over its telemetry, and over its silence.

What an input makes of a status is in `status_table`. Which inputs count at all:

- A report counts when its device time is after that of the last report that counted. Of two reports with the same time the graver one
  counts (`ERROR` over `OFFLINE` over `MAINTENANCE` over `ONLINE`), in whatever order they come; so one and the same report
  twice counts once. Older reports come late and are ignored.
- A report is compared with reports only: a last will that carries the time of the connect must still take a device offline
  that has sent telemetry since. A device that lives is back with its next telemetry.
- Telemetry ends an `OFFLINE` that was reported when its time is after that of the report that said so.
- Telemetry ends an `OFFLINE` by silence unless it looks like a message that the broker delivers once more: one that is not newer than what
  the device said before, by up to an hour. A clock that was set back further, or that had run ahead of ours, is no such thing.

`last_seen_ms` is the greatest device time of anything that came from the device. `heard_ms` is when something of it last arrived, by the clock
of the ingress: silence is counted by that, since a device's own clock may be wrong.
"""

from dataclasses import dataclass
from typing import Final

from ems_streams.domain.events import DeviceStatus, ReportableStatus, StatusEvent, StatusEvidence, StatusReport
from ems_streams.domain.identifiers import event_id
from ems_streams.domain.registry import RegistryEntry
from ems_streams.domain.status_table import GRAVITY, INPUT_OF_REPORT, StatusInput, next_status
from ems_streams.domain.telemetry_record import TelemetryRecord
from ems_streams.domain.timestamps import format_epoch_ms, from_epoch_ms, to_epoch_ms

EVENT_KIND: Final = "status"
SILENCE_KIND: Final = "silence"

REDELIVERY_MS: Final = 3_600_000
"""By so much a message that comes once more may be older than the newest of its device."""

Origin = tuple[str, int]
"""Topic and partition of a record."""

_ONLINE: Final = DeviceStatus.ONLINE

_TELEMETRY_REASONS: Final[dict[DeviceStatus, str]] = {
    DeviceStatus.UNKNOWN: "First telemetry received",
    DeviceStatus.OFFLINE: "Device communication restored: telemetry received",
}


@dataclass(slots=True)
class DeviceStatusState:
    """Status of one device; mutable, and only the functions of this module may change it.

    Attributes:
        serial_number: Key of the device.
        device_id: As of the last report, transition, telemetry or entry of the registry that said otherwise, like `site_id` and `device_type`.
        status: Never `UNKNOWN`: a device never heard of has no state.
        previous_status: `UNKNOWN` for the first status.
        status_since_ms: Device time of what caused the status; of silence, when the timeout was over.
        reason: Of the status, in words.
        sequence: Number of transitions; the first is 1.
        last_seen_ms: Greatest device time of any evidence.
        last_report_ms: Device time of the last report that counted; `None` before the first.
        last_report_status: What that report said.
        evidence_topic: With partition and offset, the record that caused the status.
        cause: What caused the status.
        error_code: Of the last report of an error, while the status is `ERROR`.
        heard_ms: When something of the device last arrived, by the clock of the ingress.
        heard_topic: With the offset, the last record of the device; empty in a state of a release that did not know it.
        silence_timeout_ms: As registered for this device, 0 for never; `None` leaves it to its type.
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
    cause: StatusInput = StatusInput.TELEMETRY
    error_code: str | None = None
    heard_ms: int = 0
    heard_topic: str = ""
    heard_offset: int = -1
    silence_timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of status.

    Attributes:
        state: The device's state after it: the one that was passed in, or a new one.
        event: To be published on `device-status`; a replay of the same record gives the same event.
    """

    state: DeviceStatusState
    event: StatusEvent


def on_report(state: DeviceStatusState | None, report: StatusReport, origin: Origin, offset: int, arrived_ms: int) -> Transition | None:
    """Take a report into the state, in place, or into the new state of the transition when there is none yet.

    Args:
        state: Of the report's device; `None` before it was ever heard of, and then there is always a transition.
        report: What the device says of itself.
        origin: Topic and partition in which the report was read, at `offset`.
        arrived_ms: When it arrived, by the clock of the ingress.
    """
    timestamp_ms = to_epoch_ms(report.timestamp)
    if state is None:
        state = _unknown(report, timestamp_ms)
    elif timestamp_ms > state.last_seen_ms:
        state.last_seen_ms = timestamp_ms
    _hear(state, origin[0], offset, arrived_ms)
    if not _counts(state, report.status, timestamp_ms):
        return None
    state.last_report_ms = timestamp_ms
    state.last_report_status = report.status
    happened = INPUT_OF_REPORT[report.status]
    new_status = next_status(state.status, happened)
    if new_status is None:
        _identify(state, report)
        if report.status is DeviceStatus.ERROR and report.error_code is not None:
            # Another code is no other status; the device shows the present one.
            state.error_code, state.reason = report.error_code, _reason(report)
        return None
    _identify(state, report)
    state.error_code = report.error_code if new_status is DeviceStatus.ERROR else None
    return _change(state, happened, new_status, timestamp_ms, reason=_reason(report), source=(*origin, offset))


def on_telemetry(
    state: DeviceStatusState | None, record: TelemetryRecord, origin: Origin, offset: int, arrived_ms: int
) -> Transition | None:
    """Take the sign of life that telemetry is into the state, in place, or into the new state of the transition.

    Args:
        state: Of the record's device; `None` before it was ever heard of, and then there is always a transition.
        record: Telemetry.
        origin: Topic and partition in which the record was read, at `offset`.
        arrived_ms: When it arrived, by the clock of the ingress.
    """
    if state is not None and state.status is _ONLINE:
        # On the way of every message, so that nothing is called here.
        if record.timestamp_ms > state.last_seen_ms:
            state.last_seen_ms = record.timestamp_ms
        if arrived_ms > state.heard_ms or not state.heard_topic:
            state.heard_ms = arrived_ms
        state.heard_topic = origin[0]
        state.heard_offset = offset
        return None
    return _on_sign_of_life(state, record, (*origin, offset), arrived_ms)


def on_new_identity(state: DeviceStatusState, record: TelemetryRecord) -> bool:
    """Take over where and what a device is by telemetry that says otherwise; false for telemetry that is older than what is known.

    A device that nobody registered is of no known type until its first telemetry, which its first report often comes before.
    """
    if record.timestamp_ms < state.last_seen_ms:
        return False
    _identify(state, record)
    return True


def on_registration(state: DeviceStatusState, entry: RegistryEntry) -> bool:
    """Take over where and what a device is from its entry in the registry; false when that is known."""
    said = (entry.device_id, entry.site_id, entry.device_type)
    if said == (state.device_id, state.site_id, state.device_type):
        return False
    state.device_id, state.site_id, state.device_type = said
    return True


def on_silence(state: DeviceStatusState, silent_since_ms: int, timeout_ms: int, partition: int) -> Transition | None:
    """Nothing was heard of a device for its timeout although somebody listened.

    Args:
        state: Of the device.
        silent_since_ms: From when on that is known.
        timeout_ms: How long silence has to last.
        partition: Of the device, where its last record was read.
    """
    new_status = next_status(state.status, StatusInput.SILENCE)
    if new_status is None:
        return None
    topic, offset = state.heard_topic, state.heard_offset
    if not topic:
        topic, offset = state.evidence_topic, state.evidence_offset
    heard = format_epoch_ms(state.heard_ms) if state.heard_topic else f"about {format_epoch_ms(state.last_seen_ms)}"
    reason = f"Silent: nothing received since {heard}, for longer than {timeout_ms / 1000:g} s"
    state.error_code = None
    source = (topic, partition, offset)
    return _change(state, StatusInput.SILENCE, new_status, silent_since_ms + timeout_ms, reason=reason, source=source, kind=SILENCE_KIND)


def _on_sign_of_life(
    state: DeviceStatusState | None, record: TelemetryRecord, source: tuple[str, int, int], arrived_ms: int
) -> Transition | None:
    timestamp_ms = record.timestamp_ms
    restored = True
    if state is None:
        state = _unknown(record, timestamp_ms)
    else:
        restored = state.status is not DeviceStatus.OFFLINE or _is_news(state, timestamp_ms, arrived_ms)
        if timestamp_ms > state.last_seen_ms:
            state.last_seen_ms = timestamp_ms
    _hear(state, source[0], source[2], arrived_ms)
    new_status = next_status(state.status, StatusInput.TELEMETRY)
    if not restored or new_status is None:
        return None
    _identify(state, record)
    return _change(state, StatusInput.TELEMETRY, new_status, timestamp_ms, reason=_TELEMETRY_REASONS[state.status], source=source)


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


def _hear(state: DeviceStatusState, topic: str, offset: int, arrived_ms: int) -> None:
    # Of two topics that are read side by side, the one that is behind must not take back what the other has told.
    if arrived_ms > state.heard_ms or not state.heard_topic:
        state.heard_ms = arrived_ms
    state.heard_topic = topic
    state.heard_offset = offset


def _counts(state: DeviceStatusState, status: DeviceStatus, timestamp_ms: int) -> bool:
    if state.last_report_ms is None or state.last_report_status is None or timestamp_ms > state.last_report_ms:
        return True
    return timestamp_ms == state.last_report_ms and GRAVITY[status] > GRAVITY[state.last_report_status]


def _is_news(state: DeviceStatusState, timestamp_ms: int, arrived_ms: int) -> bool:
    """Whether telemetry of a time shows that a device which is offline is back."""
    # The device may have repeated that it is offline; telemetry from before the repetition is no news.
    if state.last_report_status is DeviceStatus.OFFLINE and state.last_report_ms is not None and timestamp_ms <= state.last_report_ms:
        return False
    if state.cause is not StatusInput.SILENCE:
        return timestamp_ms > state.status_since_ms
    clock_was_ahead = state.last_seen_ms > arrived_ms
    return clock_was_ahead or timestamp_ms > state.last_seen_ms or timestamp_ms < state.last_seen_ms - REDELIVERY_MS


def _identify(state: DeviceStatusState, evidence: StatusReport | TelemetryRecord) -> None:
    state.device_id = evidence.device_id
    state.site_id = evidence.site_id
    state.device_type = evidence.device_type


def _reason(report: StatusReport) -> str:
    if report.status is not DeviceStatus.ERROR or report.error_code is None:
        return report.reason or f"Device reported {report.status}"
    if report.reason:
        return f"{report.reason.strip().rstrip('.')} (code {report.error_code})"
    return f"Device reported ERROR with code {report.error_code}"


def _change(
    state: DeviceStatusState,
    happened: StatusInput,
    new_status: ReportableStatus,
    timestamp_ms: int,
    *,
    reason: str,
    source: tuple[str, int, int],
    kind: str = EVENT_KIND,
) -> Transition:
    state.previous_status, state.status = state.status, new_status
    state.status_since_ms = timestamp_ms
    state.reason = reason
    state.cause = happened
    state.sequence += 1
    state.evidence_topic, state.evidence_partition, state.evidence_offset = source
    return Transition(state, _event(state, new_status, source, kind))


def _event(state: DeviceStatusState, new_status: ReportableStatus, source: tuple[str, int, int], kind: str) -> StatusEvent:
    topic, partition, offset = source
    return StatusEvent(
        event_id=event_id(state.serial_number, topic, partition, offset, kind),
        sequence=state.sequence,
        device_id=state.device_id,
        serial_number=state.serial_number,
        site_id=state.site_id,
        device_type=state.device_type,
        previous_status=state.previous_status,
        new_status=new_status,
        timestamp=from_epoch_ms(state.status_since_ms),
        reason=state.reason,
        cause=state.cause,
        error_code=state.error_code,
        evidence=StatusEvidence(topic=topic, partition=partition, offset=offset, last_seen=from_epoch_ms(state.last_seen_ms)),
    )
