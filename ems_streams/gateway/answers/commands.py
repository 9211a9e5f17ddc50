"""Commands and their catalogue."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from ems_streams.domain.command_events import EXPIRES_IN_MAX_S, CommandRequest, IdempotencyKey, Person
from ems_streams.domain.command_requests import EXPIRES_IN_DEFAULT_S, EXPIRES_IN_MIN_S
from ems_streams.domain.command_table import CommandStatus
from ems_streams.domain.events import Time
from ems_streams.gateway.answers.base import Answer, Count, Moment


class CommandDelivery(Answer):
    """How far the exchange with the MQTT broker is.

    Attributes:
        step: The last durable one.
        packet_id: Of the publish that is under way.
        attempts: How often it was tried.
    """

    step: Literal["NONE", "PUBLISHING", "RECEIVED", "DONE", "UNKNOWN"]
    packet_id: int | None
    attempts: Count


class CommandStep(Answer):
    """A step of a command's life.

    Attributes:
        sequence: From 1.
        detail: In words: what the device said, why the broker refused.
    """

    sequence: int
    status: CommandStatus
    timestamp: Moment
    detail: str | None


class CommandView(CommandRequest):
    """A command with its steps.

    Attributes:
        final: Whether its life is over, unless the device says something else later.
        late: The device answered after we had given the command up.
        executed: `yes`, `no`, or `unknown`, for all that is known by now.
    """

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    event_type: Literal["DEVICE_COMMAND"] = Field(default="DEVICE_COMMAND", exclude=True)
    status: CommandStatus
    final: bool
    late: bool
    executed: Literal["yes", "no", "unknown"]
    delivery: CommandDelivery
    steps: list[CommandStep]


class DeviceCommands(Answer):
    """Commands of a device, newest first.

    Attributes:
        open: How many are not over.
    """

    serial_number: str
    open: Count
    commands: list[CommandView]


class CommandBody(Answer):
    """A command for a device; `GET /api/v1/command-catalogue` has what each type of device takes.

    Attributes:
        command: Name.
        parameters: By name, in the units and between the limits of the catalogue.
        expires_in_s: Seconds after which it is not to be begun with; 300 when neither this nor `expiresAt` is given.
        expires_at: The same as a time; not both.
        idempotency_key: The same key for the same thing is the same command; the header `Idempotency-Key` does the same.
        requested_by: Who asks; the header `X-Requested-By` does the same.
    """

    model_config = ConfigDict(extra="forbid")

    command: str
    parameters: dict[str, Any] | None = None
    expires_in_s: float | None = Field(default=None, ge=EXPIRES_IN_MIN_S, le=EXPIRES_IN_MAX_S, examples=[EXPIRES_IN_DEFAULT_S])
    expires_at: Time | None = None
    idempotency_key: IdempotencyKey | None = None
    requested_by: Person | None = None


class CancelBody(Answer):
    """Who cancels a command; other members are of no meaning."""

    requested_by: Person | None = None


class CommandParameter(Answer):
    """A parameter of a command; a number has `unit` and limits, a choice has `allowed`.

    Attributes:
        device_limits: What of the registry's entry of a device narrows the limits.
    """

    name: str
    type: Literal["number", "choice"]
    required: bool
    unit: str = ""
    minimum: float = 0
    maximum: float = 0
    device_limits: list[str] = Field(default_factory=list)
    allowed: list[str] = Field(default_factory=list)


class CommandKind(Answer):
    """A command of the catalogue.

    Attributes:
        completes_within_s: How long a device that has accepted it may take before nobody waits for the result any more.
    """

    command: str
    purpose: str
    completes_within_s: float
    parameters: list[CommandParameter]


class CommandCatalogue(Answer):
    """Which commands each type of device takes."""

    device_types: dict[str, list[CommandKind]]
