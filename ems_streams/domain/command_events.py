"""The records about commands: what is requested, each step of a life, what the device is sent, and what people are told."""

from functools import partial
from hashlib import blake2b
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import Field, StringConstraints, ValidationError

from ems_streams.domain.command_catalogue import CommandError, check_command
from ems_streams.domain.command_table import CommandStatus
from ems_streams.domain.device_topic import DeviceTopic, TopicKind
from ems_streams.domain.events import (
    CommandAck,
    Event,
    MetricValue,
    Notification,
    NotificationKind,
    PositiveId,
    SerialNumber,
    Severity,
    Time,
    decode,
    format_time,
    malformed,
)
from ems_streams.domain.identifiers import notification_id
from ems_streams.domain.refusals import shown
from ems_streams.errors import MalformedError

KEY_MAX_CHARS: Final = 128
EXPIRES_IN_MAX_S: Final = 86_400
"""As long as the MQTT broker keeps the session that remembers what has been sent, unless `EMS_MQTT_SESSION_EXPIRY_S` says otherwise."""
_SEPARATOR: Final = "~"
_DIGEST_BYTES: Final = 8

IdempotencyKey = Annotated[str, StringConstraints(min_length=1, max_length=KEY_MAX_CHARS, pattern=r"^[\x21-\x7e]+$")]
Person = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
_Text = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")]
_Value = MetricValue | Annotated[str, StringConstraints(max_length=200)]


def command_id_of(serial_number: str, idempotency_key: str) -> str:
    """Id of a command: the same for the same key of the same device, whoever computes it, and it names the device."""
    digest = blake2b(f"{serial_number}\0{idempotency_key}".encode(), digest_size=_DIGEST_BYTES)
    return f"{serial_number}{_SEPARATOR}{digest.hexdigest()}"


def serial_number_of(command_id: str) -> str | None:
    """The device that a command's id names; None when it is no such id."""
    serial_number, separator, digest = command_id.rpartition(_SEPARATOR)
    return serial_number if separator and serial_number and len(digest) == 2 * _DIGEST_BYTES else None


class CommandRequest(Event):
    """A record of `device-commands`: somebody wants a device to do something.

    Attributes:
        command_id: Made of device and idempotency key.
        idempotency_key: Of who asked, or made up for them.
        fingerprint: Of what was asked for, so that the same key with something else is noticed.
        requested_by: Who.
        requested_from: From where, such as the address of their connection.
        expires_at: After this it is not to be begun with.
    """

    event_type: Literal["DEVICE_COMMAND"] = "DEVICE_COMMAND"
    command_id: str
    idempotency_key: IdempotencyKey
    fingerprint: _Text
    serial_number: SerialNumber
    device_id: PositiveId
    site_id: PositiveId
    device_type: str
    command: str
    parameters: dict[str, _Value] = Field(default_factory=dict)
    requested_at: Time
    expires_at: Time
    requested_by: Person
    requested_from: _Text

    @property
    def key(self) -> bytes:
        """Key of the record."""
        return self.serial_number.encode()

    @property
    def topic(self) -> str:
        """Topic by which the device gets it."""
        return DeviceTopic(self.site_id, self.serial_number, TopicKind.COMMANDS).format()

    @property
    def answer_topic(self) -> str:
        """Topic on which the device answers."""
        return DeviceTopic(self.site_id, self.serial_number, TopicKind.ACK).format()

    def payload(self) -> bytes:
        """What the device is sent."""
        return orjson.dumps(
            {
                "commandId": self.command_id,
                "command": self.command,
                "parameters": self.parameters,
                "requestedAt": format_time(self.requested_at),
                "expiresAt": format_time(self.expires_at),
            }
        )


class CancelRequest(Event):
    """A record of `device-commands`: somebody wants a command not to be sent; in the order of the requests."""

    event_type: Literal["DEVICE_COMMAND_CANCEL"] = "DEVICE_COMMAND_CANCEL"
    command_id: str
    serial_number: SerialNumber
    requested_at: Time
    requested_by: Person
    requested_from: _Text

    @property
    def key(self) -> bytes:
        """Key of the record."""
        return self.serial_number.encode()


_MODELS: Final[dict[object, type[CommandRequest] | type[CancelRequest]]] = {
    "DEVICE_COMMAND": CommandRequest,
    "DEVICE_COMMAND_CANCEL": CancelRequest,
}


def decode_request(value: bytes | None) -> CommandRequest | CancelRequest:
    """The request of a record of `device-commands`; raises `MalformedError`.

    A command that is not in the catalogue, or beyond its limits, is malformed: whoever writes to the topic, nothing of the kind goes to a device.
    """
    if not value:
        raise MalformedError("empty", "the value is empty; expected a JSON object")
    try:
        fields = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise MalformedError("invalid_json", str(error)) from None
    kind = fields.get("eventType") if isinstance(fields, dict) else None
    model = _MODELS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise MalformedError("invalid_field", f"eventType={shown(kind)}: expected one of {', '.join(map(str, _MODELS))}")
    try:
        request = model.model_validate_json(value)
    except ValidationError as error:
        raise malformed(error) from None
    _check(request)
    return request


