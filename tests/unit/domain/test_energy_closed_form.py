"""Energy of windows against closed forms, through all that happens to a day of messages.

What is shown of gaps, resets, rollovers and zeros are the cases in which consumption figures of other systems have become negative or enormous.
"""

from pathlib import Path

import pytest

from benchmarks.energy_table import table
from ems_streams.domain.accumulators import COUNT
from ems_streams.domain.aggregates import total
from ems_streams.domain.energy import EnergyQuality
from ems_streams.domain.windows import HOUR_MS, Window
from tests.unit.domain.builders import Device, record
from tests.unit.domain.energy_cases import CASES, CONSTANT, MIDNIGHT_MS, STEP_MS, day_of, windows_of

each_case = pytest.mark.parametrize("name", list(CASES))
known_by_the_hour = pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.hour_bound_kwh is not None])


@each_case
def test_the_day_is_as_near_to_the_truth_as_it_is_said_to_be(name: str) -> None:
    case, energy = CASES[name], day_of(name).energy
    assert energy.kwh == pytest.approx(case.true_kwh, rel=0, abs=case.bound_kwh)
    assert energy.quality is case.quality
    assert energy.covered_share == pytest.approx(case.covered_share, rel=1e-12)


@known_by_the_hour
def test_each_hour_is_as_near_to_the_truth_as_it_is_said_to_be(name: str) -> None:
    case, windows = CASES[name], windows_of(name)
    for hour in range(24):
        found = windows[Window.HOUR, MIDNIGHT_MS + hour * HOUR_MS].energy
        assert found.kwh == pytest.approx(case.load.energy_kwh(hour + 1) - case.load.energy_kwh(hour), rel=0, abs=case.hour_bound_kwh)
        assert found.quality is not EnergyQuality.GAP


@each_case
def test_no_window_has_negative_energy_or_more_than_the_load_can_make(name: str) -> None:
    case = CASES[name]
    has_negative = min(case.load.power_kw(hour / 10) for hour in range(-60, 310)) < 0
    lengths_h = {Window.MINUTE: 1 / 60, Window.QUARTER: 0.25, Window.HOUR: 1.0, Window.DAY: 24.0}
    for (window, _), summary in windows_of(name).items():
        kwh = summary.energy.kwh
        if kwh is None:
            continue
        most_kwh = case.load.greatest_kw * lengths_h[window] * (1 + 1e-9) + case.bound_kwh
        assert (-most_kwh if has_negative else 0.0) <= kwh <= most_kwh
        assert 0.0 <= summary.energy.covered_share <= 1.0 + 1e-9


@each_case
def test_hours_add_up_to_the_day_and_minutes_to_the_hour(name: str) -> None:
    windows = windows_of(name)

    def sum_of(window: Window, length_ms: int, end_ms: int) -> float:
        starts = range(MIDNIGHT_MS, end_ms, length_ms)
        return sum(windows[window, start].energy.kwh or 0.0 for start in starts if (window, start) in windows)

    assert sum_of(Window.HOUR, HOUR_MS, MIDNIGHT_MS + 24 * HOUR_MS) == pytest.approx(day_of(name).energy.kwh, rel=1e-9, abs=1e-6)
    assert sum_of(Window.MINUTE, 60_000, MIDNIGHT_MS + HOUR_MS) == pytest.approx(
        windows[Window.HOUR, MIDNIGHT_MS].energy.kwh, rel=1e-9, abs=1e-6
    )


def test_disorder_and_repetition_give_the_bits_of_the_orderly_day() -> None:
    assert day_of("messages late, in disorder and repeated, power") == day_of("the sun's half-sine, power")
    assert day_of("messages late, in disorder and repeated, register") == day_of("the sun's half-sine, register")


def test_a_register_tells_what_was_delivered_in_hours_without_any_message() -> None:
    windows = windows_of("10 h without messages, register")
    for hour in range(9, 17):
        summary = windows[Window.HOUR, MIDNIGHT_MS + hour * HOUR_MS]
        assert (summary.events, summary.energy.kwh, summary.energy.quality) == (0, pytest.approx(6.0), EnergyQuality.ESTIMATED)


def test_without_a_register_hours_without_messages_have_no_windows_and_the_day_says_what_is_missing() -> None:
    windows = windows_of("10 h without messages, power")
    assert not [hour for hour in range(9, 17) if (Window.HOUR, MIDNIGHT_MS + hour * HOUR_MS) in windows]
    assert windows[Window.HOUR, MIDNIGHT_MS + 7 * HOUR_MS].energy.quality is EnergyQuality.INTEGRATED
    assert windows[Window.DAY, MIDNIGHT_MS].energy.source is EnergyQuality.INTEGRATED, "what is there is sound"


def test_a_gap_in_the_hour_before_the_first_sample_is_a_gap_and_not_a_guess() -> None:
    device = Device()
    device.send(*(record(MIDNIGHT_MS + 30 * 60_000 + step * STEP_MS, {"powerKw": 6.0}) for step in range(181)))
    device.quiet(2 * HOUR_MS)
    energy = device.last()[Window.HOUR, MIDNIGHT_MS].energy
    assert (energy.kwh, energy.covered_share, energy.quality) == (pytest.approx(3.0), pytest.approx(0.5), EnergyQuality.GAP)


def test_a_clock_hours_ahead_gives_no_window_any_energy() -> None:
    device = Device()
    for step in range(30):
        arrived_ms = MIDNIGHT_MS + step * STEP_MS
        device.send(record(arrived_ms + 3 * HOUR_MS, {"powerKw": 6.0, "energyTotalKwh": CONSTANT.energy_kwh(step)}), arrived_ms=arrived_ms)
    device.quiet(24 * HOUR_MS)
    assert device.last() == {}
    assert total(device.state)["powerKw"][COUNT] == 30


def test_energy_that_comes_to_be_known_later_is_a_next_revision() -> None:
    """An hour is published as a gap, and again when the register is heard of behind it."""
    device = Device()
    for step in range(61):
        device.send(record(MIDNIGHT_MS + step * STEP_MS, {"energyTotalKwh": 100 + step / 60}))
    device.quiet(3 * HOUR_MS)
    hour = Window.HOUR, MIDNIGHT_MS
    before = device.last()[hour].energy
    device.send(record(MIDNIGHT_MS + 4 * HOUR_MS, {"energyTotalKwh": 124.0}))
    after = device.last()[hour].energy
    assert (before.kwh, before.quality) == (pytest.approx(1.0), EnergyQuality.GAP)
    assert (after.kwh, after.quality) == (pytest.approx(1 + 23 * 50 / 230), EnergyQuality.ESTIMATED)
    assert [result.revision for result in device.published if (result.window, result.span.start_ms) == hour] == [1, 2]


def test_the_table_of_the_documentation_is_what_is_found() -> None:
    page = Path(__file__).parents[3] / "docs" / "howto" / "energy.md"
    assert table() in page.read_text(), "run `python -m benchmarks.energy_table` and put the table there"
