"""Sections: packed accumulators of several metrics, against accumulators that are merged one by one."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.accumulators import BYTES, MAX_METRICS_PER_DEVICE, Accumulators, merge_all
from ems_streams.domain.section import (
    COMPILED,
    accumulators_of,
    add_values,
    merge_section,
    new_section,
    python_add_values,
    python_merge_section,
    section_at,
)
from ems_streams.domain.telemetry_record import TelemetryRecord
from tests.unit.domain.builders import record

NAMES = ["powerKw", "voltage", "current", "temperature"]
values = st.floats(min_value=-1e6, max_value=1e6)
events = st.lists(st.tuples(st.integers(0, 59_999), st.dictionaries(st.sampled_from(NAMES), values, min_size=1)), max_size=30)
Samples = list[tuple[int, dict[str, float]]]
Add = Callable[[bytearray, TelemetryRecord, dict[str, int]], int]
Merge = Callable[[bytearray, bytearray], None]

adds = pytest.mark.parametrize("add", [python_add_values, *([add_values] if COMPILED else [])])
merges = pytest.mark.parametrize("merge", [python_merge_section, *([merge_section] if COMPILED else [])])


def section_of(samples: Samples, names: dict[str, int], add: Add = add_values) -> bytearray:
    section = new_section(60_000)
    for timestamp_ms, metrics in samples:
        assert add(section, record(timestamp_ms, metrics), names) == 0
    return section


@pytest.mark.skipif(not COMPILED, reason="there is no C compiler here, so there is nothing to compare with")
@given(events, events, st.sampled_from([1.0, 1e-310, 1e300, 1e302]))
def test_the_compiled_functions_do_the_same_to_the_bit(one: Samples, other: Samples, scale: float) -> None:
    """Also where sums overflow or values are tiny."""
    sections: list[bytearray] = []
    for add, merge in ((add_values, merge_section), (python_add_values, python_merge_section)):
        names: dict[str, int] = {}
        first, second = (
            section_of([(at, {name: value * scale for name, value in metrics.items()}) for at, metrics in samples], names, add)
            for samples in (one, other)
        )
        merge(first, second)
        sections += [first, second]
    assert sections[:2] == sections[2:]


@adds
@given(samples=events)
def test_metrics_do_not_disturb_each_other(samples: Samples, add: Add) -> None:
    """Whatever comes together with what, each metric is as if it came alone."""
    names: dict[str, int] = {}
    together = accumulators_of(section_of(samples, names, add), names)
    alone: Accumulators = {}
    for name in names:
        own: dict[str, int] = {}
        alone |= accumulators_of(section_of([(at, {name: each[name]}) for at, each in samples if name in each], own, add), own)
    assert together == alone


@merges
@given(one=events, other=events)
def test_merged_sections_are_merged_accumulators(one: Samples, other: Samples, merge: Merge) -> None:
    names: dict[str, int] = {}
    first, second = section_of(one, names), section_of(other, names)
    expected = accumulators_of(first, names)
    merge_all(expected, accumulators_of(second, names))
    merge(first, second)
    assert accumulators_of(first, names) == expected


@given(events)
def test_a_section_survives_as_bytes_among_others(samples: Samples) -> None:
    section = section_of(samples, {})
    assert section_at(b"before" + section + b"behind" + bytes(8), 6) == (60_000, section)


def test_a_section_that_is_cut_short_is_refused() -> None:
    section = section_of([(0, {"powerKw": 1.0, "voltage": 2.0})], {})
    for length in range(len(section)):
        with pytest.raises(struct.error):
            section_at(bytes(section[:length]), 0)


@adds
def test_names_beyond_the_bound_are_left_out_and_counted(add: Add) -> None:
    section, names = new_section(0), dict[str, int]()
    for number in range(MAX_METRICS_PER_DEVICE + 2):
        assert add(section, record(0, {f"m{number}": 1.0}), names) == (number >= MAX_METRICS_PER_DEVICE)
    accumulators = accumulators_of(section, names)
    assert len(accumulators) == len(names) == MAX_METRICS_PER_DEVICE
    assert len(section) == 10 + MAX_METRICS_PER_DEVICE * (1 + BYTES)
    assert add(section, record(0, {"m0": 1.0, "m255": 1.0, "other": 1.0}), names) == 1
    assert [accumulators_of(section, names)[name][0] for name in ("m0", "m1", "m255")] == [2.0, 1.0, 2.0]
