"""When alarms are raised and cleared: hysteresis, durations, rates, missing data, windows, and what comes late, twice or from a wrong clock."""

import math
import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.alarm_folds import Arrival, Escalate, Raise, due_ms, observe, observe_window, tick
from ems_streams.domain.alarm_memory import DeviceMemory
from ems_streams.domain.alarm_plan import Plans
from ems_streams.domain.alarm_raising import raised
from ems_streams.domain.alarm_rule_set import rule_set_of
from ems_streams.domain.alarm_windows import ClosedWindow
from ems_streams.domain.alarms import AlarmEvidence
from ems_streams.domain.due_index import NEVER_MS
from ems_streams.domain.timestamps import from_epoch_ms
from tests.unit.domain.alarm_cases import THRESHOLD, Device, outcome, rule
from tests.unit.domain.builders import NOON_MS

PLAIN = {"kind": "threshold", "metric": "temperature", "above": 80.0}
HOT = rule(THRESHOLD)


def test_a_condition_must_hold_for_its_duration_and_is_over_only_behind_its_hysteresis() -> None:
    device = Device(HOT)
    for at_s, value in [(0, 79), (5, 81), (14.9, 99), (15, 81), (20, 78), (25, 75.1), (30, 82), (35, 75), (40, 60)]:
        device.send(at_s, temperature=value)
    assert device.happened == [("raised", "r", 15), ("cleared", "r", 35)]


def test_one_good_value_begins_the_duration_anew_also_within_the_hysteresis() -> None:
    assert outcome([HOT], [(0, 81), (8, 78), (9, 81), (18, 81)]) == []
    assert outcome([HOT], [(0, 81), (8, 78), (9, 81), (19, 81)]) == [("raised", "r", 19)]


def test_it_can_be_asked_to_be_good_for_a_while() -> None:
    slow = rule(THRESHOLD | {"forS": 0.0, "clearForS": 10.0})
    assert outcome([slow], [(0, 81), (5, 70), (10, 77), (12, 70), (21, 70), (22, 70)]) == [("raised", "r", 0), ("cleared", "r", 22)]


@pytest.mark.parametrize(
    ("limits", "raises", "holds", "clears"),
    [
        ({"above": 80.0}, 80.1, None, 80.0),
        ({"above": 80.0, "clearAt": 75.0}, 80.1, 75.1, 75.0),
        ({"below": 10.0}, 9.9, None, 10.0),
        ({"below": 10.0, "clearAt": 15.0}, 9.9, 14.9, 15.0),
        ({"below": -5.0, "clearAt": -5.0}, -5.1, None, -5.0),
    ],
)
def test_both_sides_of_every_limit(limits: dict[str, float], raises: float, holds: float | None, clears: float) -> None:
    only = rule({"kind": "threshold", "metric": "temperature", **limits})
    band = [] if holds is None else [(2.0, holds)]
    assert outcome([only], [(0, clears), (1, raises), *band, (3, clears)]) == [("raised", "r", 1), ("cleared", "r", 3)]


def noisy_day(seed: int = 7) -> list[tuple[float, float]]:
    """Every 10 s for 24 h: a slow wave that crosses 80 upwards and downwards once, with noise of a standard deviation of 1.5."""
    noise = random.Random(seed)
    return [
        (at_s, 77.0 + 8.0 * math.sin(2 * math.pi * (at_s / 86_400 - 0.25)) + noise.gauss(0.0, 1.5))
        for at_s in (number * 10.0 for number in range(8_640))
    ]


def test_a_noisy_signal_around_the_threshold_raises_once_and_clears_once(record_property: Any) -> None:
    careful = rule(PLAIN | {"clearAt": 74.0, "forS": 60.0})
    plain = rule(PLAIN)
    steps = {name: [what for what, _, _ in outcome([each], noisy_day())] for name, each in (("careful", careful), ("plain", plain))}
    counts = {name: (each.count("raised"), each.count("cleared")) for name, each in steps.items()}
    record_property("raised_and_cleared", str(counts))
    assert counts == {"careful": (1, 1), "plain": (323, 323)}


values = st.sampled_from([60.0, 76.0, 81.0, 90.0])
series = st.lists(st.tuples(st.integers(0, 120).map(float), values), max_size=40)


@given(series)
def test_what_is_late_or_comes_twice_changes_nothing(samples: list[tuple[float, float]]) -> None:
    """The outcome is that of the values whose time is after all before; the others could as well not be there."""
    counting, newest_s = [], -1.0
    for at_s, value in samples:
        if at_s > newest_s:
            counting.append((at_s, value))
            newest_s = at_s
    assert outcome([HOT], samples) == outcome([HOT], counting)


