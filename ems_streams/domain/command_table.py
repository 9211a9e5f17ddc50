"""The life of a command as data: every status with everything that can happen, and what becomes of it.

What is not in the table changes nothing. Drawn in docs/reference/command-life.md, which a test holds against this.

A final status says what is known for certain, and no more: of a device's answers the first final one counts, whenever it comes. `EXPIRED` and `CANCELLED` are what we
say, so an answer of the device corrects them; nothing corrects what the device has said.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class CommandStatus(StrEnum):
    """How far a command is.

    `PUBLISHED`: handed to the MQTT connection, so that the broker, and with it the device, may have it. `DELIVERED`: the broker has taken it, which says nothing
    about the device. `ACCEPTED` and what follows is what the device says. `EXPIRED`: no final answer in time.
    """

    REQUESTED = "REQUESTED"
    PUBLISHED = "PUBLISHED"
    DELIVERED = "DELIVERED"
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


class CommandInput(StrEnum):
    """What can happen to a command."""

    SENT = "SENT"
    BROKER_TOOK = "BROKER_TOOK"
    BROKER_REFUSED = "BROKER_REFUSED"
    ANSWERED_ACCEPTED = "ANSWERED_ACCEPTED"
    ANSWERED_REJECTED = "ANSWERED_REJECTED"
    ANSWERED_COMPLETED = "ANSWERED_COMPLETED"
    ANSWERED_FAILED = "ANSWERED_FAILED"
    TIME = "TIME"
    CANCEL = "CANCEL"


INPUT_OF_RESULT: Final = {
    "ACCEPTED": CommandInput.ANSWERED_ACCEPTED,
    "REJECTED": CommandInput.ANSWERED_REJECTED,
    "COMPLETED": CommandInput.ANSWERED_COMPLETED,
    "FAILED": CommandInput.ANSWERED_FAILED,
}
FINAL: Final = frozenset(
    {CommandStatus.REJECTED, CommandStatus.COMPLETED, CommandStatus.FAILED, CommandStatus.EXPIRED, CommandStatus.CANCELLED}
)

_S, _I = CommandStatus, CommandInput
_FINAL_ANSWERS: Final = {
    _I.ANSWERED_REJECTED: _S.REJECTED,
    _I.ANSWERED_COMPLETED: _S.COMPLETED,
    _I.ANSWERED_FAILED: _S.FAILED,
}
_ANSWERS: Final = {_I.ANSWERED_ACCEPTED: _S.ACCEPTED, **_FINAL_ANSWERS}


def _from(status: CommandStatus, becomes: dict[CommandInput, CommandStatus]) -> dict[tuple[CommandStatus, CommandInput], CommandStatus]:
    return {(status, happened): new_status for happened, new_status in becomes.items()}


TRANSITIONS: Final = MappingProxyType[tuple[CommandStatus, CommandInput], CommandStatus](
    # A device that answers what we believe we have not sent has it: it must not get it again.
    _from(_S.REQUESTED, {_I.SENT: _S.PUBLISHED, **_ANSWERS, _I.TIME: _S.EXPIRED, _I.CANCEL: _S.CANCELLED})
    # MQTT takes nothing back: what is published cannot be cancelled.
    | _from(_S.PUBLISHED, {_I.BROKER_TOOK: _S.DELIVERED, _I.BROKER_REFUSED: _S.REQUESTED, **_ANSWERS, _I.TIME: _S.EXPIRED})
    | _from(_S.DELIVERED, {**_ANSWERS, _I.TIME: _S.EXPIRED})
    | _from(_S.ACCEPTED, {**_FINAL_ANSWERS, _I.TIME: _S.EXPIRED})
    | _from(_S.EXPIRED, _FINAL_ANSWERS)
    | _from(_S.CANCELLED, _FINAL_ANSWERS)
)


def next_status(status: CommandStatus, happened: CommandInput) -> CommandStatus | None:
    """What an input makes of a status; None when it stays as it is."""
    return TRANSITIONS.get((status, happened))
