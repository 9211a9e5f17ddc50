"""Messages that are neither events nor of devices: those of the WebSocket, and dead letters."""

from typing import Final

from ems_streams.domain import dead_letter as headers
from ems_streams.domain.events import NotificationKind, Severity
from ems_streams.schemas.models import Schema

_CURSOR: Final[Schema] = {"type": "string", "description": "Give it as `since` to go on exactly from here."}

WEBSOCKET_MESSAGES: Final[dict[str, tuple[Schema, str]]] = {
    "NotificationMessage": (
        {
            "title": "NotificationMessage",
            "description": "A notification, and the cursor behind it.",
            "type": "object",
            "required": ["cursor", "notification"],
            "properties": {"cursor": _CURSOR, "notification": {"$ref": "#/components/schemas/Notification"}},
        },
        "A notification",
    ),
    "HeartbeatMessage": (
        {
            "title": "HeartbeatMessage",
            "description": "That the feed is alive, and the cursor up to which the client has all that it wants; with `heartbeat=SECONDS`.",
            "type": "object",
            "required": ["cursor", "heartbeat"],
            "properties": {"cursor": _CURSOR, "heartbeat": {"type": "string", "format": "date-time"}},
        },
        "A sign of life",
    ),
}
"""Schema and title by name."""


def _several(of: Schema, words: str) -> Schema:
    return {"type": "array", "items": of, "description": words}


WEBSOCKET_QUERY: Final[Schema] = {
    "type": "object",
    "properties": {
        "since": {"type": "string", "description": "Cursor to go on from; without, only what comes from now on."},
        "site": _several({"type": "integer"}, "Only of these sites."),
        "device": _several({"type": "string"}, "Only of these devices."),
        "severity": _several({"type": "string", "enum": [each.value for each in Severity]}, "Only of these severities."),
        "kind": _several({"type": "string", "enum": [each.value for each in NotificationKind]}, "Only of these kinds."),
        "heartbeat": {"type": "integer", "minimum": 1, "maximum": 300, "description": "Every so many seconds a message, whatever happens."},
    },
}

DEAD_LETTER: Final[Schema] = {"description": "The failed record's own bytes, untouched.", "type": "string", "format": "binary"}
_TEXT: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": "string", "pattern": "^-?[0-9]+$"}
DEAD_LETTER_HEADERS: Final[Schema] = {
    "type": "object",
    "required": [headers.ERROR_CLASS, headers.ERROR_MESSAGE, headers.STAGE],
    "properties": {
        headers.ORIGINAL_TOPIC: _TEXT,
        headers.ORIGINAL_PARTITION: _NUMBER,
        headers.ORIGINAL_OFFSET: _NUMBER,
        headers.ORIGINAL_TIMESTAMP: _NUMBER,
        headers.ERROR_CLASS: _TEXT,
        headers.ERROR_MESSAGE: _TEXT,
        headers.STAGE: _TEXT,
        headers.ATTEMPTS: _NUMBER,
        headers.FIRST_FAILED_AT: _TEXT,
        headers.REPLAY_COUNT: _NUMBER,
        headers.CHANNEL: _TEXT,
        headers.PAYLOAD_SIZE: _NUMBER,
        headers.PAYLOAD_SHA256: _TEXT,
    },
}