@given(series, st.randoms(use_true_random=False))
def test_repetitions_anywhere_behind_change_nothing(samples: list[tuple[float, float]], chance: random.Random) -> None:
    ordered = sorted(dict(samples).items())
    repeated: list[tuple[float, float]] = []
    for number, sample in enumerate(ordered):
        repeated.append(sample)
        repeated += [chance.choice(ordered[: number + 1]) for _ in range(chance.randrange(3))]
    assert outcome([HOT], repeated) == outcome([HOT], ordered)


@given(series)
def test_raising_and_clearing_take_turns_and_begin_with_raising(samples: list[tuple[float, float]]) -> None:
    rate = rule({"kind": "rateOfChange", "metric": "temperature", "abovePerS": 1.0, "overS": 5.0}, "rate")
    for rule_id in ("r", "rate"):
        steps = [what for what, which, _ in outcome([HOT, rate], sorted(samples)) if which == rule_id]
        assert steps == (["raised", "cleared"] * len(steps))[: len(steps)]


def test_metrics_that_come_apart_do_not_make_each_other_late() -> None:
    device = Device(rule(PLAIN), rule({"kind": "threshold", "metric": "voltage", "below": 200.0}, "v"))
    device.send(10, temperature=20)
    device.send(5, voltage=100)
    assert device.happened == [("raised", "v", 5)]


def test_a_clock_that_runs_ahead_shuts_nothing_out() -> None:
    device = Device(rule(PLAIN))
    device.send(1e6, arrived_s=0, temperature=20)
    device.send(1, arrived_s=1, temperature=90)
    device.send(1e6, arrived_s=2, temperature=20)
    assert device.happened == [("raised", "r", 1), ("cleared", "r", 2)]


def test_a_clock_that_was_set_back_counts_again_after_an_hour_and_no_backlog_does() -> None:
    device = Device(HOT)
    device.send(0, temperature=90)
    # Kept by the device from long ago, beside what it says now.
    device.send(-40_000, arrived_s=1, temperature=20)
    device.send(10, temperature=90)
    assert device.happened == [("raised", "r", 10)]
    device.send(-20_000, arrived_s=3_600, temperature=20)
    assert len(device.happened) == 1
    device.send(-20_000 + 11, arrived_s=3_611, temperature=20)
    assert device.happened[1:] == [("cleared", "r", -19_989)]
    # Durations do not reach over the step of the clock.
    device.send(-20_000 + 20, arrived_s=3_620, temperature=90)
    device.send(-20_000 + 30, arrived_s=3_630, temperature=90)
    assert device.happened[2:] == [("raised", "r", -19_970)]


def test_a_message_that_the_broker_delivers_again_after_hours_raises_nothing() -> None:
    device = Device(rule(PLAIN))
    for at_s, value in ((0, 90.0), (10, 20.0)):
        device.send(at_s, temperature=value)
    device.send(0, arrived_s=20_000, temperature=90)
    assert device.happened == [("raised", "r", 0), ("cleared", "r", 10)]


@pytest.mark.parametrize(
    ("unit", "limit"), [("PerS", 0.5), ("PerMinute", 30.0)],
)  # fmt: skip
def test_a_rate_is_taken_over_its_span(unit: str, limit: float) -> None:
    fast = rule({"kind": "rateOfChange", "metric": "temperature", f"above{unit}": limit, f"clearAt{unit}": limit / 5, "overS": 60.0})
    # A jump of 10 within 10 s is no rate above 0.5 per second over 60 s; 0.6 per second for a minute is one.
    jump = [(at_s, 20.0 if at_s < 100 else 30.0) for at_s in range(0, 300, 10)]
    assert outcome([fast], jump) == []
    ramp = [(at_s, 20.0 + 0.6 * max(0, min(at_s - 100, 200))) for at_s in range(0, 600, 10)]
    assert outcome([fast], ramp) == [("raised", "r", 160), ("cleared", "r", 350)]
    assert outcome([rule({"kind": "rateOfChange", "metric": "temperature", "belowPerS": -0.5, "overS": 60.0})], [(0, 90), (60, 50)]) == [
        ("raised", "r", 60)
    ]


def test_a_rate_needs_its_whole_span_and_little_memory_whatever_comes() -> None:
    fast = rule({"kind": "rateOfChange", "metric": "temperature", "abovePerS": 0.5, "overS": 60.0})
    device = Device(fast, stored=False)
    for number in range(59_999):
        device.send(number / 1000, temperature=number)
    assert device.happened == []
    device.send(60, temperature=60_000)
    assert device.happened == [("raised", "r", 60)]
    [samples] = device.memory.samples.values()
    assert len(samples) <= 34


MISSING = rule({"kind": "missingData", "forS": 60.0})
MISSING_SOC = rule({"kind": "missingData", "metric": "soc", "forS": 60.0}, "soc")


