"""The state of a command and what happens to it; the time is always passed in.

A command has two sides that are kept apart. Its *life* (`command_table`) is what people are told. Its *delivery* is where the QoS 2 exchange with the MQTT broker
stands: that goes on to its end whatever the life comes to meanwhile, since a packet id may only be used again when the broker has let go of it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Literal, NamedTuple

from ems_streams.domain.command_catalogue import commands_of
from ems_streams.domain.command_events import CommandEvent, CommandRequest
from ems_streams.domain.command_table import FINAL, INPUT_OF_RESULT, CommandInput, CommandStatus, next_status
from ems_streams.domain.timestamps import format_epoch_ms, from_epoch_ms, to_epoch_ms
from ems_streams.errors import MalformedError

GRACE_MS: Final = 10_000
"""How long after its expiry a device's answer may still be on the way."""
OPEN_MAX: Final = 100
"""Commands of a device that wait at the same time."""
DONE_KEPT: Final = 200
"""Commands of a device that are remembered after their end, the last ones."""
DONE_KEPT_MS: Final = 7 * 86_400_000
STEPS_KEPT: Final = 40
BACKOFF_MAX_MS: Final = 60_000
SENT_BEFORE_EXPIRY_MS: Final = 1000
"""A message expiry is in whole seconds: with less than one left nothing is sent any more."""


class Delivery(IntEnum):
    """Where the exchange with the broker stands; each is durable before the packet that follows from it goes out."""

    NONE = 0
    PUBLISHING = 1
    """PUBLISH may be out; PUBREC is not here."""
    RECEIVED = 2
    """PUBREC is here; PUBREL may be out."""
    DONE = 3
    """PUBCOMP is here."""
    UNKNOWN = 4
    """The broker has lost the session in between: it may have the command or not."""


ANSWERED: Final = frozenset({CommandStatus.COMPLETED, CommandStatus.FAILED, CommandStatus.REJECTED})
"""What a device says for good."""
UNFINISHED: Final = frozenset({Delivery.PUBLISHING, Delivery.RECEIVED})


class Step(NamedTuple):
    """What has happened, for people."""

    sequence: int
    status: CommandStatus
    at_ms: int
    detail: str | None


@dataclass(slots=True)
class Command:
    """A command of one device.

    Attributes:
        request: As it was asked for.
        steps: The last ones, with the first.
        sequence: Of the last step.
        delivery: Where the exchange with the broker stands.
        packet_id: In that exchange; 0 outside of one.
        attempts: How often it was handed to the MQTT connection.
        next_try_ms: Not sent again before this; after the broker has refused it.
        accepted_ms: When the device accepted it; 0 if it has not.
        late: The device's final answer came after we had given up.
    """

    request: CommandRequest
    status: CommandStatus = CommandStatus.REQUESTED
    steps: list[Step] = field(default_factory=list)
    sequence: int = 0
    delivery: Delivery = Delivery.NONE
    packet_id: int = 0
    attempts: int = 0
    next_try_ms: int = 0
    accepted_ms: int = 0
    late: bool = False

    @property
    def final(self) -> bool:
        """Whether its life has ended."""
        return self.status in FINAL

    @property
    def expires_ms(self) -> int:
        """After this it is not to be begun with."""
        return to_epoch_ms(self.request.expires_at)

    @property
    def executed(self) -> Literal["yes", "no", "unknown"]:
        """Whether the device has done it, for all that is known."""
        if self.status is CommandStatus.COMPLETED:
            return "yes"
        if self.status in {CommandStatus.REJECTED, CommandStatus.FAILED}:
            return "no"
        if self.delivery is Delivery.NONE and not self.accepted_ms:
            return "no"
        return "unknown"

    @property
    def answered(self) -> bool:
        """Whether the device has said anything, and so has the command for certain."""
        return bool(self.accepted_ms) or self.status in ANSWERED

    @property
    def deadline_ms(self) -> int:
        """Until when an answer of the device is waited for once it may have the command."""
        last_ms = self.expires_ms + GRACE_MS
        if not self.accepted_ms:
            return last_ms
        kind = commands_of(self.request.device_type).get(self.request.command)
        return max(last_ms, self.accepted_ms + (0 if kind is None else kind.completes_within_s * 1000))

    def may_be_sent(self, now_ms: int) -> bool:
        """Whether it may go to the broker now, if it is its turn."""
        return self.status is CommandStatus.REQUESTED and self.next_try_ms <= now_ms and not self.too_late(now_ms)

    def too_late(self, now_ms: int) -> bool:
        """Whether there is not enough time left to send it."""
        return now_ms + SENT_BEFORE_EXPIRY_MS > self.expires_ms


def begin(request: CommandRequest) -> tuple[Command, CommandEvent]:
    """A command that has just been asked for."""
    command = Command(request)
    return command, _step(command, CommandStatus.REQUESTED, None, to_epoch_ms(request.requested_at), None)


def happen(command: Command, happened: CommandInput, at_ms: int, detail: str | None = None) -> CommandEvent | None:
    """Move a command on; None when that changes nothing."""
    status = next_status(command.status, happened)
    if status is None:
        return None
    previous = command.status
    command.status = status
    if status is CommandStatus.ACCEPTED:
        command.accepted_ms = at_ms
    return _step(command, status, previous, at_ms, detail)


def answer(command: Command, result: str, at_ms: int, detail: str | None) -> CommandEvent | None:
    """Take a device's answer in; None for one that says nothing new, as when it comes twice or after the final one."""
    happened = INPUT_OF_RESULT[result]
    if next_status(command.status, happened) is not None and command.final:
        command.late = True
    return happen(command, happened, at_ms, detail)


