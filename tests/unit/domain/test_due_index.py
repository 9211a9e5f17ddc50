"""When a tick has to look at which device."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems_streams.domain.aggregates import DeviceAggregates
from ems_streams.domain.aggregates_codec import decode, encode, peek
from ems_streams.domain.due_index import DueIndex
from ems_streams.domain.fold_outcome import NOT_YET_MS
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.window_ticks import next_tick_ms, tick
from ems_streams.domain.windows import HOUR_MS, WindowPolicy
from tests.unit.domain.builders import NOON_MS, Device, record
from tests.unit.domain.test_window_closing import LOCAL

times = st.one_of(st.integers(min_value=0, max_value=3 * MINUTE_MS), st.integers(min_value=0, max_value=3 * HOUR_MS))


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 60_000)), max_size=30), st.randoms(use_true_random=False))
def test_a_key_is_given_once_by_the_second_of_its_earliest_time(puts: list, rnd: random.Random) -> None:
    index, wanted = DueIndex(), dict[bytes, int]()
    for name, at_ms in puts:
        key = name.encode()
        index.put([key], at_ms)
        wanted[key] = min(at_ms, wanted.get(key, at_ms))
        if rnd.random() < 0.2:
            now_ms = rnd.randrange(60) * 1000
            given_keys = set(iter(lambda now_ms=now_ms: index.pop(now_ms), None))
            assert given_keys == {key for key, at_ms in wanted.items() if at_ms <= now_ms}
            wanted = {key: at_ms for key, at_ms in wanted.items() if key not in given_keys}
    assert len(index) == len(wanted)
    assert index.pop(-1) is None
    assert {index.pop(60_000) for _ in wanted} == set(wanted)
    assert index.pop(60_000) is None
    assert len(index) == 0


def lagging(device: Device, sent: list[tuple[int, int]]) -> None:
    """Messages with their delay on the way, in the order in which they are sent."""
    for at_ms, delay_ms in sent:
        device.send(record(NOON_MS + at_ms, {"powerKw": 1.0}), arrived_ms=NOON_MS + at_ms + delay_ms)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(times, st.integers(0, 2 * HOUR_MS)), min_size=1, max_size=8),
    st.lists(st.integers(0, 40 * HOUR_MS), max_size=6).map(sorted),
    st.sampled_from((WindowPolicy(), LOCAL, WindowPolicy(quiet_ms=1000))),
)
def test_the_next_tick_is_the_first_that_does_something(sent: list, ticks: list[int], policy: WindowPolicy) -> None:
    device = Device(policy)
    lagging(device, sent)
    for quiet_ms in [0, *ticks, 100 * HOUR_MS]:
        next_ms = next_tick_ms(device.state, device.policy)
        if next_ms != NOT_YET_MS:
            assert not tick(copy_of(device), next_ms - 1, device.policy)
            assert tick(copy_of(device), next_ms, device.policy)
        else:
            assert not tick(copy_of(device), NOON_MS + 1000 * HOUR_MS, device.policy)
        device.quiet(quiet_ms)
        peeked = peek(encode(device.state))
        assert peeked is not None
        assert next_tick_ms(peeked, device.policy) == next_tick_ms(device.state, device.policy)
    assert next_tick_ms(device.state, device.policy) == NOT_YET_MS, "everything is closed in the end"


def copy_of(device: Device) -> DeviceAggregates:
    return decode(encode(device.state))


@pytest.mark.parametrize("lag_ms", [0, HOUR_MS])
def test_a_device_whose_clock_lags_is_not_closed_early(lag_ms: int) -> None:
    """How far its own time has gone on counts, and that it is quiet."""
    device = Device()
    device.send(record(NOON_MS - lag_ms, {"powerKw": 1.0}), arrived_ms=NOON_MS)
    assert next_tick_ms(device.state, device.policy) == NOON_MS + device.policy.quiet_ms
    device.send(record(NOON_MS - lag_ms + 1000, {"powerKw": 1.0}), arrived_ms=NOON_MS + MINUTE_MS)
    assert next_tick_ms(device.state, device.policy) == NOON_MS + MINUTE_MS + device.policy.quiet_ms


def test_a_device_that_was_never_heard_of_waits_for_nothing() -> None:
    assert next_tick_ms(DeviceAggregates("X"), WindowPolicy()) == NOT_YET_MS
