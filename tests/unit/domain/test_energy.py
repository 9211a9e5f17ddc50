"""Energy against closed forms, and against the cases that make other systems show negative or huge figures."""

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.energy import HOUR_MS, Energy, EnergyLimits, EnergyQuality, EnergySample, energy_over, merged

DAY_MS = 24 * HOUR_MS
STEP_MS = 10_000


def powered(power_kw: Callable[[float], float], step_ms: int = STEP_MS, end_ms: int = DAY_MS) -> list[EnergySample]:
    """Samples from midnight up to and with the end; the power is a function of hours."""
    return [EnergySample(at_ms, power_kw(at_ms / HOUR_MS)) for at_ms in range(0, end_ms + 1, step_ms)]


def registered(readings: list[tuple[int, float]]) -> list[EnergySample]:
    return [EnergySample(at_ms, register_kwh=kwh) for at_ms, kwh in readings]


def sun(hours: float) -> float:
    return 50.0 * max(math.sin((hours - 6) / 12 * math.pi), 0.0)


@pytest.mark.parametrize(
    ("power_kw", "kwh"),
    [
        pytest.param(lambda _: 45.0, 1_080.0, id="constant"),
        pytest.param(lambda hours: 2.0 * hours, 576.0, id="ramp"),
        pytest.param(sun, 50.0 * 24 / math.pi, id="half sine"),
        pytest.param(lambda hours: 10.0 if hours < 12 else -10.0, 0.0, id="charge and discharge"),
    ],
)
def test_power_is_integrated_to_the_closed_form(power_kw: Callable[[float], float], kwh: float) -> None:
    found = energy_over(powered(power_kw), 0, DAY_MS)
    assert found.kwh == pytest.approx(kwh, rel=1e-5, abs=0.03)  # the step at noon is a ramp of ten seconds
    assert (found.quality, found.covered_share) == (EnergyQuality.INTEGRATED, 1.0)


def test_a_tenth_of_the_messages_lost_costs_next_to_nothing() -> None:
    rnd = random.Random(1)
    left = [sample for sample in powered(sun) if rnd.random() >= 0.1 or sample.at_ms in (0, DAY_MS)]
    found = energy_over(left, 0, DAY_MS)
    assert found.kwh == pytest.approx(50.0 * 24 / math.pi, rel=1e-5)
    assert (found.quality, found.covered_share) == (EnergyQuality.INTEGRATED, 1.0)


def test_a_register_is_measured_and_wins_over_power() -> None:
    samples = [EnergySample(at_ms, 99.0, 1_000 + at_ms / HOUR_MS) for at_ms in range(0, HOUR_MS + 1, STEP_MS)]
    assert energy_over(samples, 0, HOUR_MS) == Energy(pytest.approx(1.0), EnergyQuality.MEASURED, 1.0)


