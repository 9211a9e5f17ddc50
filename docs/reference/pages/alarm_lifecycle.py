"""alarm-lifecycle.md: the states of an alarm, drawn from `ems_streams/domain/alarm_table.py`."""

from ems_streams.domain.alarm_table import TRANSITIONS, AlarmInput, AlarmState, next_state

INTRODUCTION = """\
# The life of an alarm

Drawn from the table in `ems_streams/domain/alarm_table.py`. What each step means, and who is told, is in [How to live with alarms](../howto/alarms.md).

"""

IN_WORDS = {
    AlarmInput.ACKNOWLEDGE: "acknowledged",
    AlarmInput.ESCALATE: "not acknowledged in time: severity goes up",
    AlarmInput.CONDITION_OVER: "condition over",
    AlarmInput.RULE_CHANGED: "rule changed",
    AlarmInput.RULE_DISABLED: "rule switched off",
    AlarmInput.RULE_REMOVED: "rule removed",
    AlarmInput.DEVICE_MOVED: "device moved",
    AlarmInput.DEVICE_REMOVED: "device removed",
}


def page() -> str:
    """The table of the states of alarms in Markdown, drawn and as a table."""
    edges: dict[tuple[str, str], list[str]] = {}
    for (state, happened), new_state in TRANSITIONS.items():
        edges.setdefault((state, new_state), []).append(IN_WORDS[happened])
    drawn = [f"    {state} --> {new_state}: {' / '.join(words)}\n" for (state, new_state), words in edges.items()]
    rows = [f"| {state} | {' | '.join(next_state(state, happened) or '' for happened in AlarmInput)} |\n" for state in AlarmState]
    head = f"| state | {' | '.join(IN_WORDS[happened] for happened in AlarmInput)} |\n|{'---|' * (len(AlarmInput) + 1)}\n"
    picture = "```mermaid\nstateDiagram-v2\n    [*] --> RAISED\n" + "".join(drawn) + "    CLEARED --> [*]\n```\n"
    return f"{INTRODUCTION}{picture}\nAn empty cell changes nothing.\n\n{head}{''.join(rows)}"
