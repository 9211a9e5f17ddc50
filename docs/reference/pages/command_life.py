"""command-life.md: the statuses of a command, drawn from `ems_streams/domain/command_table.py`."""

from pages.drawing import drawing

from ems_streams.domain.command_table import FINAL, TRANSITIONS, CommandInput, CommandStatus

INTRODUCTION = """\
# The life of a command

The statuses of a command and what makes one of another, drawn from the table in `ems_streams/domain/command_table.py`. What is not drawn changes nothing. What each means is in
[How to have a device do something](../howto/commands.md).

"""

IN_WORDS = {
    CommandInput.SENT: "its turn: packet id is durable",
    CommandInput.BROKER_TOOK: "PUBCOMP of the broker",
    CommandInput.BROKER_REFUSED: "broker refuses it, or it is certain not to have been sent",
    CommandInput.ANSWERED_ACCEPTED: "device: ACCEPTED",
    CommandInput.ANSWERED_REJECTED: "device: REJECTED",
    CommandInput.ANSWERED_COMPLETED: "device: COMPLETED",
    CommandInput.ANSWERED_FAILED: "device: FAILED",
    CommandInput.TIME: "no answer in time",
    CommandInput.CANCEL: "cancelled",
}


def page() -> str:
    """The table of a command's life in Markdown, drawn and as a table."""
    return INTRODUCTION + drawing(
        TRANSITIONS, IN_WORDS, tuple(CommandStatus), column="status", empty="An empty cell changes nothing.", ends=FINAL
    )
