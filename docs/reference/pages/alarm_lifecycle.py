"""alarm-lifecycle.md: the states of an alarm, drawn from `ems_streams/domain/alarm_table.py`."""

from pages.drawing import drawing

from ems_streams.domain.alarm_table import TRANSITIONS, AlarmInput, AlarmState

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
    return INTRODUCTION + drawing(
        TRANSITIONS, IN_WORDS, tuple(AlarmState), column="state", empty="An empty cell changes nothing.", ends={AlarmState.CLEARED}
    )
