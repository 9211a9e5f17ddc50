"""Every status of a command with everything that can happen to it."""

from itertools import product

import pytest

from ems_streams.domain.command_table import FINAL, CommandInput, CommandStatus, next_status
from ems_streams.domain.commands import Command, happen
from tests.unit.domain.builders import NOON_MS
from tests.unit.domain.command_builders import begun

S = CommandStatus
REQUESTED, PUBLISHED, DELIVERED, ACCEPTED = S.REQUESTED, S.PUBLISHED, S.DELIVERED, S.ACCEPTED
REJECTED, COMPLETED, FAILED, EXPIRED, CANCELLED = S.REJECTED, S.COMPLETED, S.FAILED, S.EXPIRED, S.CANCELLED

# Sent; broker took, refused; answered accepted, rejected, completed, failed; time; cancel.
TRUTH: dict[CommandStatus, tuple[CommandStatus | None, ...]] = {
    REQUESTED: (PUBLISHED, None, None, ACCEPTED, REJECTED, COMPLETED, FAILED, EXPIRED, CANCELLED),
    PUBLISHED: (None, DELIVERED, REQUESTED, ACCEPTED, REJECTED, COMPLETED, FAILED, EXPIRED, None),
    DELIVERED: (None, None, None, ACCEPTED, REJECTED, COMPLETED, FAILED, EXPIRED, None),
    ACCEPTED: (None, None, None, None, REJECTED, COMPLETED, FAILED, EXPIRED, None),
    REJECTED: (None,) * 9,
    COMPLETED: (None,) * 9,
    FAILED: (None,) * 9,
    EXPIRED: (None, None, None, None, REJECTED, COMPLETED, FAILED, None, None),
    CANCELLED: (None, None, None, None, REJECTED, COMPLETED, FAILED, None, None),
}
CELLS = [(status, happened, result) for status, row in TRUTH.items() for happened, result in zip(CommandInput, row, strict=True)]


def test_the_table_is_the_truth() -> None:
    assert {(status, happened): next_status(status, happened) for status, happened in product(CommandStatus, CommandInput)} == {
        (status, happened): result for status, happened, result in CELLS
    }


@pytest.mark.parametrize(("status", "happened", "result"), CELLS)
def test_a_command_goes_by_the_table(status: CommandStatus, happened: CommandInput, result: CommandStatus | None) -> None:
    command: Command = begun()
    command.status = status
    before = command.sequence
    event = happen(command, happened, NOON_MS + 5, "why")
    assert command.status is (result or status)
    assert (event is None) == (result is None)
    if event is not None:
        assert (event.previous_status, event.status, event.sequence, event.final) == (status, result, before + 1, result in FINAL)


def test_what_may_have_been_sent_can_be_neither_cancelled_nor_sent_again() -> None:
    sent = set(CommandStatus) - {REQUESTED}
    assert {next_status(status, happened) for status in sent for happened in (CommandInput.SENT, CommandInput.CANCEL)} == {None}


def test_nothing_corrects_what_a_device_has_said() -> None:
    said = (REJECTED, COMPLETED, FAILED)
    assert {next_status(status, happened) for status, happened in product(said, CommandInput)} == {None}
