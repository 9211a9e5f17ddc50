"""The events on Kafka, as `contracts.md` of the project pins them: JSON values, camelCase names, UTC times that end in `Z`.

One pydantic model per event. Python names are snake_case; the wire has camelCase. `decode_*` functions validate bytes in
one pass and raise `MalformedError`, which names the field, the value and what was expected.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints, ValidationError, WithJsonSchema
from pydantic.alias_generators import to_camel

from ems_streams.errors import MalformedError

MAX_METRICS = 64


def format_time(moment: datetime) -> str:
    """`2025-10-04T10:15:00Z`; fractions only when there are any, with three digits, or six when needed."""
    moment = moment.astimezone(UTC)
    if not moment.microsecond:
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    precision = "milliseconds" if moment.microsecond % 1000 == 0 else "microseconds"
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


# The bounds keep every time, and the end of its window, printable in UTC whatever offset it came with.
EARLIEST_TIME = datetime(1970, 1, 1, tzinfo=UTC)
TIME_LIMIT = datetime(9999, 1, 1, tzinfo=UTC)
Time = Annotated[
    AwareDatetime,
    Field(ge=EARLIEST_TIME, lt=TIME_LIMIT),
    PlainSerializer(format_time, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
SerialNumber = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")]
MetricName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
# Strict: a JSON number and nothing else, so neither true nor "1"; an int is taken as a float.
MetricValue = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Metrics = Annotated[dict[MetricName, MetricValue], Field(min_length=1, max_length=MAX_METRICS)]
PositiveId = Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)]
ErrorCode = Annotated[str, Field(min_length=1, max_length=64, coerce_numbers_to_str=True)]


class DeviceStatus(StrEnum):
    """State of a device; `UNKNOWN` only before it was ever heard of."""

    ONLINE = "ONLINE"
    OFFLINE = "OFFLINE"
    MAINTENANCE = "MAINTENANCE"
    ERROR = "ERROR"
    UNKNOWN = "UNKNOWN"


ReportableStatus = Literal[DeviceStatus.ONLINE, DeviceStatus.OFFLINE, DeviceStatus.MAINTENANCE, DeviceStatus.ERROR]


class Severity(StrEnum):
    """How much a notification matters to an operator."""

    INFO = "INFO"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


class NotificationKind(StrEnum):
    """What a notification is about."""

    STATUS_CHANGE = "STATUS_CHANGE"
    ALARM_RAISED = "ALARM_RAISED"
    ALARM_ESCALATED = "ALARM_ESCALATED"
    ALARM_CLEARED = "ALARM_CLEARED"
    ALARM_ACKNOWLEDGED = "ALARM_ACKNOWLEDGED"
    COMMAND_UPDATE = "COMMAND_UPDATE"
    FLAPPING_STARTED = "FLAPPING_STARTED"
    FLAPPING_ENDED = "FLAPPING_ENDED"


class Event(BaseModel):
    """Base of the wire models: camelCase on the wire, unknown fields kept out, immutable."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def encode(self) -> bytes:
        """The JSON value for Kafka, without absent optional fields."""
        return self.__pydantic_serializer__.to_json(self, by_alias=True, exclude_none=True)


class TelemetryEvent(Event):
    """A record of `device-telemetry`."""

    device_id: PositiveId
    serial_number: SerialNumber
    site_id: PositiveId
    device_type: str
    telemetry_data: Metrics
    timestamp: Time
    event_type: Literal["DEVICE_TELEMETRY"] = "DEVICE_TELEMETRY"
    message_id: str | None = None


class StatusReport(Event):
    """A record of `device-status-reports`: what a device says of itself, not yet a transition."""

    device_id: PositiveId
    serial_number: SerialNumber
    site_id: PositiveId
    device_type: str
    status: ReportableStatus
    reason: str | None = None
    error_code: ErrorCode | None = None
    timestamp: Time
    event_type: Literal["DEVICE_STATUS_REPORT"] = "DEVICE_STATUS_REPORT"
    message_id: str | None = None

    @property
    def key(self) -> bytes:
        """Key of the record."""
        return self.serial_number.encode()


class CommandAck(Event):
    """A record of `device-command-acks`: what a device answers to a command."""

    command_id: str
    device_id: PositiveId
    serial_number: SerialNumber
    site_id: PositiveId
    device_type: str
    result: Literal["ACCEPTED", "REJECTED", "COMPLETED", "FAILED"]
    detail: str | None = None
    timestamp: Time
    event_type: Literal["DEVICE_COMMAND_ACK"] = "DEVICE_COMMAND_ACK"
    message_id: str | None = None

    @property
    def key(self) -> bytes:
        """Key of the record."""
        return self.serial_number.encode()


