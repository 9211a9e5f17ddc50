"""What is probably not meant in a rule that is right: no mistake, but worth a word before it wakes somebody up at night."""

from collections.abc import Iterator
from typing import Final

from ems_streams.domain.alarm_conditions import Condition, Limits, MissingData, RateOfChange, Threshold, WindowStatistic
from ems_streams.domain.alarm_rules import AlarmRule

SHORT_PAUSE_S: Final = 30.0
_LONG_WINDOWS: Final = {"1h": 3_600.0, "1d": 86_400.0}


def advice_on(rule: AlarmRule) -> Iterator[str]:
    """Sentences, each with what to write instead."""
    condition = rule.condition
    if isinstance(condition, Threshold | RateOfChange) and _flaps(condition.limits, condition.for_s, condition.clear_for_s):
        yield "has neither hysteresis nor a duration: noise at the limit makes many alarms of one; give a clearAt, forS or clearForS"
    if isinstance(condition, MissingData) and condition.for_s < SHORT_PAUSE_S:
        yield f"raises after a pause of {condition.for_s:g} s, which a reconnecting device makes as well; give a forS of {SHORT_PAUSE_S:g} or more"
    if rule.escalate is not None and isinstance(condition, WindowStatistic):
        length_s = _LONG_WINDOWS.get(condition.window, 0.0)
        if rule.escalate.after_s < length_s:
            yield f"escalates before the next window of {condition.window} can clear it; give an afterS of {length_s:g} or more"
    if rule.escalate is not None and rule.escalate.after_s <= _holds_s(condition):
        yield "escalates sooner than its condition is asked to hold; give an afterS that leaves time to acknowledge"


def _flaps(limits: Limits, for_s: float, clear_for_s: float) -> bool:
    return limits.clear_at == limits.raise_at and not for_s and not clear_for_s


def _holds_s(condition: Condition) -> float:
    return condition.for_s if isinstance(condition, Threshold | RateOfChange) else 0.0
