"""Quantiles: within the promised error of a value that is there, and the same however values are ordered, split and merged."""

import math
import random
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ems_streams.domain.sketch import (
    RELATIVE_ERROR,
    SMALLEST,
    Sketch,
    add,
    bin_of,
    decode,
    encode,
    merge,
    quantiles,
    value_of,
)

HUGE = sys.float_info.max / 2
"""Beyond it what stands for a bin is infinite, and a quantile is the greatest value."""
any_value = st.floats(min_value=-HUGE, max_value=HUGE, allow_nan=False)
values_around_one = st.integers(-1_000_000, 1_000_000).map(lambda thousandths: thousandths / 1000)
columns = st.lists(any_value | values_around_one, min_size=1, max_size=60)
shares = st.lists(st.floats(0, 1), min_size=1, max_size=5).map(sorted)

# The borders of bins and what stands for them are floats too: a few units in the last place beside the bound.
BOUND = RELATIVE_ERROR * (1 + 1e-9)


def sketch_of(values: list[float]) -> Sketch:
    sketch: Sketch = {}
    for value in values:
        add(sketch, value)
    return sketch


def found_in(values: list[float], wanted: list[float]) -> list[float]:
    return quantiles(sketch_of(values), wanted, min(values), max(values))


def assert_near(found: float, exact: float) -> None:
    if abs(exact) <= SMALLEST:
        assert abs(found) <= SMALLEST
    else:
        assert abs(found - exact) <= BOUND * abs(exact)


@given(any_value)
@example(0.0)
@example(-0.0)
@example(SMALLEST)
@example(math.nextafter(SMALLEST, 1))
@example(-math.nextafter(SMALLEST, 1))
@example(5e-324)
@example(HUGE)
@example(-HUGE)
def test_what_stands_for_a_bin_is_within_the_relative_error_of_every_value_in_it(value: float) -> None:
    assert_near(value_of(bin_of(value)), value)


@given(any_value, any_value)
def test_bins_are_in_the_order_of_their_values(one: float, other: float) -> None:
    assert (bin_of(one) <= bin_of(other)) or one > other
    assert bin_of(-one) == -bin_of(one)


def test_the_smallest_values_that_are_told_from_nothing_have_bins_beside_it() -> None:
    assert [bin_of(value) for value in (SMALLEST, -SMALLEST, 0.0, -0.0)] == [0, 0, 0, 0]
    assert bin_of(math.nextafter(SMALLEST, 1)) == 1


@given(columns, shares)
def test_a_quantile_is_the_value_of_its_rank_to_within_the_relative_error(values: list[float], wanted: list[float]) -> None:
    in_order = sorted(values)
    for share, found in zip(wanted, found_in(values, wanted), strict=True):
        exact = in_order[math.floor(share * (len(values) - 1))]
        assert_near(found, exact)
        assert min(values) <= found <= max(values)


@pytest.mark.parametrize(
    ("count", "share", "rank"),
    [
        pytest.param(1, 0.99, 0, id="of one value every quantile is that value"),
        pytest.param(2, 0.5, 0, id="the median of two is the lower"),
        pytest.param(3, 0.5, 1, id="the median of three is the middle one"),
        pytest.param(100, 0.99, 98, id="one of a hundred is above p99"),
        pytest.param(101, 0.99, 99, id="the rank is rounded down"),
        pytest.param(101, 0.0, 0, id="nothing is below p0"),
        pytest.param(101, 1.0, 100, id="nothing is above p100"),
    ],
)
def test_the_rank_of_a_share_is_that_of_the_definition(count: int, share: float, rank: int) -> None:
    values = [float(2**number) for number in range(count)]  # far enough apart to tell one from the next
    (found,) = found_in(values, [share])
    assert found == pytest.approx(values[rank], rel=BOUND)


def test_least_and_greatest_are_exact() -> None:
    assert found_in([0.1, 0.3, 7.7], [0.0, 1.0]) == [0.1, 7.7]
    assert found_in([480.1] * 5, [0.0, 0.5, 0.99]) == [480.1] * 3


def test_values_at_the_end_of_the_range_of_floats_give_quantiles_among_them() -> None:
    values = [-sys.float_info.max, 1.0, sys.float_info.max]
    assert found_in(values, [0.0, 0.5, 1.0]) == [values[0], pytest.approx(1.0, rel=BOUND), values[2]]


def test_ten_thousand_values_over_nine_orders_of_magnitude_keep_the_bound() -> None:
    draw = random.Random(3)
    values = [draw.choice((-1, 1)) * 10 ** draw.uniform(-4, 5) for _ in range(10_000)]
    wanted = [number / 200 for number in range(201)]
    in_order = sorted(values)
    found = found_in(values, wanted)
    worst = max(abs(each / in_order[int(share * 9_999)] - 1) for share, each in zip(wanted, found, strict=True))
    assert RELATIVE_ERROR * 0.9 < worst <= BOUND, "the bound is met, and is no better than it has to be"
    assert found == sorted(found)


@given(columns, columns, st.randoms(use_true_random=False))
def test_a_merged_sketch_is_that_of_the_union_whatever_the_order(one: list[float], other: list[float], order: random.Random) -> None:
    merged = sketch_of(one)
    merge(merged, sketch_of(other))
    union = one + other
    order.shuffle(union)
    assert merged == sketch_of(union)
    assert sum(merged.values()) == len(union)
    assert encode(merged) == encode(sketch_of(union))


@given(columns, columns)
def test_merging_leaves_the_other_one_alone(one: list[float], other: list[float]) -> None:
    into, theirs = sketch_of(one), sketch_of(other)
    merge(into, theirs)
    add(into, 1.0)
    assert theirs == sketch_of(other)


bins = st.integers(bin_of(-HUGE), bin_of(HUGE))
sketches = st.dictionaries(bins, st.integers(1, 2**40), max_size=40)


@given(sketches)
def test_a_sketch_survives_as_bytes(sketch: Sketch) -> None:
    assert decode(encode(sketch)) == sketch


@given(sketches, st.randoms(use_true_random=False))
def test_equal_sketches_have_equal_bytes(sketch: Sketch, order: random.Random) -> None:
    items = list(sketch.items())
    order.shuffle(items)
    assert encode(dict(items)) == encode(sketch)


@given(sketches.filter(bool))
def test_bytes_that_are_cut_short_are_refused_unless_they_end_with_a_bin(sketch: Sketch) -> None:
    data = encode(sketch)
    ends = {len(encode(dict(sorted(sketch.items())[:count]))) for count in range(len(sketch) + 1)}
    for length in range(len(data)):
        if length in ends:
            assert len(decode(data[:length])) < len(sketch)
            continue
        with pytest.raises(ValueError, match="ends in the middle of a"):
            decode(data[:length])


def test_a_minute_of_five_second_readings_takes_a_few_dozen_bytes() -> None:
    draw = random.Random(1)
    assert len(encode(sketch_of([draw.gauss(230, 2) for _ in range(12)]))) <= 12 * 3
