"""Conditions and scopes in a few words, for tables."""

from ems_streams.domain.alarm_conditions import Comparison, Condition, MissingData, RateOfChange, Statistic, Threshold, WindowStatistic
from ems_streams.domain.alarm_rules import AlarmRule, Scope


def condition_in_words(condition: Condition) -> str:
    """Such as `temperature above 75 for 60 s, clear at 70`."""
    if isinstance(condition, MissingData):
        return f"no {condition.metric or 'telemetry'} for {_seconds(condition.for_s)}"
    if isinstance(condition, WindowStatistic):
        of = "energyKwh" if condition.statistic is Statistic.ENERGY_KWH else f"{condition.statistic} of {condition.metric}"
        return f"{of} in {condition.window} {_compared(condition)}"
    if isinstance(condition, RateOfChange):
        return f"{condition.metric} over {_seconds(condition.over_s)} {_rate(condition)}{_held(condition)}"
    return f"{condition.metric} {_compared(condition, _held(condition))}"


def scope_in_words(scope: Scope) -> str:
    """Such as `type=BATTERY site=7,8`; `all devices` without any."""
    named = (("type", scope.device_types), ("site", scope.site_ids), ("device", scope.serial_numbers))
    parts = [f"{name}={_few([str(each) for each in values])}" for name, values in named if values is not None]
    return " ".join(parts) or "all devices"


def severity_in_words(rule: AlarmRule) -> str:
    """Such as `WARNING, CRITICAL after 900 s`."""
    if rule.escalate is None:
        return rule.severity
    return f"{rule.severity}, {rule.escalate.severity} after {_seconds(rule.escalate.after_s)}"


def _compared(condition: Comparison, held: str = "") -> str:
    limits = condition.limits
    until = "" if condition.clear_at is None else f", clear at {limits.clear_at:.10g}"
    return f"{'above' if limits.above else 'below'} {limits.raise_at:.10g}{held}{until}"


def _rate(condition: RateOfChange) -> str:
    factor, unit = (60.0, "min") if condition.per_minute else (1.0, "s")
    limits = condition.limits
    hysteresis = condition.clear_at_per_s is not None or condition.clear_at_per_minute is not None
    until = f", clear at {limits.clear_at * factor:.10g}/{unit}" if hysteresis else ""
    return f"{'above' if limits.above else 'below'} {limits.raise_at * factor:.10g}/{unit}{until}"


def _held(condition: Threshold | RateOfChange) -> str:
    return f" for {_seconds(condition.for_s)}" if condition.for_s else ""


def _seconds(seconds: float) -> str:
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length_s and seconds % length_s == 0:
            return f"{seconds / length_s:g} {unit}"
    return f"{seconds:g} s"


def _few(names: list[str], shown: int = 3) -> str:
    return ",".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
