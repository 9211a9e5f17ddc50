"""Samples: messages as bytes, in an order that depends on nothing but the set of them."""

import random
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain import section
from ems_streams.domain.accumulators import MAX_METRICS_PER_DEVICE
from ems_streams.domain.samples import append, first_ms, ordered, pieces, python_append, split, values_of
from ems_streams.domain.telemetry_record import TelemetryRecord
from tests.unit.domain.builders import identity, record

Append = Callable[[bytearray, TelemetryRecord, bytes, dict[str, int]], int]
appends = pytest.mark.parametrize("add", [python_append, *([append] if section.COMPILED else [])])

metrics = st.dictionaries(st.sampled_from(["powerKw", "voltage", "current", "temperature"]), st.floats(allow_nan=False), max_size=4)
# Few of each, so that there are equal times and repeated identities.
messages = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12), metrics), max_size=25)
Messages = list[tuple[int, int, dict[str, float]]]


def samples_of(messages: Messages, names: dict[str, int] | None = None, add: Append = append) -> bytearray:
    names = {} if names is None else names
    samples = bytearray()
    for time_ms, number, values in messages:
        add(samples, record(time_ms, values), identity(number), names)
    return samples


@pytest.mark.skipif(not section.COMPILED, reason="there is no C compiler here, so there is nothing to compare with")
@given(messages)
def test_the_compiled_function_does_the_same_to_the_bit(messages: Messages) -> None:
    names: tuple[dict[str, int], dict[str, int]] = ({}, {})
    assert samples_of(messages, names[0]) == samples_of(messages, names[1], python_append)
    assert list(names[0].items()) == list(names[1].items())


@appends
@given(messages=messages)
def test_every_message_is_there_with_all_that_it_says(messages: Messages, add: Append) -> None:
    names: dict[str, int] = {}
    samples = samples_of(messages, names, add)
    by_number = list(names)
    found = [(time_ms, {by_number[number]: value for number, value in values}) for time_ms, values in values_of(samples)]
    assert found == [(time_ms, values) for time_ms, _, values in messages]
    assert [(time_ms, each) for time_ms, each, _ in pieces(samples)] == [(time_ms, identity(number)) for time_ms, number, _ in messages]
    assert b"".join(sample for *_, sample in pieces(samples)) == samples


@appends
@pytest.mark.parametrize("time_ms", [-(2**63), -1, 0, 2**63 - 1])
def test_any_time_survives(time_ms: int, add: Append) -> None:
    assert first_ms(samples_of([(time_ms, 1, {"powerKw": 1.0})], add=add)) == time_ms


@appends
def test_names_beyond_the_bound_are_left_out_and_counted(add: Append) -> None:
    names: dict[str, int] = {}
    samples = bytearray()
    for number in range(MAX_METRICS_PER_DEVICE + 2):
        assert add(samples, record(0, {f"m{number}": 1.0}), identity(number), names) == (number >= MAX_METRICS_PER_DEVICE)
    assert len(names) == MAX_METRICS_PER_DEVICE
    assert add(samples, record(0, {"other": 1.0, "m0": 2.0, "another": 3.0, "m255": 4.0}), identity(1000), names) == 2
    *before, (_, last) = values_of(samples)
    assert last == [(0, 2.0), (255, 4.0)]
    assert len(before) == MAX_METRICS_PER_DEVICE + 2, "a message that says nothing that is kept is a message all the same"


@given(messages, messages, st.randoms(use_true_random=False))
def test_the_order_is_that_of_time_and_identity_whatever_order_messages_came_in(
    one: Messages, other: Messages, order: random.Random
) -> None:
    names: dict[str, int] = {}
    # The same identity is the same message, so it says the same.
    content = {number: (time_ms, number, values) for time_ms, number, values in (*one, *other)}
    first, second = ([content[number] for _, number, _ in part] for part in (one, other))
    together = first + second
    samples = ordered(samples_of(first, names), samples_of(second, names))
    found = [(time_ms, each) for time_ms, each, _ in pieces(samples.data)]
    assert found == sorted({(content[number][0], identity(number)) for _, number, _ in together})
    assert samples.repeated == len(together) - len(found)
    order.shuffle(together)
    assert ordered(samples_of(together, names)) == samples


def test_a_message_that_claims_two_times_counts_once_at_the_earlier() -> None:
    samples = ordered(samples_of([(20, 1, {"powerKw": 2.0}), (10, 1, {"powerKw": 1.0})]))
    assert ([time_ms for time_ms, *_ in pieces(samples.data)], samples.repeated) == ([10], 1)


@given(messages, st.lists(st.integers(-1, 32), max_size=4).map(sorted))
def test_a_border_belongs_to_what_comes_behind_it(messages: Messages, borders_ms: list[int]) -> None:
    samples = ordered(samples_of(messages)).data
    parts = split(samples, *borders_ms)
    assert len(parts) == len(borders_ms) + 1
    assert b"".join(parts) == samples
    for part, after_ms, before_ms in zip(parts, [-100, *borders_ms], [*borders_ms, 100], strict=True):
        assert all(after_ms <= time_ms < before_ms for time_ms, *_ in pieces(part))


def test_samples_that_are_cut_short_are_refused() -> None:
    samples = samples_of([(0, 1, {"powerKw": 1.0, "voltage": 2.0})])
    for length in range(1, len(samples)):
        with pytest.raises(struct.error):
            list(values_of(samples[:length]))
