"""How each alarm rule stands at a device, and why it has not fired, from what is remembered of the device."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from ems_streams.domain.alarm_conditions import MissingData, RateOfChange, Threshold, WindowStatistic
from ems_streams.domain.alarm_memory import DeviceMemory, RuleMemory
from ems_streams.domain.alarm_plan import fingerprint
from ems_streams.domain.alarm_rules import AlarmRule
from ems_streams.domain.alarm_table import AlarmState
from ems_streams.domain.alarm_words import limit_of
from ems_streams.domain.alarms import Alarm
from ems_streams.domain.device_facts import Place, RuleFacts, RuleStanding
from ems_streams.domain.device_facts_of import time_or_none
from ems_streams.domain.due_index import NEVER_MS
from ems_streams.domain.timestamps import format_epoch_ms

RULES_MAX: Final = 200
"""So many rules of a device are explained, those of which something is remembered before all others."""


class Surroundings(NamedTuple):
    """What is known of the device besides the memory.

    Attributes:
        partition: Of the device.
        latest: Last value of every metric.
        alarms: Of the device, by id.
        listening_since_ms: Begin of the stretch of listening: before it nothing can be missed.
        telemetry_topic: Of values and missing data.
        windows_topic: Of windows.
    """

    partition: int
    latest: Mapping[str, float]
    alarms: Mapping[str, Alarm]
    listening_since_ms: int
    telemetry_topic: str
    windows_topic: str


class _Standing(NamedTuple):
    standing: RuleStanding
    why: str
    since_ms: int | None = None
    due_ms: int | None = None
    offset: int | None = None
    value: float | None = None
    alarm: Alarm | None = None
    escalates_ms: int = NEVER_MS


def rule_facts(rules: Iterable[AlarmRule], memory: DeviceMemory | None, around: Surroundings) -> tuple[RuleFacts, ...]:
    """Of each rule that concerns a device; those whose alarm stands first, then those that are about to raise one."""
    remembered = {} if memory is None else memory.rules
    chosen = sorted(rules, key=lambda rule: rule.id not in remembered)[:RULES_MAX]
    found = [_facts(rule, _standing(rule, memory, around), around) for rule in chosen]
    return tuple(sorted(found, key=lambda each: _ORDER.index(each.standing)))


_ORDER: Final = ("RAISED", "ACKNOWLEDGED", "CLEARING", "PENDING", "WAITING", "QUIET")


def condition_in_words(rule: AlarmRule) -> str:
    """What a rule looks for."""
    condition = rule.condition
    if isinstance(condition, MissingData):
        return f"no {condition.metric or 'telemetry'} for {condition.for_s:g} s"
    if isinstance(condition, RateOfChange):
        what = f"change of {condition.metric} per second over {condition.over_s:g} s"
    elif isinstance(condition, WindowStatistic):
        what = f"{condition.statistic}{f' of {condition.metric}' if condition.metric else ''} in {condition.window}"
    else:
        what = condition.metric
    limits = condition.limits
    held = 0.0 if isinstance(condition, WindowStatistic) else condition.for_s
    return f"{what} {'above' if limits.above else 'below'} {limits.raise_at:.6g}{f' for {held:g} s' if held else ''}"


def _standing(rule: AlarmRule, memory: DeviceMemory | None, around: Surroundings) -> _Standing:
    held = None if memory is None else memory.rules.get(rule.id)
    if held is not None and held.alarm_id:
        return _alarmed(rule, held, around)
    if isinstance(rule.condition, MissingData):
        return _missing(rule.condition, memory, around)
    # What another form of the rule had to remember is void, and forgotten with the next message.
    if held is not None and held.fingerprint == fingerprint(rule):
        return _pending(rule, held, memory, around)
    return _quiet(rule, memory, around)


def _alarmed(rule: AlarmRule, held: RuleMemory, around: Surroundings) -> _Standing:
    alarm = around.alarms.get(held.alarm_id)
    standing: RuleStanding = "ACKNOWLEDGED" if alarm is not None and alarm.state is AlarmState.ACKNOWLEDGED else "RAISED"
    why = "its alarm stands" if alarm is None else alarm.message.rstrip(".")
    due_ms = None
    if held.clearing_since_ms is not None:
        clear_for_ms = round(getattr(rule.condition, "clear_for_s", 0.0) * 1000)
        standing, due_ms = "CLEARING", held.clearing_since_ms + clear_for_ms
        why = f"the value is good since {format_epoch_ms(held.clearing_since_ms)}; over when that has lasted {clear_for_ms / 1000:g} s"
    value = None if alarm is None else alarm.value
    since_ms = held.since_ms if held.clearing_since_ms is None else held.clearing_since_ms
    return _Standing(standing, why, since_ms, due_ms, held.offset, value, alarm, held.escalates_ms)


def _pending(rule: AlarmRule, held: RuleMemory, memory: DeviceMemory | None, around: Surroundings) -> _Standing:
    condition = rule.condition
    for_s = condition.for_s if isinstance(condition, Threshold | RateOfChange) else 0.0
    metric = getattr(condition, "metric", None)
    newest_ms = memory.newest.get(metric or "", held.since_ms) if memory is not None else held.since_ms
    due_ms = held.since_ms + round(for_s * 1000)
    lasted_s = (newest_ms - held.since_ms) / 1000
    why = (
        f"beyond the limit since {format_epoch_ms(held.since_ms)}, for {lasted_s:g} s of {for_s:g} s so far; "
        f"raised by the next value at or after {format_epoch_ms(due_ms)} if it and all before are beyond it"
    )
    value = around.latest.get(metric or "") if isinstance(condition, Threshold) else None
    return _Standing("PENDING", why, held.since_ms, due_ms, held.offset, value)


def _missing(condition: MissingData, memory: DeviceMemory | None, around: Surroundings) -> _Standing:
    what = condition.metric or "telemetry"
    if memory is None or memory.newest_ms < 0:
        return _Standing("QUIET", f"no {what} has ever come, so none can be missed")
    heard = memory.heard.get(condition.metric or "")
    arrived_ms, offset = (memory.heard_ms, memory.heard_offset) if heard is None else (heard.arrived_ms, heard.offset)
    since_ms = max(arrived_ms, around.listening_since_ms)
    due_ms = since_ms + round(condition.for_s * 1000)
    why = f"{what} came last at {format_epoch_ms(arrived_ms)}; raised at {format_epoch_ms(due_ms)} if none comes until then while ingress listens"
    return _Standing("WAITING", why, since_ms, due_ms, offset)


def _quiet(rule: AlarmRule, memory: DeviceMemory | None, around: Surroundings) -> _Standing:
    condition = rule.condition
    if isinstance(condition, WindowStatistic):
        known = None if memory is None else memory.windows.get(condition.window)
        if known is None:
            return _Standing("QUIET", f"no window of {condition.window} has closed since the rule is there")
        return _Standing("QUIET", f"the window of {condition.window} that began at {format_epoch_ms(known[0])} was within the limit")
    assert not isinstance(condition, MissingData), "answered by _missing"
    value = around.latest.get(condition.metric)
    if value is None:
        return _Standing("QUIET", f"the device has never sent {condition.metric}")
    if isinstance(condition, RateOfChange):
        return _Standing("QUIET", f"the rate of {condition.metric} is within the limit, or not known yet")
    if condition.limits.breached(value):
        # As after a change of the rule: what was sent before is not looked at again.
        return _Standing("QUIET", f"{condition.metric} is {value:.6g}, beyond the limit; looked at with its next value", value=value)
    return _Standing("QUIET", f"{condition.metric} is {value:.6g}, within the limit", value=value)


def _facts(rule: AlarmRule, found: _Standing, around: Surroundings) -> RuleFacts:
    of_windows = isinstance(rule.condition, WindowStatistic)
    topic = around.windows_topic if of_windows else around.telemetry_topic
    evidence = None if found.offset is None or found.offset < 0 else Place(topic=topic, partition=around.partition, offset=found.offset)
    alarm = found.alarm
    return RuleFacts(
        rule_id=rule.id,
        title=rule.title,
        severity=rule.severity if alarm is None else alarm.severity,
        kind=rule.condition.kind,
        metric=rule.condition.metric,
        condition=condition_in_words(rule),
        standing=found.standing,
        value=found.value,
        limit=limit_of(rule),
        since=None if found.since_ms is None else time_or_none(found.since_ms),
        evidence=evidence,
        due_at=None if found.due_ms is None else time_or_none(found.due_ms),
        alarm_id=None if alarm is None else alarm.alarm_id,
        escalates_at=time_or_none(found.escalates_ms),
        why=found.why,
    )
