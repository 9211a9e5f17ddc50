"""Sections: packed accumulators of several metrics, against accumulators that are added to and merged one by one."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.accumulators import BYTES, MAX_METRICS_PER_DEVICE, Accumulators, add, new
from ems_streams.domain.accumulators import merge as merge_one
from ems_streams.domain.samples import append
from ems_streams.domain.section import (
    COMPILED,
    accumulators_of,
    add_samples,
    merge_section,
    new_section,
    python_add_samples,
    python_merge_section,
    section_at,
)
from tests.unit.domain.builders import identity, record

NAMES = ["powerKw", "voltage", "current", "temperature"]
values = st.floats(min_value=-1e6, max_value=1e6)
events = st.lists(st.tuples(st.integers(0, 59_999), st.dictionaries(st.sampled_from(NAMES), values, min_size=1)), max_size=30)
Events = list[tuple[int, dict[str, float]]]
Add = Callable[[bytearray, bytearray], None]
Merge = Callable[[bytearray, bytearray], None]

adds = pytest.mark.parametrize("add_all", [python_add_samples, *([add_samples] if COMPILED else [])])
merges = pytest.mark.parametrize("merge", [python_merge_section, *([merge_section] if COMPILED else [])])


def samples_of(events: Events, names: dict[str, int]) -> bytearray:
    samples = bytearray()
    for number, (timestamp_ms, metrics) in enumerate(events):
        assert append(samples, record(timestamp_ms, metrics), identity(number), names) == 0
    return samples


def section_of(events: Events, names: dict[str, int], add_all: Add = add_samples) -> bytearray:
    section = new_section(60_000)
    add_all(section, samples_of(events, names))
    return section


@pytest.mark.skipif(not COMPILED, reason="there is no C compiler here, so there is nothing to compare with")
@given(events, events, st.sampled_from([1.0, 1e-310, 1e300, 1e302]))
def test_the_compiled_functions_do_the_same_to_the_bit(one: Events, other: Events, scale: float) -> None:
    """Also where sums overflow or values are tiny."""
    sections: list[bytearray] = []
    for add_all, merge in ((add_samples, merge_section), (python_add_samples, python_merge_section)):
        names: dict[str, int] = {}
        first, second = (
            section_of([(at, {name: value * scale for name, value in metrics.items()}) for at, metrics in events], names, add_all)
            for events in (one, other)
        )
        add_all(second, samples_of(one, names))
        merge(first, second)
        sections += [first, second]
    assert sections[:2] == sections[2:]


@adds
@given(events=events)
def test_a_section_is_accumulators_that_values_are_added_to(events: Events, add_all: Add) -> None:
    names: dict[str, int] = {}
    expected: Accumulators = {}
    for timestamp_ms, metrics in events:
        for name, value in metrics.items():
            if name in expected:
                add(expected[name], value, timestamp_ms)
            else:
                expected[name] = new(value, timestamp_ms)
    assert accumulators_of(section_of(events, names, add_all), names) == expected


@adds
@given(events=events, cut=st.integers(0, 30))
def test_samples_may_be_added_in_parts(events: Events, cut: int, add_all: Add) -> None:
    names: dict[str, int] = {}
    whole = section_of(events, names, add_all)
    in_parts = section_of(events[:cut], names, add_all)
    add_all(in_parts, samples_of(events[cut:], names))
    assert in_parts == whole


@adds
@given(events=events)
def test_metrics_do_not_disturb_each_other(events: Events, add_all: Add) -> None:
    """Whatever comes together with what, each metric is as if it came alone."""
    names: dict[str, int] = {}
    together = accumulators_of(section_of(events, names, add_all), names)
    alone: Accumulators = {}
    for name in names:
        own: dict[str, int] = {}
        alone |= accumulators_of(section_of([(at, {name: each[name]}) for at, each in events if name in each], own, add_all), own)
    assert together == alone


@adds
def test_samples_that_are_cut_short_are_refused(add_all: Add) -> None:
    samples = samples_of([(0, {"powerKw": 1.0, "voltage": 2.0})], {})
    for length in range(1, len(samples)):
        with pytest.raises((struct.error, ValueError)):
            add_all(new_section(0), samples[:length])


@merges
@given(one=events, other=events)
def test_merged_sections_are_merged_accumulators(one: Events, other: Events, merge: Merge) -> None:
    names: dict[str, int] = {}
    first, second = section_of(one, names), section_of(other, names)
    expected = accumulators_of(first, names)
    for name, accumulator in accumulators_of(second, names).items():
        if name in expected:
            merge_one(expected[name], accumulator)
        else:
            expected[name] = accumulator
    merge(first, second)
    assert accumulators_of(first, names) == expected


@given(events)
def test_a_section_survives_as_bytes_among_others(events: Events) -> None:
    section = section_of(events, {})
    assert section_at(b"before" + section + b"behind" + bytes(8), 6) == (60_000, section)


def test_a_section_that_is_cut_short_is_refused() -> None:
    section = section_of([(0, {"powerKw": 1.0, "voltage": 2.0})], {})
    for length in range(len(section)):
        with pytest.raises(struct.error):
            section_at(bytes(section[:length]), 0)


def test_a_number_without_a_name_is_refused() -> None:
    section = section_of([(0, {"powerKw": 1.0, "voltage": 2.0})], {})
    with pytest.raises(IndexError):
        accumulators_of(section, {"powerKw": 0})


@adds
def test_as_many_metrics_as_a_device_may_have_fit_in(add_all: Add) -> None:
    names: dict[str, int] = {}
    events = [(0, {f"m{number}": float(number)}) for number in range(MAX_METRICS_PER_DEVICE)]
    section = section_of([*events, (1, {"m0": 1.0, "m255": 1.0})], names, add_all)
    assert len(section) == 10 + MAX_METRICS_PER_DEVICE * (1 + BYTES)
    accumulators = accumulators_of(section, names)
    assert [accumulators[name][0] for name in ("m0", "m1", "m255")] == [2.0, 1.0, 2.0]