def contradicts(command: Command, result: str) -> bool:
    """Whether a device says something else than it has said for good."""
    return command.status in ANSWERED and result not in {command.status, "ACCEPTED"}


def remark(command: Command, at_ms: int, detail: str) -> CommandEvent:
    """A step that changes no status."""
    return _step(command, command.status, command.status, at_ms, detail)


def handed_over(command: Command, packet_id: int, now_ms: int) -> CommandEvent | None:
    """It is about to be sent with this packet id."""
    command.delivery, command.packet_id = Delivery.PUBLISHING, packet_id
    command.attempts += 1
    return happen(command, CommandInput.SENT, now_ms)


def taken(command: Command, now_ms: int) -> CommandEvent | None:
    """The exchange with the broker has ended well."""
    command.delivery, command.packet_id = Delivery.DONE, 0
    return happen(command, CommandInput.BROKER_TOOK, now_ms)


def refused(command: Command, reason: str, now_ms: int) -> CommandEvent | None:
    """The broker has not taken it, for certain; tried again after a pause that doubles."""
    command.delivery, command.packet_id = Delivery.NONE, 0
    command.next_try_ms = now_ms + min(BACKOFF_MAX_MS, 1000 * 2 ** min(command.attempts - 1, 10))
    return happen(
        command,
        CommandInput.BROKER_REFUSED,
        now_ms,
        f"not with the MQTT broker ({reason}); tried again at {format_epoch_ms(command.next_try_ms)}",
    )


def lost_sight_of(command: Command, why: str, now_ms: int) -> CommandEvent | None:
    """Whether the broker has it cannot be found out any more; never sent again, since the device may have it. None when its life has ended."""
    command.delivery, command.packet_id = Delivery.UNKNOWN, 0
    return None if command.final else remark(command, now_ms, f"delivery unknown: {why}")


def _step(command: Command, status: CommandStatus, previous: CommandStatus | None, at_ms: int, detail: str | None) -> CommandEvent:
    command.sequence += 1
    command.steps.append(Step(command.sequence, status, at_ms, detail))
    if len(command.steps) > STEPS_KEPT:
        del command.steps[1]
    request = command.request
    return CommandEvent(
        event_id=f"{request.command_id}:{command.sequence}",
        sequence=command.sequence,
        command_id=request.command_id,
        serial_number=request.serial_number,
        device_id=request.device_id,
        site_id=request.site_id,
        device_type=request.device_type,
        command=request.command,
        parameters=request.parameters,
        status=status,
        previous_status=previous,
        timestamp=from_epoch_ms(at_ms),
        detail=detail,
        final=command.final,
        late=command.late,
        executed=command.executed,
        requested_by=request.requested_by,
        requested_from=request.requested_from,
    )


@dataclass(slots=True)
class DeviceQueue:
    """The commands of a device that are not done with.

    Attributes:
        open: Ids of those whose life goes on, in the order in which they were asked for; only the first is ever with the device.
        flows: Ids of those whose life has ended before the exchange with the broker has.
    """

    open: list[str] = field(default_factory=list)
    flows: list[str] = field(default_factory=list)

    def settle(self, command: Command) -> bool:
        """Take note of where a command stands; whether it has left the open ones by that."""
        command_id = command.request.command_id
        left = command.final and command_id in self.open
        if left:
            self.open.remove(command_id)
        unfinished = command.final and command.delivery in UNFINISHED
        if unfinished and command_id not in self.flows:
            self.flows.append(command_id)
        elif not unfinished and command_id in self.flows:
            self.flows.remove(command_id)
        return left

    @property
    def idle(self) -> bool:
        """Whether nothing is left to be done."""
        return not self.open and not self.flows


class Done(NamedTuple):
    """A command whose life has ended."""

    command_id: str
    at_ms: int


@dataclass(slots=True)
class DeviceHistory:
    """The commands of a device that are done with and still remembered, the oldest first."""

    done: list[Done] = field(default_factory=list)

    def add(self, command_id: str, at_ms: int, busy: Collection[str] = ()) -> list[str]:
        """Remember one more; gives those that are forgotten for it, none of which is `busy`: with the MQTT broker there is still something to be done."""
        self.done.append(Done(command_id, at_ms))
        excess = len(self.done) - DONE_KEPT
        since_ms = at_ms - DONE_KEPT_MS
        kept = [each for index, each in enumerate(self.done) if (index >= excess and each.at_ms > since_ms) or each.command_id in busy]
        forgotten = [each.command_id for each in self.done if each not in kept]
        self.done = kept
        return forgotten


def check_same(command: Command, request: CommandRequest) -> None:
    """Raise `MalformedError` when a request with the key of a command asks for something else."""
    if command.request.fingerprint != request.fingerprint:
        raise MalformedError(
            "idempotency_conflict", f"idempotencyKey={request.idempotency_key!r}: was used for something else, {command.request.command_id}"
        )


def command_view(command: Command) -> dict[str, Any]:
    """The command for people."""
    request = command.request
    return {
        **request.model_dump(mode="json", by_alias=True, exclude={"event_type"}),
        "status": command.status,
        "final": command.final,
        "late": command.late,
        "executed": command.executed,
        "delivery": {"step": command.delivery.name, "packetId": command.packet_id or None, "attempts": command.attempts},
        "steps": steps_view(command.steps),
    }


def steps_view(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Steps for people."""
    return [
        {"sequence": each.sequence, "status": each.status, "timestamp": format_epoch_ms(each.at_ms), "detail": each.detail}
        for each in steps
    ]