def _check(request: CommandRequest | CancelRequest) -> None:
    if isinstance(request, CancelRequest):
        if serial_number_of(request.command_id) != request.serial_number:
            raise MalformedError("invalid_field", f"commandId={request.command_id!r:.150}: is no command of {request.serial_number}")
        return
    expected = command_id_of(request.serial_number, request.idempotency_key)
    if request.command_id != expected:
        raise MalformedError(
            "invalid_field", f"commandId={request.command_id!r:.150}: expected {expected!r} for this device and idempotencyKey"
        )
    if request.expires_at <= request.requested_at:
        raise MalformedError("invalid_field", f"expiresAt={format_time(request.expires_at)}: expected after requestedAt")
    if (request.expires_at - request.requested_at).total_seconds() > EXPIRES_IN_MAX_S:
        raise MalformedError(
            "invalid_field", f"expiresAt={format_time(request.expires_at)}: expected at most {EXPIRES_IN_MAX_S} s after requestedAt"
        )
    try:
        check_command(request.device_type, request.command, request.parameters, {})
    except CommandError as error:
        raise MalformedError("invalid_command", str(error)) from None


class CommandEvent(Event):
    """A record of `device-command-events`: a step of a command's life.

    Attributes:
        event_id: Made of command and sequence.
        sequence: Of the step in its command, from 1.
        previous_status: Before the step; None for the first one, the same as `status` when it says something and changes nothing.
        detail: In words: what the device said, why the broker refused.
        final: Whether the life ends with it, unless the device says something else later.
        late: The device answered after we had given the command up.
        executed: `yes`, `no`, or `unknown`, for all that is known by then.
    """

    event_type: Literal["DEVICE_COMMAND_EVENT"] = "DEVICE_COMMAND_EVENT"
    event_id: str
    sequence: int
    command_id: str
    serial_number: str
    device_id: int
    site_id: int
    device_type: str
    command: str
    parameters: dict[str, float | str]
    status: CommandStatus
    previous_status: CommandStatus | None
    timestamp: Time
    detail: str | None = None
    final: bool
    late: bool
    executed: Literal["yes", "no", "unknown"]
    requested_by: str
    requested_from: str


decode_ack = partial(decode, CommandAck)
"""The answer of a record of `device-command-acks`; raises `MalformedError`."""

_IN_WORDS: Final = {
    CommandStatus.REQUESTED: "waits to be sent",
    CommandStatus.PUBLISHED: "is on its way to the MQTT broker",
    CommandStatus.DELIVERED: "is with the MQTT broker; the device has not answered yet",
    CommandStatus.ACCEPTED: "was accepted by the device",
    CommandStatus.REJECTED: "was rejected by the device",
    CommandStatus.COMPLETED: "was carried out",
    CommandStatus.FAILED: "failed on the device",
    CommandStatus.EXPIRED: "expired",
    CommandStatus.CANCELLED: "was cancelled before it was sent",
}
_WARNINGS: Final = frozenset({CommandStatus.REJECTED, CommandStatus.FAILED, CommandStatus.EXPIRED})
_EXECUTED: Final = {"no": "The device did not do it.", "unknown": "Whether the device did it is not known."}


def of_step(event: CommandEvent) -> Notification:
    """What people are told of a step: the same notification, with the same id, however often the event is read."""
    title = f"{event.command} for {event.serial_number} {_IN_WORDS[event.status]}"
    said = f": {event.detail.rstrip('.')}." if event.detail else "."
    late = " The answer came late." if event.late else ""
    unsure = f" {_EXECUTED[event.executed]}" if event.status is CommandStatus.EXPIRED else ""
    return Notification(
        notification_id=notification_id(event.event_id, NotificationKind.COMMAND_UPDATE),
        kind=NotificationKind.COMMAND_UPDATE,
        severity=Severity.WARNING if event.status in _WARNINGS else Severity.INFO,
        serial_number=event.serial_number,
        site_id=event.site_id,
        device_id=event.device_id,
        title=title,
        message=f"{title} (site {event.site_id}){said}{late}{unsure} Requested by {event.requested_by}.",
        timestamp=event.timestamp,
        data=_data(event),
    )


def _data(event: CommandEvent) -> dict[str, Any]:
    kept = (
        "commandId",
        "command",
        "parameters",
        "status",
        "previousStatus",
        "sequence",
        "detail",
        "final",
        "late",
        "executed",
        "requestedBy",
    )
    fields = event.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"eventId": event.event_id, **{name: fields[name] for name in kept if name in fields}}
