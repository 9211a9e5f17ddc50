"""status-machine.md: the statuses of a device, drawn from `ems_streams/domain/status_table.py`."""

from pages.drawing import drawing

from ems_streams.domain.events import DeviceStatus
from ems_streams.domain.status_table import TRANSITIONS, StatusInput

INTRODUCTION = """\
# The status machine

The statuses of a device and what makes one of another, drawn from the table in `ems_streams/domain/status_table.py`. What is not drawn stays as it is. What
counts as an input, and what is told to people, is in [How to know which devices are there](../howto/status.md).

"""

IN_WORDS = {
    StatusInput.REPORTED_ONLINE: "reports ONLINE",
    StatusInput.REPORTED_OFFLINE: "reports OFFLINE, or last will",
    StatusInput.REPORTED_MAINTENANCE: "reports MAINTENANCE",
    StatusInput.REPORTED_ERROR: "reports ERROR",
    StatusInput.TELEMETRY: "telemetry",
    StatusInput.SILENCE: "silence",
}


def page() -> str:
    """The table of transitions in Markdown, drawn and as a table."""
    states = (DeviceStatus.UNKNOWN, *(each for each in DeviceStatus if each is not DeviceStatus.UNKNOWN))
    return INTRODUCTION + drawing(TRANSITIONS, IN_WORDS, states, column="status", empty="An empty cell is no transition.")
