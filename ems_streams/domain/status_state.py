"""Stored and shown forms of `DeviceStatusState`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from ems_streams.domain.events import DeviceStatus
from ems_streams.domain.state_codec import StateCodecError, check_version
from ems_streams.domain.status import DeviceStatusState
from ems_streams.domain.status_table import INPUT_OF_REPORT, StatusInput
from ems_streams.domain.timestamps import format_epoch_ms

_KIND = "device status"
VERSION: Final = 2
VERSION_BEFORE: Final = 1
_FIELDS: Final[tuple[tuple[type, ...], ...]] = (
    (str,),
    (int,),
    (int,),
    (str,),
    (str,),
    (str,),
    (int,),
    (str,),
    (int,),
    (int,),
    (int, type(None)),
    (str, type(None)),
    (str,),
    (int,),
    (int,),
    # The version before ends here.
    (str,),
    (str, type(None)),
    (int,),
    (str,),
    (int,),
    (int, type(None)),
)
"""Types of the stored list's elements, in the order of the state's attributes."""
_FIELDS_BEFORE: Final = 15

_UPGRADE_GRACE_MS: Final = 86_400_000
"""When a device was heard of is not known of a state of the version before, only its own time: its clock may be as wrong as this."""


def encode(state: DeviceStatusState) -> bytes:
    """The state as bytes: a version byte, then a JSON list."""
    return bytes((VERSION,)) + orjson.dumps(
        (
            state.serial_number,
            state.device_id,
            state.site_id,
            state.device_type,
            state.status,
            state.previous_status,
            state.status_since_ms,
            state.reason,
            state.sequence,
            state.last_seen_ms,
            state.last_report_ms,
            state.last_report_status,
            state.evidence_topic,
            state.evidence_partition,
            state.evidence_offset,
            state.cause,
            state.error_code,
            state.heard_ms,
            state.heard_topic,
            state.heard_offset,
            state.silence_timeout_ms,
        )
    )


def decode(data: bytes) -> DeviceStatusState:
    """The state of its bytes, or of those of the version before; raises `StateCodecError` for anything else."""
    before = data[:1] == bytes((VERSION_BEFORE,))
    if not before:
        check_version(_KIND, data, VERSION)
    try:
        fields = orjson.loads(data[1:])
        _check(fields, _FIELDS[:_FIELDS_BEFORE] if before else _FIELDS)
        fields[4] = DeviceStatus(fields[4])
        fields[5] = DeviceStatus(fields[5])
        fields[11] = None if fields[11] is None else DeviceStatus(fields[11])
        if not before:
            fields[15] = StatusInput(fields[15])
    except ValueError as error:
        raise StateCodecError(_KIND, str(error)) from None
    state = DeviceStatusState(*fields)
    return _upgraded(state) if before else state


def _upgraded(state: DeviceStatusState) -> DeviceStatusState:
    """What the version before did not say: nobody is held to be silent for it within a day."""
    if state.last_report_status is state.status and state.status is not DeviceStatus.UNKNOWN:
        state.cause = INPUT_OF_REPORT[state.status]
    state.heard_ms = state.last_seen_ms + _UPGRADE_GRACE_MS
    return state


def _check(fields: object, expected: tuple[tuple[type, ...], ...]) -> None:
    if not isinstance(fields, list) or len(fields) != len(expected):
        raise ValueError(f"expected a list of {len(expected)} fields")
    for number, (field, types) in enumerate(zip(fields, expected, strict=True)):
        if type(field) not in types:
            raise ValueError(f"field {number} is {field!r}, expected {' or '.join(kind.__name__ for kind in types)}")


def device_view(
    state: DeviceStatusState,
    latest: Mapping[str, float],
    latest_ms: int | None,
    *,
    maintenance: Mapping[str, Any] | None = None,
    flapping: Mapping[str, Any] | None = None,
    alarms: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """The device as `/api/v1/devices/{serial}` shows it.

    Args:
        state: Its status.
        latest: Last value of every metric, from its aggregates; empty when it has sent no telemetry.
        latest_ms: Event time of the newest of them.
        maintenance: The maintenance window that it is in; None outside of any.
        flapping: Since when, and with how many changes; None while it is not flapping.
        alarms: Those that are not cleared; None while they are not known.
    """
    return {
        "serialNumber": state.serial_number,
        "deviceId": state.device_id,
        "siteId": state.site_id,
        "deviceType": state.device_type,
        "status": state.status,
        "previousStatus": state.previous_status,
        "statusSince": format_epoch_ms(state.status_since_ms),
        "statusReason": state.reason,
        "statusCause": state.cause,
        "errorCode": state.error_code,
        "maintenance": None if maintenance is None else dict(maintenance),
        "flapping": None if flapping is None else dict(flapping),
        "alarms": None if alarms is None else list(alarms),
        "sequence": state.sequence,
        "lastSeen": format_epoch_ms(state.last_seen_ms),
        "latest": dict(latest),
        "latestTimestamp": None if latest_ms is None else format_epoch_ms(latest_ms),
    }
