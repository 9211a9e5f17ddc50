"""What is compiled of windows gives the same bits as the Python beside it, and says what it cannot read."""

import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ems_streams.domain import quarter_energy, samples, summary
from ems_streams.domain.quarter_energy import PythonSeries, Series
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.windows import QUARTER_MS
from tests.unit.domain.builders import NOON_MS

pytestmark = pytest.mark.skipif(Series is PythonSeries, reason="there was no C compiler: nothing is compiled here")

NAMES = ("powerKw", "energyTotalKwh", "voltage", "a")
numbers = st.one_of(
    st.floats(min_value=-200.0, max_value=200.0),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1e-10, -1e-9, 9_999.5, 99_999.0, 3.0, 5e-324]),
)
values = st.dictionaries(st.integers(min_value=0, max_value=len(NAMES) - 1), numbers, max_size=4)
piece = st.tuples(st.integers(min_value=0, max_value=QUARTER_MS - 1), st.integers(min_value=0, max_value=60), values)
pieces = st.lists(piece, max_size=30)


def data_of(found: list) -> bytes:
    return b"".join(
        struct.pack("<q8sB", NOON_MS + time_ms, identity.to_bytes(8, "little"), len(values))
        + b"".join(struct.pack("<Bd", number, value) for number, value in values.items())
        for time_ms, identity, values in found
    )


@given(pieces)
def test_order_and_repetition(found: list) -> None:
    assert samples.ordered_parts(data_of(found)) == samples.python_ordered_parts(data_of(found))


@given(pieces, st.lists(st.integers(min_value=-1, max_value=QUARTER_MS), max_size=3).map(sorted))
def test_cuts_and_minutes(found: list, borders: list[int]) -> None:
    data, _ = samples.ordered_parts(data_of(found))
    borders_ms = [NOON_MS + border for border in borders]
    assert samples.split(data, *borders_ms) == samples.python_split(data, *borders_ms)
    assert samples.minutes_of(data) == samples.python_minutes_of(data)


# Squares that overflow to no number at all are unknown, and not zero.
@example([], [(0, 0, {2: 8.98846567431158e307}), (0, 1, {2: 0.0}), (0, 2, {2: 8.988465674311582e307})])
@given(pieces, pieces)
def test_statistics_and_their_merging(one: list, other: list) -> None:
    stored = []
    for found in (one, other):
        data, _ = samples.ordered_parts(data_of(found))
        assert summary.summarize_metrics(data, NAMES) == summary.python_summarize_metrics(data, NAMES)
        stored.append(summary.summarize_metrics(data, NAMES)[1])
        assert summary.metrics_view(stored[-1]) == summary.python_metrics_view(stored[-1])
    merged = summary.merge_metrics(*stored)
    assert merged == summary.python_merge_metrics(*stored)
    assert summary.metrics_view(merged) == summary.python_metrics_view(merged)


edges = st.one_of(st.none(), st.tuples(st.integers(min_value=1, max_value=20 * MINUTE_MS), numbers))
spans = st.tuples(st.integers(min_value=0, max_value=14), st.integers(min_value=1, max_value=15)).filter(lambda span: span[0] < span[1])


@settings(max_examples=300)
@given(pieces, st.tuples(edges, edges), st.tuples(edges, edges), spans)
def test_energy(found: list, before_ms: tuple, behind_ms: tuple, span: tuple[int, int]) -> None:
    data, _ = samples.ordered_parts(data_of(found))
    before = tuple(None if edge is None else (NOON_MS - edge[0], edge[1]) for edge in before_ms)
    behind = tuple(None if edge is None else (NOON_MS + QUARTER_MS - 1 + edge[0], edge[1]) for edge in behind_ms)
    # A reading of an edge is one that was believed.
    before = (before[0], before[1] if before[1] and before[1][1] > 0 else None)
    behind = (behind[0], behind[1] if behind[1] and behind[1][1] > 0 else None)
    start_ms, end_ms = (NOON_MS + minute * MINUTE_MS for minute in span)
    compiled, plain = (kind(data, 0, 1, before, behind) for kind in (Series, PythonSeries))
    assert compiled.edges() == tuple(plain.edges())
    assert compiled.energy(start_ms, end_ms, 300_000, 10_000.0) == plain.energy(start_ms, end_ms, 300_000, 10_000.0)


def test_what_is_cut_short_is_an_error_and_no_crash() -> None:
    data = data_of([(5, 1, {0: 1.0}), (9, 2, {0: 1.0, 2: 3.0})])
    stored = summary.summarize_metrics(data, NAMES)[1]
    for size in range(1, len(data)):
        if size != len(data_of([(5, 1, {0: 1.0})])):
            for call in (samples.ordered_parts, samples.minutes_of, lambda part: samples.split(part, NOON_MS * 2), lambda part: summary.summarize_metrics(part, NAMES)):  # fmt: skip
                with pytest.raises(ValueError, match="middle"):
                    call(data[:size])
            with pytest.raises(ValueError, match="middle"):
                quarter_energy.Series(data[:size], 0, 1, (None, None), (None, None))
    whole = len(summary.summarize_metrics(data_of([(5, 1, {0: 1.0}), (9, 2, {0: 1.0})]), NAMES)[1])
    for size in set(range(1, len(stored))) - {whole}:
        for read in (
            summary.metrics_view,
            lambda part: summary.merge_metrics(part, stored),
            lambda part: summary.merge_metrics(stored, part),
        ):
            with pytest.raises(ValueError, match="middle"):
                read(stored[:size])
    with pytest.raises(IndexError):
        summary.summarize_metrics(data, NAMES[:1])
