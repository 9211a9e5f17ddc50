"""The life of an alarm as data: every state with every input, and what becomes of it.

What is not in the table changes nothing: an acknowledgement that comes twice, or after the alarm was cleared, and time that goes on for an
alarm that somebody has taken note of. A cleared alarm stays cleared: when the condition comes back that is another alarm.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class AlarmState(StrEnum):
    """Where an alarm is in its life."""

    RAISED = "RAISED"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    CLEARED = "CLEARED"


class AlarmInput(StrEnum):
    """What can happen to an alarm that is there; what clears it is its `clearCause` on the wire."""

    ACKNOWLEDGE = "ACKNOWLEDGE"
    ESCALATE = "ESCALATE"
    CONDITION_OVER = "CONDITION_OVER"
    RULE_CHANGED = "RULE_CHANGED"
    RULE_DISABLED = "RULE_DISABLED"
    RULE_REMOVED = "RULE_REMOVED"
    DEVICE_MOVED = "DEVICE_MOVED"
    DEVICE_REMOVED = "DEVICE_REMOVED"


_RAISED: Final = AlarmState.RAISED
_ACKNOWLEDGED: Final = AlarmState.ACKNOWLEDGED
_CLEARED: Final = AlarmState.CLEARED

TRANSITIONS: Final = MappingProxyType[tuple[AlarmState, AlarmInput], AlarmState](
    {
        (_RAISED, AlarmInput.ACKNOWLEDGE): _ACKNOWLEDGED,
        (_RAISED, AlarmInput.ESCALATE): _RAISED,
        (_RAISED, AlarmInput.CONDITION_OVER): _CLEARED,
        (_RAISED, AlarmInput.RULE_CHANGED): _CLEARED,
        (_RAISED, AlarmInput.RULE_DISABLED): _CLEARED,
        (_RAISED, AlarmInput.RULE_REMOVED): _CLEARED,
        (_RAISED, AlarmInput.DEVICE_MOVED): _CLEARED,
        (_RAISED, AlarmInput.DEVICE_REMOVED): _CLEARED,
        (_ACKNOWLEDGED, AlarmInput.CONDITION_OVER): _CLEARED,
        (_ACKNOWLEDGED, AlarmInput.RULE_CHANGED): _CLEARED,
        (_ACKNOWLEDGED, AlarmInput.RULE_DISABLED): _CLEARED,
        (_ACKNOWLEDGED, AlarmInput.RULE_REMOVED): _CLEARED,
        (_ACKNOWLEDGED, AlarmInput.DEVICE_MOVED): _CLEARED,
        (_ACKNOWLEDGED, AlarmInput.DEVICE_REMOVED): _CLEARED,
    }
)


def next_state(state: AlarmState, happened: AlarmInput) -> AlarmState | None:
    """What an input makes of an alarm; None when it changes nothing."""
    return TRANSITIONS.get((state, happened))
