"""The fold of telemetry into a device's state, and the state as bytes."""

import math
import random
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.accumulators import MAX_METRICS_PER_DEVICE, statistics_view
from ems_streams.domain.aggregates import (
    FUTURE_TOLERANCE_MS,
    KEPT_WINDOWS,
    RECENT_IDENTITIES,
    DeviceAggregates,
    decode,
    encode,
    fold,
    thaw,
    total,
)
from ems_streams.domain.identifiers import IDENTITY_BYTES
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.domain.timestamps import MINUTE_MS
from tests.unit.domain.builders import NOON_MS, SERIAL, Sample, folded, identity, minutes, record

readings = st.integers(min_value=-500_000_000, max_value=500_000_000).map(lambda thousandths: thousandths / 1000)
metrics = st.dictionaries(st.sampled_from(["powerKw", "voltage", "current"]), readings, min_size=1)
times_ms = st.integers(min_value=-30 * MINUTE_MS, max_value=30 * MINUTE_MS).map(lambda distance_ms: NOON_MS + distance_ms)
histories = st.lists(st.tuples(times_ms, metrics), min_size=1, max_size=120)


def column(samples: list[Sample], name: str) -> list[float]:
    return [values[name] for _, values in samples if name in values]


def last(samples: list[Sample], name: str) -> float:
    newest_ms = max(timestamp_ms for timestamp_ms, values in samples if name in values)
    return [values[name] for timestamp_ms, values in samples if name in values and timestamp_ms == newest_ms][-1]


def assert_equal(state: DeviceAggregates, other: DeviceAggregates) -> None:
    """The same in everything, the order of names and sections included."""
    for slot in set(DeviceAggregates.__slots__) - {"base", "windows", "names", "recent", "newest", "newest_start_ms"}:
        assert getattr(state, slot) == getattr(other, slot), slot
    kept = RECENT_IDENTITIES * IDENTITY_BYTES
    assert state.recent[-kept:] == other.recent[-kept:]
    assert list(state.names.items()) == list(other.names.items())
    assert thaw(state, state.base) == thaw(other, other.base)
    assert {start: thaw(state, section) for start, section in state.windows.items()} == {
        start: thaw(other, section) for start, section in other.windows.items()
    }


@given(histories)
def test_the_total_is_exact_whatever_the_order_of_event_times(samples: list[Sample]) -> None:
    state = folded(samples)
    statistics = total(state)
    assert statistics.keys() == {name for _, values in samples for name in values}
    for name, accumulator in statistics.items():
        values = column(samples, name)
        view = statistics_view(accumulator)
        assert (view["count"], view["sum"], view["min"], view["max"]) == (len(values), math.fsum(values), min(values), max(values))
        assert view["last"] == last(samples, name)
    assert state.revision == len(samples)
    assert state.last_offset == len(samples) - 1
    assert state.last_timestamp_ms == max(timestamp_ms for timestamp_ms, _ in samples)


@given(histories, st.randoms(use_true_random=False))
def test_totals_of_two_orders_are_equal(samples: list[Sample], order: random.Random) -> None:
    shuffled = samples.copy()
    order.shuffle(shuffled)
    sums = {name: statistics_view(accumulator)["sum"] for name, accumulator in total(folded(samples)).items()}
    assert {name: statistics_view(accumulator)["sum"] for name, accumulator in total(folded(shuffled)).items()} == sums


