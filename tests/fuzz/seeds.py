"""A good record of each topic, from which mutations start."""

from typing import Any, Final

import orjson

from ems_streams.domain.aggregate_events import SitePart
from ems_streams.domain.alarms import Acknowledgement
from ems_streams.domain.command_events import CancelRequest
from ems_streams.domain.device_windows import WindowResult
from ems_streams.domain.events import CommandAck, DeviceStatus
from ems_streams.domain.heartbeat import Heartbeat
from ems_streams.domain.maintenance import window_of
from ems_streams.domain.promotions import PromotedWindow, Promotion
from ems_streams.domain.registry import RegistryEntry
from ems_streams.domain.site_membership import Joined, Left
from ems_streams.domain.timestamps import from_epoch_ms
from ems_streams.kafka import catalogue
from tests.unit.domain.alarm_cases import rule
from tests.unit.domain.builders import NOON_MS, SERIAL, Device, minutes, record, report
from tests.unit.domain.command_builders import request

_NOON: Final = from_epoch_ms(NOON_MS)
_IDENTITY: Final[dict[str, Any]] = {"device_id": 123, "serial_number": SERIAL, "site_id": 1, "device_type": "SOLAR_INVERTER"}

TELEMETRY: Final[dict[str, Any]] = {
    "deviceId": 123, "serialNumber": SERIAL, "siteId": 1, "deviceType": "SOLAR_INVERTER", "timestamp": "2025-10-04T12:00:00Z",
    "telemetryData": {"powerKw": 45.2, "temperature": 90.0, "energyKwh": 1e3}, "eventType": "DEVICE_TELEMETRY", "messageId": "m1",
}  # fmt: skip
TRANSITION: Final[dict[str, Any]] = {
    "eventId": "e1", "sequence": 1, "deviceId": 123, "serialNumber": SERIAL, "siteId": 1, "deviceType": "SOLAR_INVERTER",
    "previousStatus": "ONLINE", "newStatus": "OFFLINE", "timestamp": "2025-10-04T12:00:00Z", "eventType": "DEVICE_STATUS_CHANGE", "reason": "r",
}  # fmt: skip
ALARM: Final[dict[str, Any]] = {
    "alarmId": "a" * 32, "ruleId": "hot", "serialNumber": SERIAL, "deviceId": 123, "siteId": 1, "deviceType": "METER", "state": "RAISED",
    "severity": "WARNING", "title": "Hot", "message": "m", "kind": "threshold", "beganAt": "2025-10-04T12:00:00Z",
    "raisedAt": "2025-10-04T12:00:00Z", "evidence": {"topic": "device-telemetry", "partition": 0, "offset": 1}, "eventId": "e",
    "eventType": "ALARM_RAISED", "timestamp": "2025-10-04T12:00:00Z",
}  # fmt: skip
WINDOW: Final[dict[str, Any]] = {
    "deviceId": 123, "serialNumber": SERIAL, "siteId": 1, "deviceType": "METER", "window": "1m", "revision": 1, "eventCount": 3,
    "windowStart": "2025-10-04T12:00:00Z", "windowEnd": "2025-10-04T12:01:00Z", "metrics": {"temperature": {"mean": 90.0, "count": 3}},
    "energyKwh": None,
}  # fmt: skip


def windows() -> list[WindowResult]:
    """What a device publishes in half an hour."""
    device = Device()
    for at_ms, metrics in minutes(40):
        device.send(record(at_ms, metrics))
    return device.published


def _of_sites() -> list[tuple[bytes, bytes]]:
    result = windows()[0]
    part = SitePart(1, SERIAL, result.window, result.span, result.revision, result.summary)
    joined, left = Joined(SERIAL, 1, NOON_MS), Left(SERIAL, 1, NOON_MS)
    return [(each.key, each.encode()) for each in (part, joined, left)]


def _promotion() -> Promotion:
    promoted = [PromotedWindow(each.window, each.span, each.revision, each.summary) for each in windows()[:3]]
    return Promotion("replay", SERIAL, 123, 1, "METER", promoted)


def _maintenance() -> tuple[bytes, bytes]:
    fields = {"sites": [1], "startsAt": "2025-10-04T12:00:00Z", "endsAt": "2025-10-04T13:00:00Z", "reason": "swap", "createdBy": "Ann"}
    window = window_of(fields)
    return window.key, window.encode()


def _keyed(value: dict[str, Any]) -> tuple[bytes, bytes]:
    return SERIAL.encode(), orjson.dumps(value)


def records() -> dict[str, list[tuple[bytes, bytes]]]:
    """Keys and values by topic."""
    condition = {"kind": "threshold", "metric": "temperature", "above": 80.0, "forS": 0.0}
    hot, command, entry = rule(condition, "hot"), request(), RegistryEntry(**_IDENTITY, limits={"silenceTimeoutS": 60})
    note = Acknowledgement(alarm_id="a" * 32, serial_number=SERIAL, acknowledged_by="Ann", timestamp=_NOON)
    cancel = CancelRequest(
        command_id=command.command_id, serial_number=SERIAL, requested_at=_NOON, requested_by="Ann", requested_from="here"
    )
    answer = CommandAck(**_IDENTITY, command_id=command.command_id, result="COMPLETED", timestamp=_NOON)
    promotion, reported = _promotion(), report(DeviceStatus.OFFLINE, NOON_MS, "night")
    beat = Heartbeat(ingress_id="i", timestamp=_NOON, telemetry_end=1, reports_end=0, acks_end=0)
    return {
        catalogue.DEVICE_TELEMETRY: [_keyed(TELEMETRY)],
        catalogue.DEVICE_STATUS_REPORTS: [(reported.key, reported.encode())],
        catalogue.DEVICE_STATUS: [_keyed(TRANSITION)],
        catalogue.DEVICE_REGISTRY: [(SERIAL.encode(), entry.encode()), (SERIAL.encode(), b"")],
        catalogue.DEVICE_AGGREGATES: [_keyed(WINDOW)],
        catalogue.DEVICE_COMMANDS: [(command.key, command.encode()), (cancel.key, cancel.encode())],
        catalogue.DEVICE_COMMAND_ACKS: [(answer.key, answer.encode())],
        catalogue.ALARM_EVENTS: [_keyed(ALARM)],
        catalogue.ALARM_RULES: [(hot.key, hot.encode())],
        catalogue.ALARM_ACKNOWLEDGEMENTS: [(note.key, note.encode())],
        catalogue.MAINTENANCE_WINDOWS: [_maintenance()],
        catalogue.INGRESS_HEARTBEATS: [(b"", beat.encode())],
        catalogue.SITE_PARTS: _of_sites(),
        catalogue.WINDOW_PROMOTIONS: [(promotion.key, promotion.encode())],
    }
