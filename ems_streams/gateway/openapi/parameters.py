"""Parameters and headers that routes have in common, each described once."""

from typing import Final

from ems_streams.domain.alarm_table import AlarmState
from ems_streams.domain.alarms import ALARM_ID
from ems_streams.domain.command_catalogue import CATALOGUE
from ems_streams.domain.events import DeviceStatus, NotificationKind, Severity
from ems_streams.domain.windows import LABELS
from ems_streams.gateway.openapi.describe import Parameter
from ems_streams.schemas.models import Schema

SERIAL_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$"
SITE_ID: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
TEXT: Final[Schema] = {"type": "string", "minLength": 1}
_CURSOR: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 16_384, "pattern": "^[A-Za-z0-9_-]+$"}


def limit(default: int, most: int) -> Parameter:
    """How many entries a page has at the most."""
    return Parameter("limit", "At most so many.", {"type": "integer", "minimum": 1, "maximum": most, "default": default})


CURSOR: Final = Parameter("cursor", "`nextCursor` of the page before; nobody can make one up.", _CURSOR)
SINCE_CURSOR: Final = Parameter("since", "Cursor to go on from: of the last message, or of the first page of the list.", _CURSOR)
SITE: Final = Parameter("site", "Only of this site.", SITE_ID, example=1)
STATUS: Final = Parameter("status", "Only devices with this status.", {"type": "string", "enum": [each.value for each in DeviceStatus]})
SERIAL: Final = Parameter("serial", "Only of this device.", {"type": "string", "pattern": SERIAL_PATTERN}, example="INV-001")
WINDOW: Final = Parameter("window", "Kind of the windows.", {"type": "string", "enum": [*LABELS], "default": LABELS[0]})
FROM: Final = Parameter("from", "Only windows that begin then or later; a time with its zone.", TIME, example="2026-01-31T12:00:00Z")
TO: Final = Parameter("to", "Only windows that begin before; a time with its zone.", TIME)
STATES: Final = Parameter(
    "state",
    "Only alarms in one of these states.",
    {"type": "string", "enum": [each.value for each in AlarmState]},
    repeated=True,
    commas=True,
)
SEVERITIES: Final = Parameter(
    "severity",
    "Only of one of these severities.",
    {"type": "string", "enum": [each.value for each in Severity]},
    repeated=True,
    commas=True,
)
SITES: Final = Parameter("site", "Only of one of these sites.", SITE_ID, repeated=True, commas=True)
DEVICES: Final = Parameter(
    "device", "Only of one of these devices.", {"type": "string", "pattern": SERIAL_PATTERN}, repeated=True, commas=True
)
KINDS: Final = Parameter(
    "kind", "Only of one of these kinds.", {"type": "string", "enum": [each.value for each in NotificationKind]}, repeated=True, commas=True
)
HEARTBEAT: Final = Parameter(
    "heartbeat", "Every so many seconds a message with the cursor, whatever happens.", {"type": "integer", "minimum": 1, "maximum": 300}
)
ALL: Final = Parameter("all", "Also windows that are over.", {"type": "string", "enum": ["true", "false", "1", "0"], "default": "false"})
TYPE: Final = Parameter("type", "Only commands of this type of device.", {"type": "string", "enum": [*CATALOGUE]})
IDEMPOTENCY_KEY: Final = Parameter(
    "Idempotency-Key",
    "The same key for the same thing is the same command, however often it is asked for.",
    {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"},
    place="header",
    example="evening-1",
)
REQUESTED_BY: Final = Parameter("X-Requested-By", "Who asks.", {"type": "string", "minLength": 1, "maxLength": 200}, place="header")

REQUEST_ID: Final = Parameter(
    "X-Request-Id",
    "Id by which the logs know the request: 1 to 128 letters, digits and `._~-`; another one is replaced. The answer has it.",
    {"type": "string"},
    place="header",
    example="order-17-attempt-2",
)
REQUEST_TIMEOUT: Final = Parameter(
    "Request-Timeout",
    "Seconds after which nobody waits for the answer any more: it is then 504.",
    {"type": "number", "minimum": 0.001, "maximum": 60},
    place="header",
    example=10.0,
)
IF_NONE_MATCH: Final = Parameter(
    "If-None-Match",
    "`ETag` of what is known: when nothing has changed, the answer is 304 without a body.",
    {"type": "string"},
    place="header",
)

_TOPIC_TEXT: Final = "A topic of dead letters."
PATHS: Final = {
    each.name: each
    for each in (
        Parameter("serial", "Serial number of a device.", {"type": "string", "pattern": SERIAL_PATTERN}, "path", example="INV-001"),
        Parameter("siteId", "Id of a site.", SITE_ID, "path", example=1),
        Parameter(
            "alarmId", "Id of an alarm.", {"type": "string", "pattern": ALARM_ID}, "path", example="5f2b8c0e3a7d49f1b6e2c4d8a9f01735"
        ),
        Parameter("windowId", "Id of a maintenance window.", {"type": "string", "pattern": SERIAL_PATTERN}, "path", example="mw-0a1b2c3d4e5f"),
        Parameter(
            "commandId", "Id of a command: device, `~` and a number.", {"type": "string", "maxLength": 160}, "path",
            example="INV-001~0123456789abcdef",
        ),
        Parameter("topic", _TOPIC_TEXT, {"type": "string", "maxLength": 249}, "path", example="device-telemetry-dlt"),
        Parameter("partition", "Partition of the letter.", {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}, "path", example=0),
        Parameter("offset", "Offset of the letter.", {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}, "path", example=0),
        Parameter("redriveId", "Id of a redrive.", {"type": "string", "maxLength": 64}, "path", example="rd-0a1b2c3d"),
        Parameter("name", "Name of a file.", {"type": "string"}, "path"),
    )
}  # fmt: skip

RESPONSE_HEADERS: Final[dict[str, Schema]] = {
    "X-Request-Id": {"description": "Id of the request, in the logs too.", "schema": {"type": "string"}},
    "ETag": {"description": "Changes with the answer, but for `asOf`.", "schema": {"type": "string"}},
    "Link": {"description": 'Address of the next page, with `rel="next"`; not on the last one.', "schema": {"type": "string"}},
    "Location": {"description": "Where it is from now on.", "schema": {"type": "string"}},
    "Idempotency-Replayed": {"description": "`true` when the command was known already.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer"}},
    "Allow": {"description": "What is possible here.", "schema": {"type": "string"}},
    "WWW-Authenticate": {"description": "That a bearer token is expected.", "schema": {"type": "string"}},
    "EMS-Version": {"description": "The release that runs.", "schema": {"type": "string"}},
}  # fmt: skip
