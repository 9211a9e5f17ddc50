"""What rules would have raised on telemetry of the past."""

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from ems_streams.dev.simulator import FleetOptions, fleet_readings
from ems_streams.domain.alarm_conditions import MissingData, RateOfChange, Threshold, WindowStatistic
from ems_streams.domain.alarm_rules import AlarmRule
from ems_streams.domain.alarm_table import AlarmInput, AlarmState
from ems_streams.domain.alarm_trial import Trial, TrialResult
from ems_streams.domain.events import Severity
from ems_streams.domain.telemetry_record import TelemetryRecord
from ems_streams.domain.timestamps import from_epoch_ms
from ems_streams.domain.windows import WindowPolicy
from ems_streams.rules.builtin import builtin_rules
from tests.unit.domain.builders import NOON_MS

HOT = {"kind": "threshold", "metric": "temperature", "above": 70, "clearAt": 65}
MODEL_STARTS_S = {"winter": 1_737_417_600.0, "summer": 1_750_464_000.0}


def a_rule(rule_id: str = "hot", **fields: Any) -> AlarmRule:
    return AlarmRule.model_validate({"id": rule_id, "title": "Hot", "severity": "WARNING", "condition": HOT} | fields)


def record(at_s: float, serial_number: str = "B", site_id: int = 1, device_type: str = "BATTERY", **metrics: float) -> TelemetryRecord:
    return TelemetryRecord(serial_number, 1, site_id, device_type, metrics or {"other": 1.0}, NOON_MS + round(at_s * 1000), None)


def tried(rules: Iterable[AlarmRule], records: Iterable[TelemetryRecord], until_s: float | None = None) -> TrialResult:
    trial = Trial(rules, WindowPolicy(), "recorded.csv")
    for offset, each in enumerate(records):
        trial.take(each, None, 0, offset)
    return trial.finish(None if until_s is None else NOON_MS + round(until_s * 1000))


def temperatures(*values: float, every_s: float = 10.0) -> list[TelemetryRecord]:
    return [record(index * every_s, temperature=value) for index, value in enumerate(values)]


def times(result: TrialResult) -> list[tuple[float, float | None]]:
    def seconds(moment: Any) -> Any:
        return None if moment is None else (moment - from_epoch_ms(NOON_MS)).total_seconds()

    return [(seconds(alarm.raised_at), seconds(alarm.cleared_at)) for alarm in result.alarms]


def test_an_alarm_is_raised_and_cleared_where_the_limits_say_so() -> None:
    result = tried([a_rule()], temperatures(60, 71, 68, 66, 65, 71, 72))

    assert times(result) == [(10.0, 40.0), (50.0, None)]
    (judged,) = result.by_rule
    assert (judged.alarms, judged.alarmed_devices, judged.open, judged.devices) == (2, 1, 1, 1)
    assert (judged.raised_s, judged.longest_s) == (40.0, 30.0)
    assert (result.messages, result.devices, result.from_ms, result.to_ms) == (7, 1, NOON_MS, NOON_MS + 60_000)
    assert result.alarms[0].evidence.topic == "recorded.csv"
    assert result.alarms[0].evidence.offset == 1


def test_what_is_to_escalate_does_since_nobody_acknowledges() -> None:
    result = tried([a_rule(escalate={"afterS": 25, "severity": "CRITICAL"})], temperatures(60, 71, 71, 71, 71, 60))

    (alarm,) = result.alarms
    assert (alarm.severity, alarm.state) == (Severity.CRITICAL, AlarmState.CLEARED)
    assert alarm.escalated_at == alarm.raised_at + timedelta(seconds=25)
    assert result.by_rule[0].escalated == 1


def test_an_alarm_that_stands_at_the_end_escalates_until_then_and_no_later() -> None:
    rules = [a_rule(escalate={"afterS": 60, "severity": "CRITICAL"})]

    assert [tried(rules, temperatures(60, 71), until_s).by_rule[0].escalated for until_s in (69.0, 70.0)] == [0, 1]


def test_missing_data_are_found_in_a_pause_and_at_the_end() -> None:
    rule = a_rule(condition={"kind": "missingData", "metric": "temperature", "forS": 60}, escalate={"afterS": 30, "severity": "CRITICAL"})
    records = [record(0, temperature=1), record(50), record(100), record(200, temperature=1), record(250, temperature=1)]

    assert times(tried([rule], records)) == [(60.0, 200.0)]
    assert tried([rule], records).alarms[0].severity is Severity.CRITICAL
    assert times(tried([rule], records, until_s=309)) == [(60.0, 200.0)]
    assert times(tried([rule], records, until_s=310)) == [(60.0, 200.0), (310.0, None)]


def test_a_message_in_time_is_no_missing_data() -> None:
    rule = a_rule(condition={"kind": "missingData", "forS": 60})

    assert times(tried([rule], [record(at_s) for at_s in (0, 60, 120, 180)])) == []
    assert times(tried([rule], [record(at_s) for at_s in (0, 60, 121, 180)])) == [(120.0, 121.0)]


def test_windows_are_made_of_the_data_also_those_that_it_ends_in() -> None:
    condition = {"kind": "windowStatistic", "window": "15m", "statistic": "mean", "metric": "temperature", "above": 70, "clearAt": 60}
    quarters = [50.0, 80.0, 65.0, 55.0, 90.0]
    records = [record(quarter * 900 + second, temperature=value) for quarter, value in enumerate(quarters) for second in range(0, 900, 60)]

    assert times(tried([a_rule(condition=condition)], records)) == [(1800.0, 3600.0), (4500.0, None)]
    energy = a_rule(condition={"kind": "windowStatistic", "window": "15m", "statistic": "energyKwh", "above": 1})
    delivered = [record(second, powerKw=8.0 if second >= 900 else 2.0) for second in range(0, 1860, 30)]
    assert [round(alarm.value or 0.0, 2) for alarm in tried([energy], delivered).alarms] == [2.0]


