"""Rules, and a device under them, for the tests of alarms."""

from collections.abc import Iterable, Mapping
from typing import Any

from ems_streams.domain.alarm_folds import Arrival, Clear, Escalate, Raise, Step, observe, tick
from ems_streams.domain.alarm_memory import DeviceMemory, decode, encode
from ems_streams.domain.alarm_plan import Plans
from ems_streams.domain.alarm_rule_set import rule_set_of
from ems_streams.domain.alarm_rules import AlarmRule
from tests.unit.domain.builders import NOON_MS

THRESHOLD: dict[str, Any] = {"kind": "threshold", "metric": "temperature", "above": 80.0, "clearAt": 75.0, "forS": 10.0}


def rule(condition: Mapping[str, Any], rule_id: str = "r", **more: Any) -> AlarmRule:
    return AlarmRule.model_validate({"id": rule_id, "title": "Too much", "severity": "WARNING", "condition": condition, **more})


class Device:
    """A device under some rules, in seconds from noon; each step of an alarm is noted as what, rule and second."""

    def __init__(self, *rules: AlarmRule, stored: bool = True) -> None:
        self.plans = Plans(rule_set_of(rules))
        self.memory = DeviceMemory("A", 1, 7, "METER")
        self.happened: list[tuple[str, str, float]] = []
        self._stored = stored
        self._offset = 0

    def send(self, at_s: float, /, arrived_s: float | None = None, **metrics: float) -> list[Step]:
        arrived_ms = NOON_MS + round((at_s if arrived_s is None else arrived_s) * 1000)
        arrival = Arrival(min(NOON_MS + round(at_s * 1000), arrived_ms), arrived_ms, self._offset)
        self._offset += 1
        return self._take(observe(self.memory, self.memory.plan_by(self.plans), metrics, arrival))

    def wait(self, now_s: float, listening_since_s: float = -1e6) -> list[Step]:
        since_ms, now_ms = NOON_MS + round(listening_since_s * 1000), NOON_MS + round(now_s * 1000)
        return self._take(tick(self.memory, self.memory.plan_by(self.plans), since_ms, now_ms))

    def rules(self, *rules: AlarmRule) -> None:
        self.plans = Plans(rule_set_of(rules))

    def _take(self, steps: list[Step]) -> list[Step]:
        for step in steps:
            if isinstance(step, Raise):
                # As the agent does.
                step.held.alarm_id = f"{step.check.rule_id}@{step.held.offset}"
                self.happened.append(("raised", step.check.rule_id, (step.at_ms - NOON_MS) / 1000))
            elif isinstance(step, Clear):
                self.happened.append(("cleared", step.rule_id, (step.at_ms - NOON_MS) / 1000))
            elif isinstance(step, Escalate):
                self.happened.append(("escalated", step.rule_id, 0))
        if self._stored:
            # Nothing may depend on what is not stored.
            self.memory = decode(encode(self.memory))
        return steps


def outcome(
    rules: Iterable[AlarmRule], samples: Iterable[tuple[float, float]], metric: str = "temperature"
) -> list[tuple[str, str, float]]:
    device = Device(*rules)
    for at_s, value in samples:
        device.send(at_s, arrived_s=1e5, **{metric: value})
    return device.happened
