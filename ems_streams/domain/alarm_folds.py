"""What a message, a closed window and time that goes on change in what is remembered of a device: alarms to raise, to clear and to escalate.

In what order values count:

- Of each metric a value counts when its time is after that of the newest that has counted. What comes late, once more, or second with the same time is
  passed over: it neither raises nor clears, and breaks no duration. So the outcome is that of the values in the order of their times, without the late ones.
- The time of a value is at the most that of its arrival. A device whose clock runs ahead cannot shut out its own later values.
- A device that says something more than an hour older than its newest time, when that is more than an hour ago as well, has had its clock set back: from
  there on values count, durations and rates begin anew, and alarms stay. What a device sends later than the present, or a broker once more, is no such thing.
- A raised alarm of missing data is over with the next value that counts; any arrival at all, also a late one, keeps it from being raised.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from ems_streams.domain.alarm_memory import DeviceMemory, Heard, RuleMemory
from ems_streams.domain.alarm_plan import ANY_TELEMETRY, Check, MissingCheck, Plan
from ems_streams.domain.alarm_windows import ClosedWindow
from ems_streams.domain.due_index import NEVER_MS

CLOCK_SET_BACK_MS: Final = 3_600_000
"""Messages that a broker delivers once more are not older than this, and those that a device has kept come beside younger ones."""
SAMPLES_PER_SPAN: Final = 32
"""So many values at the most are remembered for the rate over a span."""


class Arrival(NamedTuple):
    """Of a record: where its values are in time, and where it is itself.

    Attributes:
        at_ms: Time of the values, at the most that of the arrival.
        arrived_ms: When it arrived, by the clock of the ingress.
        offset: On its topic.
    """

    at_ms: int
    arrived_ms: int
    offset: int


class Raise(NamedTuple):
    """A condition has held for long enough.

    Attributes:
        check: Of the rule.
        held: What is remembered of it; whoever raises the alarm puts its id there.
        at_ms: When it became so.
        value: That the rule looks at; of missing data the seconds without any.
    """

    check: Check | MissingCheck
    held: RuleMemory
    at_ms: int
    value: float


class Clear(NamedTuple):
    """The condition of an alarm is over; the rule remembers nothing any more."""

    rule_id: str
    alarm_id: str
    at_ms: int
    value: float | None


class Escalate(NamedTuple):
    """Nobody has taken note of an alarm in time."""

    rule_id: str
    alarm_id: str


Step = Raise | Clear | Escalate


def observe(memory: DeviceMemory, plan: Plan, metrics: Mapping[str, float], arrival: Arrival) -> list[Step]:
    """Take a message in.

    Args:
        memory: Of the device; changed in place.
        plan: Of the device.
        metrics: Values by name.
        arrival: Of the message.
    """
    at_ms, arrived_ms, offset = arrival
    steps: list[Step] = []
    counted = _look_at_values(memory, plan, metrics, arrival, steps=steps)
    if at_ms > memory.newest_ms or _clock_was_set_back(at_ms, memory.newest_ms, arrived_ms):
        memory.newest_ms = at_ms
        counted.append(ANY_TELEMETRY)
    if plan.missing:
        _hear(memory, plan, metrics, arrival)
        steps += _found_again(memory, plan, metrics, counted, arrived_ms)
    if arrived_ms > memory.heard_ms:
        memory.heard_ms = arrived_ms
    memory.heard_offset = offset
    return steps


def _look_at_values(memory: DeviceMemory, plan: Plan, metrics: Mapping[str, float], arrival: Arrival, *, steps: list[Step]) -> list[str]:
    """Take the values in that count; gives the names of their metrics."""
    at_ms, arrived_ms, _ = arrival
    newest, rules, counted = memory.newest, memory.rules, []
    for name, good_from, good_to, checks, rates in plan.metrics:
        value = metrics.get(name)
        if value is None:
            continue
        known_ms = newest.get(name, -1)
        if at_ms <= known_ms:
            if not _clock_was_set_back(at_ms, known_ms, arrived_ms):
                continue
            _begin_anew(memory, checks + rates)
        newest[name] = at_ms
        counted.append(name)
        # The usual case costs a comparison for all rules together: nothing is wrong, and nothing was.
        if rules or not good_from <= value <= good_to:
            steps += [step for check in checks if (step := _compare(memory, check, value, arrival)) is not None]
        for check in rates:
            rate = _rate_per_s(memory.samples.setdefault(check.fingerprint, []), check.span_ms, at_ms, value)
            if rate is not None and (step := _compare(memory, check, rate, arrival)) is not None:
                steps.append(step)
    return counted


def is_news(memory: DeviceMemory, at_ms: int, arrived_ms: int) -> bool:
    """Whether a message of a time, that has not been taken in yet, is newer than all before."""
    return at_ms > memory.newest_ms or _clock_was_set_back(at_ms, memory.newest_ms, arrived_ms)


def observe_window(memory: DeviceMemory, plan: Plan, closed: ClosedWindow, arrival: Arrival) -> list[Step]:
    """Take a closed window in, or a revision of the newest one; those before it count no more.

    Args:
        memory: Of the device; changed in place.
        plan: Of the device.
        closed: The window. What it does not have changes nothing.
        arrival: Of its record; the time is the end of the window, at the most when the record was written.
    """
    if closed.version <= memory.windows.get(closed.window, (-1, 0)):
        return []
    memory.windows[closed.window] = closed.version
    memory.heard_ms = memory.heard_ms or arrival.arrived_ms
    checks = plan.windows.get(closed.window, ())
    values = closed.values(checks)
    found = (None if (value := values[check.rule_id]) is None else _compare(memory, check, value, arrival) for check in checks)
    return [step for step in found if step is not None]


def due_ms(memory: DeviceMemory, plan: Plan, listening_since_ms: int) -> int:
    """From when on `tick` has something to do if nothing more comes; `NEVER_MS` when it never has."""
    due = min((held.escalates_ms for held in memory.rules.values()), default=NEVER_MS)
    for check in _missable(memory, plan):
        if check.rule_id not in memory.rules:
            due = min(due, _silent_since(memory, check, listening_since_ms)[0] + check.for_ms)
    return due


def tick(memory: DeviceMemory, plan: Plan, listening_since_ms: int, now_ms: int) -> list[Step]:
    """Let time go on to when everything that had arrived is in the memory.

    Args:
        memory: Of the device; changed in place.
        plan: Of the device.
        listening_since_ms: Begin of the stretch of time in which somebody listened without a break: before it nothing can be missed.
        now_ms: Until when somebody listened.
    """
    steps: list[Step] = []
    for rule_id, held in memory.rules.items():
        if held.escalates_ms <= now_ms:
            held.escalates_ms = NEVER_MS
            steps.append(Escalate(rule_id, held.alarm_id))
    for check in _missable(memory, plan):
        if check.rule_id in memory.rules:
            continue
        since_ms, offset = _silent_since(memory, check, listening_since_ms)
        if since_ms + check.for_ms <= now_ms:
            held = memory.rules[check.rule_id] = RuleMemory(check.fingerprint, since_ms, offset)
            steps.append(Raise(check, held, since_ms + check.for_ms, check.for_ms / 1000))
    return steps


def _rate_per_s(samples: list[tuple[int, float]], span_ms: int, at_ms: int, value: float) -> float | None:
    """The mean rate since the youngest value that is at least as old as the span; None before there is one.

    Of the values in between as many are kept as are needed to find one that is older than the span by a small part of it at the most.
    """
    from_ms = at_ms - span_ms
    while len(samples) > 1 and samples[1][0] <= from_ms:
        del samples[0]
    if not samples or at_ms - samples[-1][0] >= span_ms / SAMPLES_PER_SPAN:
        samples.append((at_ms, value))
    reference_ms, reference = samples[0]
    return (value - reference) * 1000 / (at_ms - reference_ms) if reference_ms <= from_ms else None


def _compare(memory: DeviceMemory, check: Check, value: float, arrival: Arrival) -> Step | None:
    """Where a value of a rule stands, and what follows from how long it has stood there."""
    held = memory.rules.get(check.rule_id)
    if held is not None and held.alarm_id:
        return _watch_over(memory, check, held, value, arrival.at_ms)
    if not check.limits.breached(value):
        memory.rules.pop(check.rule_id, None)
        return None
    if held is None:
        held = memory.rules[check.rule_id] = RuleMemory(check.fingerprint, arrival.at_ms, arrival.offset)
    return Raise(check, held, arrival.at_ms, value) if arrival.at_ms - held.since_ms >= check.for_ms else None


def _watch_over(memory: DeviceMemory, check: Check, held: RuleMemory, value: float, at_ms: int) -> Step | None:
    if not check.limits.cleared(value):
        held.clearing_since_ms = None
        return None
    if held.clearing_since_ms is None:
        held.clearing_since_ms = at_ms
    if at_ms - held.clearing_since_ms < check.clear_for_ms:
        return None
    del memory.rules[check.rule_id]
    return Clear(check.rule_id, held.alarm_id, at_ms, value)


def _hear(memory: DeviceMemory, plan: Plan, metrics: Mapping[str, float], arrival: Arrival) -> None:
    heard, (_, arrived_ms, offset) = memory.heard, arrival
    for name in plan.missing_metrics:
        known = heard.get(name)
        # With the first message of the device at all the time begins in which something can be missed.
        if known is None:
            heard[name] = Heard(arrived_ms, offset)
        elif name in metrics:
            known.arrived_ms = max(known.arrived_ms, arrived_ms)
            known.offset = offset


def _found_again(memory: DeviceMemory, plan: Plan, metrics: Mapping[str, float], counted: list[str], arrived_ms: int) -> list[Step]:
    steps: list[Step] = []
    for check in plan.missing:
        held = memory.rules.get(check.rule_id)
        if held is not None and check.metric in counted:
            del memory.rules[check.rule_id]
            steps.append(Clear(check.rule_id, held.alarm_id, arrived_ms, metrics.get(check.metric)))
    return steps


def _missable(memory: DeviceMemory, plan: Plan) -> tuple[MissingCheck, ...]:
    """What can be missed: of a device that only windows tell of, which may be gone when they close, nothing."""
    return plan.missing if memory.newest_ms >= 0 else ()


def _silent_since(memory: DeviceMemory, check: MissingCheck, listening_since_ms: int) -> tuple[int, int]:
    """Since when a metric is missed, and the last record that it came with."""
    heard = memory.heard.get(check.metric)
    arrived_ms, offset = (memory.heard_ms, memory.heard_offset) if heard is None else (heard.arrived_ms, heard.offset)
    return max(arrived_ms, listening_since_ms), offset


def _clock_was_set_back(at_ms: int, newest_ms: int, arrived_ms: int) -> bool:
    return newest_ms - at_ms > CLOCK_SET_BACK_MS and arrived_ms - newest_ms > CLOCK_SET_BACK_MS


def _begin_anew(memory: DeviceMemory, checks: tuple[Check, ...]) -> None:
    for check in checks:
        memory.samples.pop(check.fingerprint, None)
        held = memory.rules.get(check.rule_id)
        if held is None:
            continue
        held.clearing_since_ms = None
        if not held.alarm_id:
            del memory.rules[check.rule_id]
