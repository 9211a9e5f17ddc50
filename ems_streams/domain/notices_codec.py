"""Stored form of `DeviceNotices`."""

from typing import Final

import orjson
from pydantic import ValidationError

from ems_streams.domain.events import DeviceStatus, StatusEvent
from ems_streams.domain.notices import DeviceNotices
from ems_streams.domain.state_codec import StateCodecError, check_version

_KIND: Final = "device notices"
VERSION: Final = 1
_FIELDS: Final = 11


def encode(notices: DeviceNotices) -> bytes:
    """As bytes: a version byte, then a JSON list."""
    return bytes((VERSION,)) + orjson.dumps(
        (
            orjson.Fragment(notices.last.encode()),
            notices.score,
            notices.scored_ms,
            notices.first_ms,
            notices.changes,
            notices.told_status,
            notices.flapping_since_ms,
            notices.flapping_told,
            notices.flapping_from,
            notices.error_told,
            notices.held_back_by,
        )
    )


def decode(data: bytes) -> DeviceNotices:
    """Of what `encode` gives; raises `StateCodecError`."""
    check_version(_KIND, data, VERSION)
    try:
        fields = orjson.loads(data[1:])
        if not isinstance(fields, list) or len(fields) != _FIELDS:
            raise ValueError(f"expected a list of {_FIELDS} fields")
        fields[0] = StatusEvent.model_validate_json(orjson.dumps(fields[0]))
        fields[5] = DeviceStatus(fields[5])
    except (ValidationError, ValueError) as error:
        raise StateCodecError(_KIND, str(error).replace("\n", " ")) from None
    return DeviceNotices(*fields)
