"""Statistics of one metric: exact in any order, and the same however they are split and merged."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.accumulators import (
    Accumulator,
    exact_sum,
    mean,
    merge,
    statistics_view,
    stddev,
)
from ems_streams.domain.samples import append
from ems_streams.domain.section import accumulators_of, add_samples, new_section
from tests.unit.domain.builders import identity, record

# What meters send: three decimals, up to hundreds of megawatts, either sign.
readings = st.integers(min_value=-500_000_000, max_value=500_000_000).map(lambda thousandths: thousandths / 1000)
readings_over_time = st.lists(st.tuples(st.integers(min_value=0, max_value=59_999), readings), min_size=1, max_size=200)


def accumulate(pairs: list[tuple[int, float]]) -> Accumulator:
    section, samples, names = new_section(0), bytearray(), dict[str, int]()
    for number, (timestamp_ms, value) in enumerate(pairs):
        append(samples, record(timestamp_ms, {"powerKw": value}), identity(number), names)
    add_samples(section, samples)
    return accumulators_of(section, names)["powerKw"]


def assert_is_of(accumulator: Accumulator, pairs: list[tuple[int, float]]) -> None:
    values = [value for _, value in pairs]
    view = statistics_view(accumulator)
    assert view["count"] == len(values)
    assert view["sum"] == math.fsum(values)
    assert view["min"] == min(values)
    assert view["max"] == max(values)
    assert view["mean"] == math.fsum(values) / len(values)
    spread = max(values) - min(values)
    assert view["stddev"] == pytest.approx(statistics.pstdev(values), rel=1e-9, abs=1e-9 * spread)


@given(readings_over_time)
def test_statistics_are_those_of_the_values(pairs: list[tuple[int, float]]) -> None:
    accumulator = accumulate(pairs)
    assert_is_of(accumulator, pairs)
    newest_ms = max(timestamp_ms for timestamp_ms, _ in pairs)
    assert statistics_view(accumulator)["last"] == [value for timestamp_ms, value in pairs if timestamp_ms == newest_ms][-1]


@given(readings_over_time, st.randoms(use_true_random=False))
def test_sums_do_not_depend_on_the_order(pairs: list[tuple[int, float]], order: random.Random) -> None:
    shuffled = pairs.copy()
    order.shuffle(shuffled)
    assert exact_sum(accumulate(shuffled)) == exact_sum(accumulate(pairs))


@given(st.lists(readings_over_time, min_size=1, max_size=8))
def test_merging_is_like_adding_all_values_to_one(parts: list[list[tuple[int, float]]]) -> None:
    merged = accumulate(parts[0])
    for part in parts[1:]:
        merge(merged, accumulate(part))
    pairs = [pair for part in parts for pair in part]
    assert_is_of(merged, pairs)
    assert merged[5:8:2] == accumulate(pairs)[5:8:2]


@pytest.mark.parametrize("seed", range(5))
def test_ten_thousand_readings_in_merged_parts_sum_to_fsum(seed: int) -> None:
    draw = random.Random(seed)
    values = [round(draw.uniform(-1000, 1000) * 10 ** draw.randint(-3, 5), 3) for _ in range(10_000)]
    parts = [values[start : start + 37] for start in range(0, len(values), 37)]
    draw.shuffle(parts)
    merged = accumulate([(0, value) for value in parts[0]])
    for part in parts[1:]:
        merge(merged, accumulate([(0, value) for value in part]))
    assert exact_sum(merged) == math.fsum(values)
    assert sum(values) != math.fsum(values), "these values must be ones that a plain sum gets wrong"


def test_large_values_that_cancel_leave_the_small_ones() -> None:
    assert exact_sum(accumulate([(0, 1e16), (0, 0.001), (0, 2.5), (0, -1e16)])) == 2.501


def test_equal_values_have_no_deviation_at_all() -> None:
    accumulator = accumulate([(0, 480.1)] * 1000)
    assert stddev(accumulator) == 0.0
    assert mean(accumulator) == pytest.approx(480.1, rel=1e-15)


def test_deviation_survives_a_large_mean() -> None:
    values = [1e9 + step for step in (4.0, 7.0, 13.0, 16.0)]
    assert stddev(accumulate([(0, value) for value in values])) == pytest.approx(math.sqrt(22.5), rel=1e-9)


def test_the_later_of_two_equal_times_is_last() -> None:
    assert statistics_view(accumulate([(5, 1.0), (5, 2.0), (4, 3.0)]))["last"] == 2.0
    earlier, later = accumulate([(5, 1.0)]), accumulate([(5, 2.0)])
    merge(earlier, later)
    assert statistics_view(earlier)["last"] == 2.0


def test_sums_beyond_the_range_of_a_float_are_shown_as_nothing() -> None:
    view = statistics_view(accumulate([(0, 1.7e308), (0, 1.7e308), (0, -1.0)]))
    assert view["sum"] is None
    assert view["mean"] is None
    assert view["stddev"] is None
    assert (view["count"], view["min"], view["max"], view["last"]) == (3, -1.0, 1.7e308, -1.0)