def test_missing_data_counts_only_while_somebody_listened() -> None:
    device = Device(MISSING)
    device.send(0, temperature=20)
    device.wait(59.9)
    device.wait(500, listening_since_s=450)
    assert device.happened == []
    device.wait(510, listening_since_s=450)
    assert device.happened == [("raised", "r", 510)]
    device.wait(9_999)
    device.send(520, temperature=20)
    assert device.happened[1:] == [("cleared", "r", 520)]
    device.wait(580)
    assert device.happened[2:] == [("raised", "r", 580)]


def test_a_metric_can_be_missing_while_others_come_also_one_that_never_came() -> None:
    device = Device(MISSING, MISSING_SOC)
    for at_s in range(0, 120, 10):
        device.send(at_s, temperature=20)
        device.wait(at_s)
    assert device.happened == [("raised", "soc", 60)]
    device.send(121, soc=50)
    assert device.happened[1:] == [("cleared", "soc", 121)]


def test_what_comes_late_keeps_from_raising_but_does_not_clear() -> None:
    device = Device(MISSING)
    device.send(10, temperature=20)
    device.send(5, arrived_s=50, temperature=20)
    device.wait(109)
    assert device.happened == []
    device.wait(111)
    device.send(10, arrived_s=112, temperature=20)
    assert device.happened == [("raised", "r", 110)]
    device.send(113, temperature=20)
    assert device.happened[1:] == [("cleared", "r", 113)]


def test_what_has_escalated_is_not_looked_at_again() -> None:
    only = rule(PLAIN, escalate={"afterS": 60.0, "severity": "CRITICAL"})
    plan, memory = Plans(rule_set_of([only])).of("METER", 7, "A"), DeviceMemory("A", 1, 7, "METER")
    [step] = observe(memory, plan, {"temperature": 90.0}, Arrival(NOON_MS, NOON_MS, 0))
    assert isinstance(step, Raise)
    raised(memory, step, AlarmEvidence(topic="device-telemetry", partition=0, offset=0), "0" * 32)
    assert due_ms(memory, plan, 0) == NOON_MS + 60_000
    assert tick(memory, plan, 0, NOON_MS + 59_999) == []
    assert tick(memory, plan, 0, NOON_MS + 60_000) == [Escalate("r", "0" * 32)]
    assert due_ms(memory, plan, 0) == NEVER_MS


def test_other_rules_forget_what_was_pending_but_not_their_alarms() -> None:
    device = Device(HOT)
    device.send(0, temperature=90)
    device.rules(rule(THRESHOLD | {"forS": 9.0}))
    device.send(10, temperature=90)
    assert device.happened == []
    device.send(19, temperature=90)
    assert device.happened == [("raised", "r", 19)]
    device.rules(rule(THRESHOLD | {"forS": 9.0}, title="Another title"))
    device.send(20, temperature=20)
    assert device.happened[1:] == [("cleared", "r", 20)]


def window(start_s: int, revision: int, mean: float | None, label: str = "15m") -> ClosedWindow:
    start = from_epoch_ms(NOON_MS + start_s * 1000)
    metrics: dict[str, dict[str, float | None]] = {} if mean is None else {"temperature": {"mean": mean, "p95": mean + 5}}
    end = start + timedelta(seconds=900)
    return ClosedWindow("A", 1, 7, "METER", label, start, end, revision, metrics, 3.0)


def test_windows_count_by_their_begin_and_their_last_revision() -> None:
    mean = rule({"kind": "windowStatistic", "window": "15m", "statistic": "mean", "metric": "temperature", "above": 80.0, "clearAt": 70.0})
    plans, memory, happened = Plans(rule_set_of([mean])), DeviceMemory("A", 1, 7, "METER"), []
    cases = [
        (window(0, 1, 81), "raised"),
        (window(0, 2, 75), None),
        (window(0, 1, 20), None),
        (window(0, 3, 70), "cleared"),
        (window(900, 1, None), None),
        (window(0, 4, 99), None),
        (window(900, 2, 99, label="1h"), None),
        (window(1800, 1, 99), "raised"),
    ]
    for number, (closed, wanted) in enumerate(cases):
        end_ms = NOON_MS + 900_000
        steps = observe_window(memory, memory.plan_by(plans), closed, Arrival(end_ms, end_ms, number))
        happened = ["raised" if isinstance(step, Raise) else "cleared" for step in steps]
        for step in steps:
            if isinstance(step, Raise):
                step.held.alarm_id = "x"
        assert happened == ([] if wanted is None else [wanted]), number


def test_the_energy_of_a_window_has_no_metric() -> None:
    little = rule({"kind": "windowStatistic", "window": "15m", "statistic": "energyKwh", "below": 5.0})
    plans, memory = Plans(rule_set_of([little])), DeviceMemory("A", 1, 7, "METER")
    [step] = observe_window(memory, memory.plan_by(plans), window(0, 1, None), Arrival(NOON_MS, NOON_MS, 0))
    assert isinstance(step, Raise)
    assert step.value == 3.0
