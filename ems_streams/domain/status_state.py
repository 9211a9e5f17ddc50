"""Stored and shown forms of `DeviceStatusState`."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from ems_streams.domain.events import DeviceStatus
from ems_streams.domain.state_codec import StateCodecError, check_version
from ems_streams.domain.status import DeviceStatusState
from ems_streams.domain.timestamps import format_epoch_ms

_KIND = "device status"
_VERSION: Final = 1
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
)
"""Types of the stored list's elements, in the order of the state's attributes."""


def encode(state: DeviceStatusState) -> bytes:
    """The state as bytes: a version byte, then a JSON list."""
    return bytes((_VERSION,)) + orjson.dumps(
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
        )
    )


def decode(data: bytes) -> DeviceStatusState:
    """The state of its bytes; raises `StateCodecError` for another version or anything else."""
    check_version(_KIND, data, _VERSION)
    try:
        fields = orjson.loads(data[1:])
        _check(fields)
        fields[4] = DeviceStatus(fields[4])
        fields[5] = DeviceStatus(fields[5])
        fields[11] = None if fields[11] is None else DeviceStatus(fields[11])
    except ValueError as error:
        raise StateCodecError(_KIND, str(error)) from None
    return DeviceStatusState(*fields)


def _check(fields: object) -> None:
    if not isinstance(fields, list) or len(fields) != len(_FIELDS):
        raise ValueError(f"expected a list of {len(_FIELDS)} fields")
    for number, (field, types) in enumerate(zip(fields, _FIELDS, strict=True)):
        if type(field) not in types:
            raise ValueError(f"field {number} is {field!r}, expected {' or '.join(kind.__name__ for kind in types)}")


def device_view(state: DeviceStatusState, latest: Mapping[str, float], latest_ms: int | None) -> dict[str, Any]:
    """The device as `/api/v1/devices/{serial}` shows it.

    Args:
        state: Its status.
        latest: Last value of every metric, from its aggregates; empty when it has sent no telemetry.
        latest_ms: Event time of the newest of them.
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
        "sequence": state.sequence,
        "lastSeen": format_epoch_ms(state.last_seen_ms),
        "latest": dict(latest),
        "latestTimestamp": None if latest_ms is None else format_epoch_ms(latest_ms),
    }
