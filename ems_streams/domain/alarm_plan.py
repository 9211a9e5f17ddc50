"""What has to be looked at for a device: the rules that concern it, made ready for its messages."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, NamedTuple

import orjson

from ems_streams.domain.alarm_conditions import Limits, MissingData, RateOfChange, Threshold, WindowStatistic
from ems_streams.domain.alarm_rule_set import RuleSet
from ems_streams.domain.alarm_rules import AlarmRule

ANY_TELEMETRY: Final = ""
"""In place of the name of a metric: whatever it is."""
_PLANS_MAX: Final = 10_000
_WORDS: Final = frozenset({"title", "description", "message"})


@dataclass(frozen=True, slots=True)
class Check:
    """What one rule does with a value: of its metric, of the rate of that, or of a statistic of a window.

    Attributes:
        rule: The rule.
        rule_id: Its id.
        fingerprint: Of what the rule decides by; a state that another one made is void.
        limits: What the value is compared with.
        for_ms: How long it must be beyond before it raises.
        clear_for_ms: How long it must be good before it clears.
        span_ms: Of the rate; 0 for the value itself.
        of_window: Whether it looks at closed windows.
    """

    rule: AlarmRule
    rule_id: str
    fingerprint: str
    limits: Limits
    for_ms: int = 0
    clear_for_ms: int = 0
    span_ms: int = 0
    of_window: bool = False


@dataclass(frozen=True, slots=True)
class MissingCheck:
    """What one rule does with time in which nothing of a metric, or `ANY_TELEMETRY`, has come."""

    rule: AlarmRule
    rule_id: str
    fingerprint: str
    metric: str
    for_ms: int


class MetricPlan(NamedTuple):
    """All checks of one metric.

    Attributes:
        name: Of the metric.
        good_from: No rule that looks at the value itself finds anything wrong with values from here ...
        good_to: ... up to here.
        checks: One for each rule that looks at the value itself; none when only the absence of the metric matters.
        rates: One for each rule that looks at its rate, and so at every value.
    """

    name: str
    good_from: float
    good_to: float
    checks: tuple[Check, ...]
    rates: tuple[Check, ...]


@dataclass(slots=True)
class Plan:
    """All checks of a device, by what they look at.

    Attributes:
        metrics: Checks of each metric that matters, also of those of which only the absence does.
        missing: Checks of absence.
        missing_metrics: What those look at, without `ANY_TELEMETRY`.
        windows: Checks of windows by their kind, such as `15m`.
        fingerprints: Of every rule in it, by its id.
    """

    metrics: tuple[MetricPlan, ...] = ()
    missing: tuple[MissingCheck, ...] = ()
    missing_metrics: frozenset[str] = frozenset()
    windows: Mapping[str, tuple[Check, ...]] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    @property
    def ignores_telemetry(self) -> bool:
        """Whether messages have nothing to be looked at."""
        return not (self.metrics or self.missing)


NOTHING: Final = Plan()


class Plans:
    """Plans of the devices of a partition, for as long as its rules stay as they are; after a change there must be another one of this.

    Attributes:
        empty: No device has anything to be looked at.
        with_windows: Some may have closed windows to be looked at.
    """

    def __init__(self, rules: RuleSet) -> None:
        enabled = [rule for rule in rules.by_id.values() if rule.enabled]
        self.empty = not enabled
        self.with_windows = any(isinstance(rule.condition, WindowStatistic) for rule in enabled)
        self._rules = rules
        self._by_rules: dict[tuple[str, ...], Plan] = {}

    def of(self, device_type: str, site_id: int, serial_number: str) -> Plan:
        """The plan of a device; the very same one for all that the same rules concern."""
        rules = self._rules.concerning(device_type, site_id, serial_number)
        if not rules:
            return NOTHING
        ids = tuple([rule.id for rule in rules])
        plan = self._by_rules.get(ids)
        if plan is None:
            if len(self._by_rules) >= _PLANS_MAX:
                self._by_rules.clear()
            plan = self._by_rules[ids] = plan_of(rules)
        return plan


def plan_of(rules: Iterable[AlarmRule]) -> Plan:
    """The plan of a device that these rules concern."""
    by_metric: dict[str, list[Check]] = {}
    windows: dict[str, list[Check]] = {}
    missing: list[MissingCheck] = []
    fingerprints: dict[str, str] = {}
    for rule in rules:
        condition, print_ = rule.condition, fingerprint(rule)
        fingerprints[rule.id] = print_
        if isinstance(condition, MissingData):
            missing.append(MissingCheck(rule, rule.id, print_, condition.metric or ANY_TELEMETRY, _ms(condition.for_s)))
            if condition.metric is not None:
                by_metric.setdefault(condition.metric, [])
        elif isinstance(condition, WindowStatistic):
            check = Check(rule, rule.id, print_, condition.limits, of_window=True)
            windows.setdefault(condition.window, []).append(check)
        else:
            by_metric.setdefault(condition.metric, []).append(_check(rule, print_, condition))
    return Plan(
        tuple(_metric_plan(name, checks) for name, checks in by_metric.items()),
        tuple(missing),
        frozenset(check.metric for check in missing) - {ANY_TELEMETRY},
        {window: tuple(checks) for window, checks in windows.items()},
        fingerprints,
    )


def _metric_plan(name: str, every: Sequence[Check]) -> MetricPlan:
    checks = tuple(check for check in every if not check.span_ms)
    good_from = max((check.limits.raise_at for check in checks if not check.limits.above), default=-math.inf)
    good_to = min((check.limits.raise_at for check in checks if check.limits.above), default=math.inf)
    return MetricPlan(name, good_from, good_to, checks, tuple(check for check in every if check.span_ms))


def fingerprint(rule: AlarmRule) -> str:
    """Of all that decides whom the rule concerns, when it raises and how much that matters; not of its words."""
    deciding = rule.model_dump(mode="json", by_alias=True, exclude=set(_WORDS))
    return blake2b(orjson.dumps(deciding, option=orjson.OPT_SORT_KEYS), digest_size=6).hexdigest()


def _check(rule: AlarmRule, print_: str, condition: Threshold | RateOfChange) -> Check:
    span_ms = max(1, _ms(condition.over_s)) if isinstance(condition, RateOfChange) else 0
    return Check(rule, rule.id, print_, condition.limits, _ms(condition.for_s), _ms(condition.clear_for_s), span_ms)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
