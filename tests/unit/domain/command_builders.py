"""Commands that the tests of their life start from."""

from typing import Any

from ems_streams.domain.command_events import CommandRequest, command_id_of
from ems_streams.domain.commands import Command, begin
from ems_streams.domain.timestamps import from_epoch_ms
from tests.unit.domain.builders import NOON_MS, SERIAL

EXPIRES_IN_MS = 60_000


def request(key: str = "k1", **changes: Any) -> CommandRequest:
    serial_number = changes.get("serial_number", SERIAL)
    fields: dict[str, Any] = {
        "command_id": command_id_of(serial_number, key),
        "idempotency_key": key,
        "fingerprint": "f1",
        "serial_number": serial_number,
        "device_id": 1,
        "site_id": 7,
        "device_type": "SOLAR_INVERTER",
        "command": "SET_POWER_LIMIT",
        "parameters": {"powerLimitKw": 40.0},
        "requested_at": from_epoch_ms(NOON_MS),
        "expires_at": from_epoch_ms(NOON_MS + EXPIRES_IN_MS),
        "requested_by": "ann",
        "requested_from": "here",
        **changes,
    }
    return CommandRequest(**fields)


def begun(key: str = "k1", **changes: Any) -> Command:
    return begin(request(key, **changes))[0]