def test_what_comes_late_neither_raises_nor_clears() -> None:
    result = tried(
        [a_rule()], [*temperatures(60, 71, 72), record(5, temperature=99), record(15, temperature=10), record(30, temperature=60)]
    )

    assert times(result) == [(10.0, 30.0)]


def test_a_device_that_moves_takes_no_alarm_along() -> None:
    records = [
        record(0, temperature=71),
        record(10, site_id=2, temperature=71),
        record(5, temperature=71),
        record(20, site_id=2, temperature=60),
    ]
    result = tried([a_rule(scope={"siteIds": [1]}), a_rule("everywhere")], records)

    assert [(alarm.rule_id, alarm.site_id, alarm.clear_cause) for alarm in result.alarms] == [
        ("everywhere", 1, AlarmInput.DEVICE_MOVED),
        ("hot", 1, AlarmInput.DEVICE_MOVED),
        ("everywhere", 2, AlarmInput.CONDITION_OVER),
    ]


def test_rules_that_look_at_nothing_are_known_by_their_counts() -> None:
    rules = [
        a_rule(),
        a_rule("meters", scope={"deviceTypes": ["METER"]}),
        a_rule("off", enabled=False),
        a_rule("typo", condition={**HOT, "metric": "temprature"}),
    ]
    result = tried(rules, temperatures(60))

    found = {each.rule.id: (each.devices, each.devices_with_metric) for each in result.by_rule}
    assert found == {"hot": (1, 1), "meters": (0, 0), "off": (0, 0), "typo": (1, 0)}


def test_hysteresis_and_duration_make_one_alarm_of_a_noisy_signal() -> None:
    random = Random(7)
    values = [70 + 6 * math.sin(index / 300 * math.pi * 2 - math.pi / 2) + random.gauss(0, 1.0) for index in range(300)]
    plain = a_rule("plain", condition={"kind": "threshold", "metric": "temperature", "above": 70})
    steady = a_rule("steady", condition={**HOT, "above": 70, "clearAt": 67, "forS": 30})

    counts = {each.rule.id: each.alarms for each in tried([plain, steady], temperatures(*values)).by_rule}

    assert counts["steady"] == 1
    assert counts["plain"] > 5


def test_nothing_comes_of_nothing() -> None:
    result = tried([a_rule()], [])

    assert (result.alarms, result.messages, result.from_ms, result.by_rule[0].devices) == ([], 0, None, 0)


@pytest.mark.parametrize("season", MODEL_STARTS_S)
def test_the_built_in_rules_are_quiet_on_a_day_of_the_simulated_fleet(season: str) -> None:
    options = FleetOptions(
        seed=3, devices=16, sites=2, rate=16 / 60, duration_s=86_400.0, start_ms=NOON_MS, model_start_s=MODEL_STARTS_S[season]
    )
    records = (
        TelemetryRecord(each.device.serial_number, each.device.index, each.device.site_id, each.device.device_type, each.metrics, each.timestamp_ms, each.message_id)
        for each in fleet_readings(options)
    )  # fmt: skip

    result = tried(builtin_rules(), records)

    assert [(alarm.serial_number, alarm.rule_id, alarm.value) for alarm in result.alarms] == []
    assert [each.rule.id for each in result.by_rule if not each.devices_with_metric] == []


def signal_of(rule: AlarmRule) -> Iterator[TelemetryRecord]:
    """Good for long enough, bad for long enough, and good again."""
    (device_type,) = rule.scope.device_types or ("BATTERY",)
    condition = rule.condition
    if isinstance(condition, MissingData):
        yield from (record(at_s, device_type=device_type, **{condition.metric or "any": 1.0}) for at_s in (0, condition.for_s + 60))
        return
    limits = condition.limits
    span = abs(limits.raise_at) * 0.02 + 0.01
    good, bad = (limits.clear_at - span, limits.raise_at + span) if limits.above else (limits.clear_at + span, limits.raise_at - span)
    if isinstance(condition, RateOfChange):
        values: Sequence[float] = _ramp(good, bad, condition.over_s)
    elif isinstance(condition, WindowStatistic):
        values = [*[good] * 90, *[bad] * 180, *[good] * 180]
    else:
        assert isinstance(condition, Threshold)
        for_, clear_for = round(condition.for_s / 10) + 2, round(condition.clear_for_s / 10) + 2
        values = [*[good] * 5, *[bad] * for_, *[good] * clear_for]
    for index, value in enumerate(values):
        yield record(index * 10.0, device_type=device_type, **{str(condition.metric): value})


def _ramp(good_per_s: float, bad_per_s: float, over_s: float) -> list[float]:
    steps = round(over_s / 10) + 30
    values, value = [], 20.0
    for rate in (*[0.0] * steps, *[bad_per_s] * steps, *[good_per_s * 0.5] * steps):
        value += rate * 10.0
        values.append(value)
    return values


@pytest.mark.parametrize("rule", builtin_rules(), ids=lambda rule: rule.id)
def test_each_built_in_rule_raises_one_alarm_when_it_should_and_clears_it(rule: AlarmRule) -> None:
    (alarm,) = tried([rule], signal_of(rule)).alarms

    assert (alarm.rule_id, alarm.state) == (rule.id, AlarmState.CLEARED)
    assert "{" not in alarm.message
    assert "?" not in alarm.message
