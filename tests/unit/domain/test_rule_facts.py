"""How each kind of rule stands at a device, from memories that the folds themselves have made."""

from datetime import datetime
from typing import Any

from ems_streams.domain.alarm_folds import Arrival, Raise, observe
from ems_streams.domain.alarm_memory import DeviceMemory
from ems_streams.domain.alarm_plan import Plans
from ems_streams.domain.alarm_raising import raised
from ems_streams.domain.alarm_rule_set import RuleSet
from ems_streams.domain.alarm_rules import AlarmRule
from ems_streams.domain.alarms import Alarm, AlarmEvidence
from ems_streams.domain.device_facts import RuleFacts
from ems_streams.domain.rule_facts import RULES_MAX, Surroundings, rule_facts
from ems_streams.domain.timestamps import to_epoch_ms

NOON_MS = 1_780_315_200_000


class Device:
    """One device with one rule, to which the folds are applied as the agent does."""

    def __init__(self, **condition: Any) -> None:
        given = {
            "id": "rule",
            "title": "Rule",
            "severity": "WARNING",
            "condition": condition,
            "escalate": {"afterS": 60, "severity": "CRITICAL"},
        }
        self.rule = AlarmRule.model_validate(given)
        rules = RuleSet()
        rules.put(self.rule)
        self.plans = Plans(rules)
        self.memory = DeviceMemory("S", 7, 1, "METER")
        self.latest: dict[str, float] = {}
        self.alarms: dict[str, Alarm] = {}
        self.offset = -1

    def send(self, at_s: float, **metrics: float) -> None:
        self.offset += 1
        self.latest |= metrics
        at_ms = NOON_MS + round(at_s * 1000)
        for step in observe(self.memory, self.memory.plan_by(self.plans), metrics, Arrival(at_ms, at_ms, self.offset)):
            if isinstance(step, Raise):
                evidence = AlarmEvidence(topic="device-telemetry", partition=2, offset=step.held.offset)
                alarm = raised(self.memory, step, evidence, "a" * 32)
                self.alarms[alarm.alarm_id] = alarm

    def stands(self, *, with_memory: bool = True) -> RuleFacts:
        around = Surroundings(2, self.latest, self.alarms, 0, "device-telemetry", "device-aggregates")
        [found] = rule_facts([self.rule], self.memory if with_memory else None, around)
        return found


def ms(moment: datetime | None) -> int:
    assert moment is not None
    return to_epoch_ms(moment)


def hot(**changes: Any) -> Device:
    return Device(**{"kind": "threshold", "metric": "t", "above": 80.0, "clearAt": 70.0, "forS": 30.0, "clearForS": 10.0} | changes)


def test_a_value_within_the_limit_is_quiet_and_says_which_value() -> None:
    device = hot()
    device.send(0, t=20)
    found = device.stands()
    assert (found.standing, found.value, found.limit, found.why) == ("QUIET", 20, 80, "t is 20, within the limit")
    assert found.condition == "t above 80 for 30 s"


def test_a_device_that_never_sent_the_metric_is_quiet() -> None:
    assert hot().stands(with_memory=False).why == "the device has never sent t"


def test_a_breach_that_has_not_lasted_is_pending_with_since_when_and_until_when() -> None:
    device = hot()
    device.send(0, t=20)
    device.send(1, t=90)
    device.send(11, t=91)
    found = device.stands()
    assert (found.standing, found.value) == ("PENDING", 91)
    assert (ms(found.since), ms(found.due_at)) == (NOON_MS + 1000, NOON_MS + 31_000)
    assert str(found.evidence) == "device-telemetry[2]@1"
    assert "for 10 s of 30 s so far" in found.why


def test_what_the_rule_remembered_before_it_was_changed_does_not_count() -> None:
    device = hot()
    device.send(0, t=90)
    device.rule = hot(above=85.0).rule
    found = device.stands()
    assert (found.standing, found.why) == ("QUIET", "t is 90, beyond the limit; looked at with its next value")


def test_of_very_many_rules_those_with_an_alarm_are_told_first() -> None:
    device = hot(forS=0.0)
    device.send(0, t=90)
    others = [device.rule.model_copy(update={"id": f"a-{number}"}) for number in range(RULES_MAX)]
    around = Surroundings(2, device.latest, device.alarms, 0, "device-telemetry", "device-aggregates")
    found = rule_facts([*others, device.rule], device.memory, around)
    assert (len(found), found[0].rule_id, found[0].standing) == (RULES_MAX, "rule", "RAISED")


def test_a_raised_alarm_stands_with_the_value_that_raised_it_and_when_it_escalates() -> None:
    device = hot(forS=0.0)
    device.send(0, t=90)
    found = device.stands()
    assert (found.standing, found.value, found.alarm_id) == ("RAISED", 90, "a" * 32)
    assert ms(found.escalates_at) == NOON_MS + 60_000
    assert str(found.evidence) == "device-telemetry[2]@0"


def test_an_alarm_whose_value_is_good_for_too_short_a_time_is_clearing() -> None:
    device = hot(forS=0.0)
    device.send(0, t=90)
    device.send(5, t=60)
    found = device.stands()
    assert found.standing == "CLEARING"
    assert ms(found.due_at) == NOON_MS + 15_000


def test_missing_data_are_waited_for_from_the_last_arrival_on() -> None:
    device = Device(kind="missingData", metric="t", forS=120.0)
    assert (device.stands().standing, "never" not in device.stands().why) == ("QUIET", True)
    device.send(0, t=1)
    found = device.stands()
    assert (found.standing, ms(found.due_at)) == ("WAITING", NOON_MS + 120_000)


def test_windows_and_rates_say_what_they_wait_for() -> None:
    window = Device(kind="windowStatistic", window="15m", statistic="mean", metric="t", above=5.0)
    assert window.stands().why == "no window of 15m has closed since the rule is there"
    rate = Device(kind="rateOfChange", metric="t", abovePerS=1.0, overS=60.0)
    rate.send(0, t=1)
    assert rate.stands().standing == "QUIET"
    assert rate.stands().condition == "change of t per second over 60 s above 1"