@given(histories)
def test_in_order_the_kept_windows_are_the_newest_minutes_and_complete(samples: list[Sample]) -> None:
    ordered = sorted(samples, key=lambda sample: sample[0])
    by_minute: dict[int, list[Sample]] = defaultdict(list)
    for sample in ordered:
        by_minute[sample[0] // MINUTE_MS * MINUTE_MS].append(sample)
    state = folded(ordered)
    assert sorted(state.windows) == sorted(by_minute)[-KEPT_WINDOWS:]
    assert state.late_events == 0
    for start_ms, section in state.windows.items():
        for name, accumulator in thaw(state, section).items():
            view = statistics_view(accumulator)
            values = column(by_minute[start_ms], name)
            assert (view["count"], view["sum"], view["last"]) == (len(values), math.fsum(values), last(by_minute[start_ms], name))


@given(histories, st.integers(min_value=0, max_value=119), st.integers(min_value=1, max_value=10))
def test_encoding_at_any_point_changes_nothing(samples: list[Sample], first: int, every: int) -> None:
    """What commits, evictions from memory and restarts do to a state."""
    state = DeviceAggregates(SERIAL)
    for offset, (timestamp_ms, values) in enumerate(samples):
        if offset >= first and (offset - first) % every == 0:
            data = encode(state)
            assert_equal(decode(data), state)
            if offset % 2:
                state = decode(data)
        fold(state, record(timestamp_ms, values), identity(offset), offset)
    assert_equal(decode(encode(state)), folded(samples))
    assert encode(decode(encode(state))) == encode(state)


def test_a_window_starts_with_its_first_millisecond_and_ends_before_the_next() -> None:
    state = folded([(NOON_MS - 1, {"powerKw": 1.0}), (NOON_MS, {"powerKw": 2.0}), (NOON_MS + MINUTE_MS - 1, {"powerKw": 3.0})])
    counts = {start_ms: thaw(state, section)["powerKw"][0] for start_ms, section in state.windows.items()}
    assert counts == {NOON_MS - MINUTE_MS: 1.0, NOON_MS: 2.0}


def test_the_oldest_window_goes_into_the_base_when_there_is_one_too_many() -> None:
    state = folded(minutes(KEPT_WINDOWS))
    assert thaw(state, state.base) == {}
    fold(state, record(NOON_MS + KEPT_WINDOWS * MINUTE_MS, {"powerKw": 1.0}), identity(100), 100)
    assert len(state.windows) == KEPT_WINDOWS
    assert min(state.windows) == NOON_MS + MINUTE_MS
    assert thaw(state, state.base)["powerKw"][0] == 1.0


def test_an_event_older_than_the_oldest_window_counts_in_the_total_only() -> None:
    state = folded(minutes(KEPT_WINDOWS + 1))
    windows = set(state.windows)
    fold(state, record(NOON_MS, {"powerKw": 100.0}), identity(100), 100)
    assert state.late_events == 1
    assert set(state.windows) == windows
    assert statistics_view(total(state)["powerKw"])["sum"] == 155.0
    assert statistics_view(total(state)["powerKw"])["last"] == 10.0
    fold(state, record(NOON_MS + MINUTE_MS, {"powerKw": 100.0}), identity(101), 101)
    assert state.late_events == 1, "the oldest kept window still takes events"


def test_a_missing_minute_among_the_kept_ones_gets_its_window() -> None:
    state = folded([*minutes(1), *minutes(KEPT_WINDOWS - 1, first=2), *minutes(1, first=1)])
    assert state.late_events == 0
    assert sorted(state.windows) == [NOON_MS + number * MINUTE_MS for number in range(1, KEPT_WINDOWS + 1)]


def test_an_old_event_opens_a_window_while_there_is_room() -> None:
    state = folded([*minutes(KEPT_WINDOWS - 1), (NOON_MS - 5 * MINUTE_MS, {"powerKw": 1.0})])
    assert state.late_events == 0
    assert min(state.windows) == NOON_MS - 5 * MINUTE_MS


def test_a_clock_far_ahead_does_not_push_out_the_present() -> None:
    year_ms = 365 * 86_400_000
    state = folded([(NOON_MS + year_ms + number * MINUTE_MS, {"powerKw": 1.0}) for number in range(20)], arrived_ms=NOON_MS)
    assert state.windows == {}
    assert state.future_events == 20
    fold(state, record(NOON_MS, {"powerKw": 2.0}), identity(100), 100, NOON_MS)
    assert list(state.windows) == [NOON_MS]
    view = statistics_view(total(state)["powerKw"])
    assert (view["count"], view["sum"], view["last"]) == (21, 22.0, 1.0)


@pytest.mark.parametrize(("ahead_ms", "future_events"), [(FUTURE_TOLERANCE_MS, 0), (FUTURE_TOLERANCE_MS + 1, 1)])
def test_a_clock_may_be_ahead_by_the_tolerance(ahead_ms: int, future_events: int) -> None:
    state = folded([(NOON_MS + ahead_ms, {"powerKw": 1.0})], arrived_ms=NOON_MS)
    assert state.future_events == future_events
    assert len(state.windows) == 1 - future_events


def test_without_arrival_no_clock_is_too_far_ahead_but_windows_stay_bounded() -> None:
    state = folded([*minutes(3), *minutes(30, first=10_000_000), *minutes(3)])
    assert len(state.windows) == KEPT_WINDOWS
    assert state.late_events == 3
    assert statistics_view(total(state)["powerKw"])["count"] == 36


def test_a_message_that_comes_again_is_not_folded() -> None:
    state = folded(minutes(3))
    before = total(state)
    assert not fold(state, record(NOON_MS, {"powerKw": 0.0}), identity(1), 3)
    assert total(state) == before
    assert (state.revision, state.duplicate_events, state.last_offset) == (3, 1, 3)


@pytest.mark.parametrize(("distance", "is_new"), [(RECENT_IDENTITIES - 1, False), (RECENT_IDENTITIES, True)])
def test_the_last_64_messages_are_recognised(distance: int, is_new: bool) -> None:
    state = folded((NOON_MS + number, {"powerKw": 1.0}) for number in range(1 + distance))
    assert len(state.recent) <= 2 * RECENT_IDENTITIES * IDENTITY_BYTES
    assert fold(state, record(NOON_MS, {"powerKw": 1.0}), identity(0), 1000) is is_new


def test_a_duplicate_does_not_push_an_identity_out() -> None:
    state = folded((NOON_MS + number, {"powerKw": 1.0}) for number in range(RECENT_IDENTITIES))
    for _ in range(200):
        assert not fold(state, record(NOON_MS, {"powerKw": 1.0}), identity(RECENT_IDENTITIES - 1), 1000)
    assert not fold(state, record(NOON_MS, {"powerKw": 1.0}), identity(0), 1000)


def test_identity_fields_follow_the_registry_with_the_next_window() -> None:
    state = folded(minutes(1))
    fold(state, record(NOON_MS + MINUTE_MS, {"powerKw": 1.0}, device_id=7, site_id=9, device_type="BATTERY"), identity(5), 5)
    assert (state.device_id, state.site_id, state.device_type) == (7, 9, "BATTERY")


def test_a_device_that_invents_metric_names_stays_bounded() -> None:
    state = folded((NOON_MS, {f"m{number}": 1.0, "powerKw": 1.0}) for number in range(1000))
    assert len(state.names) == MAX_METRICS_PER_DEVICE
    assert state.left_out_values == 1000 - (MAX_METRICS_PER_DEVICE - 1)
    assert statistics_view(total(state)["powerKw"])["count"] == 1000
    decoded = decode(encode(state))
    assert_equal(decoded, state)


def test_five_metrics_and_ten_windows_fit_in_under_five_kilobytes() -> None:
    names = ("powerKw", "voltage", "current", "temperature", "efficiency")
    state = folded((NOON_MS + number * MINUTE_MS // 10, dict.fromkeys(names, 1 / 3)) for number in range(200))
    assert len(state.windows) == KEPT_WINDOWS
    assert len(encode(state)) < 5_000


@given(histories, st.text(), st.integers(min_value=0, max_value=2**63 - 1))
def test_any_device_type_and_id_survive(samples: list[Sample], device_type: str, device_id: int) -> None:
    state = folded(samples)
    state.device_type, state.device_id = device_type, device_id
    assert_equal(decode(encode(state)), state)


def test_a_state_without_events_survives() -> None:
    assert_equal(decode(encode(DeviceAggregates(SERIAL, 1, 2, "METER"))), DeviceAggregates(SERIAL, 1, 2, "METER"))


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x01", b"\x02" + bytes(500), b'{"serialNumber":"INV-001"}', b"\x01" + b"\xff" * 400])
def test_what_is_no_state_is_refused(data: bytes) -> None:
    with pytest.raises(StateCodecError, match="device aggregates"):
        decode(data)


def test_another_version_is_named() -> None:
    with pytest.raises(StateCodecError, match="version 2, expected 1"):
        decode(b"\x02" + encode(folded(minutes(2)))[1:])


@given(st.binary(max_size=600))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    with pytest.raises(StateCodecError):
        decode(b"\x01" + data)


def test_a_state_that_is_cut_short_or_too_long_is_refused() -> None:
    data = encode(folded(minutes(12)))
    for length in range(len(data)):
        with pytest.raises(StateCodecError):
            decode(data[:length])
    with pytest.raises(StateCodecError):
        decode(data + b"\x00")