class StatusEvidence(Event):
    """The record that a transition rests on, and when the device itself was last heard of, by its own clock."""

    topic: str
    partition: int
    offset: int
    last_seen: Time


class StatusEvent(Event):
    """A record of `device-status`: a real transition, with its true previous status.

    Attributes:
        cause: What of the status machine's inputs it was, such as `SILENCE` (`status_table.StatusInput`).
        error_code: The device's own, when the new status is `ERROR` and it gave one.
        evidence: What it rests on; of silence the last record that was heard of the device.
    """

    event_id: str
    sequence: int
    device_id: int
    serial_number: str
    site_id: int
    device_type: str | None = None
    previous_status: DeviceStatus
    new_status: ReportableStatus
    timestamp: Time
    event_type: Literal["DEVICE_STATUS_CHANGE"] = "DEVICE_STATUS_CHANGE"
    reason: str
    cause: str | None = None
    error_code: str | None = None
    evidence: StatusEvidence | None = None

    @property
    def key(self) -> bytes:
        """Key of the record."""
        return self.serial_number.encode()


WindowLabel = Literal["1m", "15m", "1h", "1d", "1d-local"]
Quality = Literal["MEASURED", "INTEGRATED", "ESTIMATED", "GAP"]


class MetricStatistics(Event):
    """Of one metric in one window; None where a figure is beyond the range of a float. Quantiles are within 1 % of a value of that rank."""

    count: int
    sum: float | None
    min: float
    max: float
    mean: float | None
    last: float
    stddev: float | None
    p50: float
    p95: float
    p99: float


class WindowEvent(Event):
    """What device and site windows have in common.

    Attributes:
        event_id: `{serial or site}:{window}:{start}:{revision}`; the same on every replay.
        window: Kind of the window; `1d` is the day of UTC, `1d-local` that of `time_zone`.
        revision: 1 when the window closed, one more for each correction; the greatest one counts.
        event_count: Messages in the window.
        energy_kwh: Net energy of the covered part, positive when delivered; None when nothing is covered.
        energy_quality: What it was made from; `GAP` when less than nine tenths of the window are covered.
        energy_covered_share: Part of the window that `energy_kwh` is about, 0 to 1.
    """

    event_id: str
    site_id: int
    window: WindowLabel
    time_zone: str | None = None
    window_start: Time
    window_end: Time
    revision: int
    event_count: int
    metrics: dict[str, MetricStatistics]
    energy_kwh: float | None = None
    energy_quality: Quality
    energy_covered_share: float


class AggregateEvent(WindowEvent):
    """A record of `device-aggregates`: a closed window of a device, or a correction of it."""

    event_type: Literal["DEVICE_AGGREGATE"] = "DEVICE_AGGREGATE"
    device_id: int
    serial_number: str
    device_type: str


class SiteAggregateEvent(WindowEvent):
    """A record of `site-aggregates`: a closed window of a site, merged from those of its devices.

    Attributes:
        devices_reported: Devices that have something in the window.
        devices_total: Devices that the site had when this was published.
    """

    event_type: Literal["SITE_AGGREGATE"] = "SITE_AGGREGATE"
    devices_reported: int
    devices_total: int


class Notification(Event):
    """A record of `device-notifications`."""

    notification_id: str
    kind: NotificationKind
    severity: Severity
    serial_number: str
    site_id: int
    device_id: int
    title: str
    message: str
    timestamp: Time
    data: dict[str, Any] = Field(default_factory=dict)


E = TypeVar("E", bound=BaseModel)


def decode(model: type[E], value: bytes | None) -> E:
    """Validate a record's bytes; raises `MalformedError` (`empty`, `invalid_json` or `invalid_field`)."""
    if not value:
        raise MalformedError("empty", "the value is empty; expected a JSON object")
    try:
        return model.model_validate_json(value)
    except ValidationError as error:
        raise malformed(error) from None


def malformed(error: ValidationError) -> MalformedError:
    """The first problem of a validation, in one line that names the field, the value and the expectation."""
    problem = error.errors(include_url=False, include_context=False)[0]
    if problem["type"] == "json_invalid":
        return MalformedError("invalid_json", problem["msg"])
    field = ".".join(str(part) for part in problem["loc"]) or "(root)"
    value = repr(problem["input"])
    shown = value if len(value) <= 100 else value[:97] + "..."
    return MalformedError("invalid_field", f"{field}={shown}: {problem['msg']}")
