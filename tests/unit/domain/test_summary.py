"""Summaries of windows: merging parts says what folding everything says, and bytes are canonical."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.accumulators import COUNT, LAST, LAST_MS, MAX, MIN, exact_sum, mean, stddev
from ems_streams.domain.energy import NO_ENERGY, Energy, EnergyQuality
from ems_streams.domain.samples import append, ordered
from ems_streams.domain.sketch import RELATIVE_ERROR
from ems_streams.domain.summary import Summary, decode, encode, merge_parts, summarize
from tests.unit.domain.builders import identity, record

NAMES = ["powerKw", "voltage", "current", "a"]
# Three decimals, as meters send them.
values = st.integers(-10_000_000, 10_000_000).map(lambda thousandths: thousandths / 1000)
messages = st.lists(st.tuples(st.integers(0, 59_999), st.dictionaries(st.sampled_from(NAMES), values, max_size=4)), max_size=30)
Messages = list[tuple[int, dict[str, float]]]
energies = st.builds(
    Energy,
    st.floats(-1e6, 1e6),
    st.sampled_from([EnergyQuality.MEASURED, EnergyQuality.INTEGRATED, EnergyQuality.ESTIMATED]),
    st.floats(0, 1),
)


def summary_of(messages: Messages, start_ms: int = 0, first: int = 0) -> Summary:
    names: dict[str, int] = {}
    samples = bytearray()
    for number, (time_ms, metrics) in enumerate(messages, first):
        append(samples, record(start_ms + time_ms, metrics), identity(number), names)
    return summarize(ordered(samples).data, list(names))


def merged(*parts: Summary) -> Summary:
    return merge_parts((part, 1 / len(parts)) for part in parts)


def assert_same_statistics(one: Summary, other: Summary) -> None:
    """Counts, extremes, sums, last values and sketches are equal; squares are so up to the rounding of floats."""
    assert one.events == other.events
    assert one.metrics.keys() == other.metrics.keys()
    for name, mine in one.metrics.items():
        theirs = other.metrics[name]
        for exact in (COUNT, MIN, MAX, LAST, LAST_MS):
            assert mine.accumulator[exact] == theirs.accumulator[exact]
        assert exact_sum(mine.accumulator) == exact_sum(theirs.accumulator)
        spread = mine.accumulator[MAX] - mine.accumulator[MIN]
        assert stddev(mine.accumulator) == pytest.approx(stddev(theirs.accumulator), rel=1e-9, abs=1e-9 * spread)
        assert mine.sketch == theirs.sketch


@given(messages)
def test_a_summary_says_what_its_messages_say(found: Messages) -> None:
    summary = summary_of(found)
    assert summary.events == len(found)
    assert list(summary.metrics) == sorted({name for _, metrics in found for name in metrics})
    for name, metric in summary.metrics.items():
        column = sorted(metrics[name] for _, metrics in found if name in metrics)
        view = metric.view()
        assert (view["count"], view["min"], view["max"], view["sum"]) == (len(column), column[0], column[-1], math.fsum(column))
        assert mean(metric.accumulator) == math.fsum(column) / len(column)
        for quantile, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            exact = column[int(share * (len(column) - 1))]
            assert view[quantile] == pytest.approx(exact, rel=RELATIVE_ERROR * (1 + 1e-9), abs=1e-9)
    assert summary.metrics_view() == {name: metric.view() for name, metric in summary.metrics.items()}


@given(messages, messages)
def test_merged_parts_say_what_all_their_messages_say(one: Messages, other: Messages) -> None:
    later = [(60_000 + time_ms, metrics) for time_ms, metrics in other]
    parts = merged(summary_of(one), summary_of(later, first=len(one)))
    assert_same_statistics(parts, summary_of(one + later))


@given(messages, messages, messages)
def test_it_does_not_matter_how_parts_are_grouped(one: Messages, other: Messages, third: Messages) -> None:
    """Minutes to an hour, or minutes to quarters to an hour."""
    parts = [summary_of(found, start_ms=number * 60_000, first=number * 100) for number, found in enumerate((one, other, third))]
    assert_same_statistics(merged(merged(parts[0], parts[1]), parts[2]), merged(*parts))


@given(messages, messages)
def test_the_parts_stay_as_they_are(one: Messages, other: Messages) -> None:
    parts = [summary_of(one), summary_of(other, start_ms=60_000)]
    before = [encode(part) for part in parts]
    whole = merged(*parts)
    whole.merge_metrics(parts[1])
    assert [encode(part) for part in parts] == before


@given(st.lists(st.tuples(messages, energies), min_size=1, max_size=4))
def test_energies_of_parts_add_up_and_the_worst_source_counts(found: list[tuple[Messages, Energy]]) -> None:
    parts = []
    for part_messages, energy in found:
        part = summary_of(part_messages)
        part.energy = energy
        parts.append(part)
    whole = merged(*parts).energy
    assert whole.kwh == pytest.approx(math.fsum(energy.kwh or 0.0 for _, energy in found), rel=1e-9, abs=1e-6)
    assert whole.source is max(energy.source for _, energy in found)
    assert whole.covered_share == pytest.approx(math.fsum(energy.covered_share for _, energy in found) / len(found))


def test_nothing_merged_with_nothing_is_nothing() -> None:
    assert merged(Summary(), Summary()) == Summary()
    assert Summary().is_empty
    assert (Summary().energy, Summary().metrics, Summary().metrics_view()) == (NO_ENERGY, {}, {})
    assert not summary_of([(0, {})]).is_empty, "a message that says nothing has been there all the same"


@given(messages, energies | st.just(NO_ENERGY))
def test_a_summary_survives_as_bytes(found: Messages, energy: Energy) -> None:
    summary = summary_of(found)
    summary.energy = energy
    decoded = decode(encode(summary))
    assert decoded == summary
    assert decoded.metrics == summary.metrics
    assert encode(decoded) == encode(summary)


@pytest.mark.parametrize("events", [2**32 - 2, 2**32 - 1, 2**32, 2**40])
def test_more_messages_than_a_small_number_holds_survive_as_bytes(events: int) -> None:
    summary = summary_of([(0, {"powerKw": 1.0})])
    summary.events = events
    assert decode(encode(summary)) == summary


def test_parts_of_many_messages_add_up_and_are_stored() -> None:
    part = Summary(2**32 - 2)
    whole = merged(part, part)
    assert decode(encode(whole)).events == 2 * part.events


@pytest.mark.parametrize("events", [0, 2**32 - 2, 2**40 + 1, 2**64 - 1])
def test_a_large_number_is_within_bounds_and_written_in_one_way(events: int) -> None:
    data = bytearray(encode(Summary(2**33)))
    data[-8:] = struct.pack("<Q", events)
    with pytest.raises(ValueError, match="events="):
        decode(bytes(data))


def test_bytes_do_not_depend_on_the_order_in_which_metrics_appeared() -> None:
    one = [(0, {"voltage": 1.0, "powerKw": 2.0}), (1, {"a": 3.0})]
    other = [(0, {"powerKw": 2.0, "voltage": 1.0}), (1, {"a": 3.0})]
    assert encode(summary_of(one)) == encode(summary_of(other))


def test_bytes_that_are_cut_short_or_too_long_are_refused_when_they_are_looked_at() -> None:
    data = encode(summary_of([(0, {"powerKw": 1.0, "voltage": 480.5}), (1, {"powerKw": -2.0})]))
    whole = decode(data)
    power = summary_of([(0, {"powerKw": 1.0}), (1, {"powerKw": -2.0})])
    header = len(data) - len(whole.stored)
    for length in [*range(len(data)), len(data) + 1]:
        if length in (header, len(encode(power))):
            # A summary of fewer metrics; who stores a summary keeps its length.
            assert decode(data[:length]).metrics.keys() < whole.metrics.keys()
            continue
        damaged = (data + b"\x00")[:length]
        with pytest.raises((struct.error, ValueError)):
            _ = decode(damaged).metrics, decode(damaged).metrics_view()


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    for look in (lambda summary: summary.metrics, lambda summary: summary.metrics_view(), lambda summary: summary.merge_metrics(summary)):
        try:
            look(decode(data))
        except (struct.error, ValueError):
            continue