def test_power_counts_where_no_register_does() -> None:
    samples = powered(lambda _: 6.0, end_ms=HOUR_MS) + registered([(HOUR_MS // 2, 100.0), (HOUR_MS // 2 + 60_000, 101.0)])
    found = energy_over(samples, 0, HOUR_MS)
    assert found.kwh == pytest.approx(5.9 + 1.0)
    assert found.quality is EnergyQuality.INTEGRATED


@pytest.mark.parametrize(
    ("readings", "kwh", "quality"),
    [
        pytest.param([(0, 1_000.0), (60_000, 0.2), (120_000, 0.7)], 0.7, EnergyQuality.ESTIMATED, id="reset"),
        pytest.param([(0, 9_999.8), (60_000, 0.3)], 0.5, EnergyQuality.ESTIMATED, id="rollover of four digits"),
        pytest.param([(0, 4_294_967.2), (60_000, 0.204)], 0.3, EnergyQuality.ESTIMATED, id="rollover of 32 bits of watt-hours"),
        pytest.param([(0, 1_000.0), (60_000, 999.9), (120_000, 1_000.0)], 0.1, EnergyQuality.ESTIMATED, id="glitch"),
        pytest.param([(0, 1_000.0), (60_000, 0.0), (120_000, 0.0), (180_000, 1_000.3)], 0.3, EnergyQuality.MEASURED, id="zeros at night"),
    ],
)
def test_a_register_that_falls_gives_neither_negative_nor_huge_energy(
    readings: list[tuple[int, float]], kwh: float, quality: EnergyQuality
) -> None:
    assert energy_over(registered(readings), 0, readings[-1][0]) == Energy(pytest.approx(kwh), quality, 1.0)


def test_a_leap_that_no_device_can_make_is_left_to_the_power() -> None:
    """A replaced meter: the register goes from 10 to half a million kWh within ten seconds."""
    leap = registered([(0, 10.0), (STEP_MS, 500_000.0), (2 * STEP_MS, 500_000.01)])
    assert energy_over(leap, 0, STEP_MS) == Energy(None, EnergyQuality.GAP, 0.0)
    found = energy_over([*leap, *powered(lambda _: 3.6, end_ms=2 * STEP_MS)], 0, 2 * STEP_MS)
    assert found.kwh == pytest.approx(0.02)
    assert found.quality is EnergyQuality.INTEGRATED


def test_an_outage_is_no_energy_for_power_and_the_right_energy_for_a_register() -> None:
    outage = (2 * HOUR_MS, 5 * HOUR_MS)
    power = [sample for sample in powered(lambda _: 10.0) if not outage[0] < sample.at_ms < outage[1]]
    found = energy_over(power, 0, DAY_MS)
    assert found.kwh == pytest.approx(210.0)
    assert (found.quality, found.source, found.covered_share) == (EnergyQuality.GAP, EnergyQuality.INTEGRATED, 21 / 24)

    register = registered([(sample.at_ms, 1 + sample.at_ms / HOUR_MS * 10.0) for sample in power])
    found = energy_over(register, 0, DAY_MS)
    assert found == Energy(pytest.approx(240.0), EnergyQuality.ESTIMATED, 1.0)


def test_a_clock_that_lags_shifts_energy_and_neither_makes_nor_loses_any() -> None:
    late = [EnergySample(sample.at_ms + 90_000, sample.power_kw) for sample in powered(sun)]
    assert energy_over(late, 0, DAY_MS + 90_000).kwh == pytest.approx(energy_over(powered(sun), 0, DAY_MS).kwh)


def test_one_sample_says_nothing() -> None:
    assert energy_over([EnergySample(5, 10.0, 100.0)], 0, 10) == Energy(None, EnergyQuality.GAP, 0.0)
    assert energy_over([], 0, 10) == Energy(None, EnergyQuality.GAP, 0.0)


def test_a_span_must_not_be_empty() -> None:
    with pytest.raises(ValueError, match="from 10 to 10 ms: must end after its start"):
        energy_over([], 10, 10)


many_samples = st.lists(
    st.builds(
        EnergySample,
        st.integers(0, 600_000),
        st.none() | st.floats(-1e4, 1e4),
        st.none() | st.sampled_from([0.0, 0.1, 9_999.9, 1e9]) | st.floats(0, 1e5),
    ),
    max_size=30,
)


@given(many_samples, st.randoms(use_true_random=False), st.integers(1, 599_999))
def test_neither_order_nor_repetition_nor_division_changes_the_energy(samples: list[EnergySample], rnd: random.Random, cut_ms: int) -> None:
    whole = energy_over(samples, 0, 600_000)
    shuffled = samples + samples[:5]
    rnd.shuffle(shuffled)
    assert energy_over(shuffled, 0, 600_000) == whole
    shares = [cut_ms / 600_000, 1 - cut_ms / 600_000]
    parts = merged([energy_over(samples, 0, cut_ms), energy_over(samples, cut_ms, 600_000)], shares)
    assert parts.kwh == (None if whole.kwh is None else pytest.approx(whole.kwh, rel=1e-9, abs=1e-6))
    assert parts.covered_share == pytest.approx(whole.covered_share)


@given(many_samples)
def test_energy_is_never_more_than_the_greatest_power_can_make(samples: list[EnergySample]) -> None:
    limits = EnergyLimits(max_power_kw=100.0)
    found = energy_over(samples, 0, 600_000, limits)
    assert found.kwh is None or abs(found.kwh) <= 100.0 * 600_000 / HOUR_MS * (1 + 1e-9)
    assert 0.0 <= found.covered_share <= 1.0
    if all(sample.power_kw is None for sample in samples):
        assert found.kwh is None or found.kwh >= 0
