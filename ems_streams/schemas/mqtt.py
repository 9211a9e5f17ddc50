"""What goes over MQTT, as JSON Schemas with an example each: the limits are those that an ingress goes by."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from ems_streams.domain.device_topic import MAX_NUMBER
from ems_streams.domain.events import MAX_METRICS
from ems_streams.domain.mqtt_payload import MAX_CODE_CHARS, MAX_ID_CHARS, MAX_TEXT_CHARS
from ems_streams.schemas.models import Schema

_TIME: Final[Schema] = {
    "type": ["string", "null"],
    "format": "date-time",
    "description": "When it was measured or happened; without, when it is received.",
}
_NAME: Final = "^[A-Za-z][A-Za-z0-9_]{0,63}$"
_ENVELOPE: Final[Schema] = {
    "timestamp": _TIME,
    "messageId": {
        "type": ["string", "null"],
        "minLength": 1,
        "maxLength": MAX_ID_CHARS,
        "description": "Of two messages with the same one only the first counts.",
    },
    "deviceId": {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_NUMBER},
    "deviceType": {"type": ["string", "null"], "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,63}$"},
    "serialNumber": {"type": ["string", "null"], "description": "The same as in the topic."},
    "siteId": {"type": ["integer", "null"], "description": "The same as in the topic."},
    "eventType": {"description": "Of no meaning."},
}
_METRICS: Final[Schema] = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": MAX_METRICS,
    "propertyNames": {"pattern": _NAME},
    "additionalProperties": {"type": "number"},
}


def _text(most: int, words: str) -> Schema:
    return {"type": ["string", "null"], "minLength": 1, "maxLength": most, "description": words}


MQTT_SCHEMAS: Final[dict[str, Schema]] = {
    "TelemetryPayload": {
        "title": "TelemetryPayload",
        "description": "Metrics of a device, by name: in `telemetryData`, or beside what else the message says. Numbers only.",
        "type": "object",
        "anyOf": [
            {
                "required": ["telemetryData"],
                "properties": {**_ENVELOPE, "telemetryData": _METRICS},
                "additionalProperties": False,
            },
            {
                "not": {"anyOf": [{"required": ["telemetryData"]}, {"propertyNames": {"enum": [*_ENVELOPE]}}]},
                "properties": _ENVELOPE,
                "propertyNames": {"pattern": _NAME},
                "additionalProperties": {"type": "number"},
                "maxProperties": MAX_METRICS + len(_ENVELOPE),
            },
        ],
        "examples": [{"powerKw": 45.2}, {"telemetryData": {"powerKw": 45.2, "temperature": 61}, "timestamp": "2026-01-31T12:00:00Z", "messageId": "m-1042"}],
    },
    "StatusPayload": {
        "title": "StatusPayload",
        "description": "What a device says of itself; also its last will.",
        "type": "object",
        "required": ["status"],
        "properties": {
            **_ENVELOPE,
            "status": {"type": "string", "enum": ["ONLINE", "OFFLINE", "MAINTENANCE", "ERROR"]},
            "reason": _text(MAX_TEXT_CHARS, "In words."),
            "errorCode": {"type": ["string", "integer", "null"], "maxLength": MAX_CODE_CHARS, "description": "The device's own."},
        },
        "additionalProperties": False,
        "examples": [{"status": "ERROR", "reason": "fan stopped", "errorCode": "E17"}],
    },
    "CommandPayload": {
        "title": "CommandPayload",
        "description": "What a device is told to do, once: with QoS 2, an expiry, and the id as correlation data.",
        "type": "object",
        "required": ["commandId", "command", "parameters", "requestedAt", "expiresAt"],
        "properties": {
            "commandId": {"type": "string"},
            "command": {"type": "string"},
            "parameters": {"type": "object", "additionalProperties": {"type": ["number", "string"]}},
            "requestedAt": {"type": "string", "format": "date-time"},
            "expiresAt": {"type": "string", "format": "date-time", "description": "After this it is not to be begun with."},
        },
        "examples": [
            {
                "commandId": "INV-001~0123456789abcdef",
                "command": "SET_POWER_LIMIT",
                "parameters": {"powerLimitKw": 40.0},
                "requestedAt": "2026-01-31T12:00:00Z",
                "expiresAt": "2026-01-31T12:05:00Z",
            }
        ],
    },
    "AckPayload": {
        "title": "AckPayload",
        "description": "A device's answer to a command.",
        "type": "object",
        "required": ["commandId", "result"],
        "properties": {
            **_ENVELOPE,
            "commandId": {"type": "string", "pattern": f"^[!-~]{{1,{MAX_ID_CHARS}}}$"},
            "result": {"type": "string", "enum": ["ACCEPTED", "REJECTED", "COMPLETED", "FAILED"]},
            "detail": _text(MAX_TEXT_CHARS, "In words."),
        },
        "additionalProperties": False,
        "examples": [{"commandId": "INV-001~0123456789abcdef", "result": "COMPLETED"}],
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class MqttChannel:
    """A topic of MQTT.

    Attributes:
        suffix: Behind `sites/{siteId}/devices/{serialNumber}`.
        action: What the EMS does.
    """

    suffix: str
    schema: str
    action: Literal["send", "receive"]
    qos: int
    text: str


MQTT_CHANNELS: Final = (
    MqttChannel("telemetry", "TelemetryPayload", "receive", 1, "Devices send what they measure; QoS 0 is taken too."),
    MqttChannel("status", "StatusPayload", "receive", 1, "Devices say how they are; also as their last will."),
    MqttChannel("commands", "CommandPayload", "send", 2, "Devices are told what to do."),
    MqttChannel("commands/ack", "AckPayload", "receive", 1, "Devices answer commands."),
)

PARAMETERS: Final[dict[str, Any]] = {
    "siteId": {"description": "Id of the site, a whole number.", "examples": ["7"]},
    "serialNumber": {"description": "Serial number of the device.", "examples": ["INV-001"]},
}
