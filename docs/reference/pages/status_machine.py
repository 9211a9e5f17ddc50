"""status-machine.md: the statuses of a device, drawn from `ems_streams/domain/status_table.py`."""

from ems_streams.domain.events import DeviceStatus
from ems_streams.domain.status_table import TRANSITIONS, StatusInput, next_status

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
    edges: dict[tuple[str, str], list[str]] = {}
    for (status, happened), new_status in TRANSITIONS.items():
        edges.setdefault((status, new_status), []).append(IN_WORDS[happened])
    drawn = [f"    {status} --> {new_status}: {' / '.join(words)}\n" for (status, new_status), words in edges.items()]
    rows = [
        f"| {status} | {' | '.join(next_status(status, happened) or '' for happened in StatusInput)} |\n"
        for status in (DeviceStatus.UNKNOWN, *(each for each in DeviceStatus if each is not DeviceStatus.UNKNOWN))
    ]
    head = f"| status | {' | '.join(IN_WORDS[happened] for happened in StatusInput)} |\n|{'---|' * (len(StatusInput) + 1)}\n"
    picture = "```mermaid\nstateDiagram-v2\n    [*] --> UNKNOWN\n" + "".join(drawn) + "```\n"
    return f"{INTRODUCTION}{picture}\nAn empty cell is no transition.\n\n{head}{''.join(rows)}"
