"""The fold of telemetry into a device's state, and the state as bytes; windows are in `test_window_closing`."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems_streams.domain.accumulators import COUNT, MAX_METRICS_PER_DEVICE, statistics_view
from ems_streams.domain.aggregates import (
    DeviceAggregates,
    PythonDeviceAggregates,
    fold,
    thaw,
    total,
)
from ems_streams.domain.aggregates_codec import decode, encode
from ems_streams.domain.device_windows import WindowResult
from ems_streams.domain.fold_outcome import FUTURE_TOLERANCE_MS, RECENT_IDENTITIES, Outcome
from ems_streams.domain.identifiers import IDENTITY_BYTES
from ems_streams.domain.recent_identities import last as last_identities
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.window_closing import settle
from ems_streams.domain.window_reading import current_windows
from ems_streams.domain.windows import DAY_MS, HOUR_MS, Window
from tests.unit.domain.builders import NOON_MS, POLICY, SERIAL, Device, MemoryQuarters, Sample, folded, identity, minutes, record

readings = st.integers(min_value=-500_000_000, max_value=500_000_000).map(lambda thousandths: thousandths / 1000)
metrics = st.dictionaries(st.sampled_from(["powerKw", "voltage", "current"]), readings, min_size=1)
times_ms = st.integers(min_value=-30 * MINUTE_MS, max_value=30 * MINUTE_MS).map(lambda distance_ms: NOON_MS + distance_ms)
histories = st.lists(st.tuples(times_ms, metrics), min_size=1, max_size=60)


def column(samples: list[Sample], name: str) -> list[float]:
    return [values[name] for _, values in samples if name in values]


def assert_equal(state: DeviceAggregates, other: DeviceAggregates) -> None:
    """The same in everything, the order of names and sections included."""
    for slot in set(PythonDeviceAggregates.__slots__) - {"base", "names", "recent"}:
        assert getattr(state, slot) == getattr(other, slot), slot
    assert last_identities(state.recent, RECENT_IDENTITIES) == last_identities(other.recent, RECENT_IDENTITIES)
    assert list(state.names.items()) == list(other.names.items())
    assert thaw(state, state.base) == thaw(other, other.base)


def send(state: DeviceAggregates, time_ms: int, number: int, *, message_id: bool = True, arrived_ms: int = NOON_MS) -> Outcome:
    message = record(time_ms, {"powerKw": 1.0}, message_id=str(number) if message_id else None)
    return fold(state, message, identity(number), state.last_offset + 1, arrived_ms, POLICY)


def count(state: DeviceAggregates) -> float:
    return total(state)["powerKw"][COUNT]


@given(histories)
def test_the_total_is_exact_whatever_the_order_of_event_times(samples: list[Sample]) -> None:
    state = folded(samples)
    statistics = total(state)
    assert statistics.keys() == {name for _, values in samples for name in values}
    for name, accumulator in statistics.items():
        values = column(samples, name)
        view = statistics_view(accumulator)
        assert (view["count"], view["sum"], view["min"], view["max"]) == (len(values), math.fsum(values), min(values), max(values))
        newest_ms = max(time_ms for time_ms, values in samples if name in values)
        assert view["last"] in [values[name] for time_ms, values in samples if name in values and time_ms == newest_ms]
    assert state.revision == len(samples)
    assert state.last_offset == len(samples) - 1
    assert state.newest_ms == max(time_ms for time_ms, _ in samples)


@given(histories, st.randoms(use_true_random=False))
def test_totals_of_two_orders_are_equal(samples: list[Sample], order: random.Random) -> None:
    shuffled = samples.copy()
    order.shuffle(shuffled)
    sums = {name: statistics_view(accumulator)["sum"] for name, accumulator in total(folded(samples)).items()}
    assert {name: statistics_view(accumulator)["sum"] for name, accumulator in total(folded(shuffled)).items()} == sums


@settings(deadline=None)
@given(histories, st.integers(min_value=1, max_value=10), st.integers(min_value=1, max_value=10))
def test_encoding_at_any_point_changes_nothing(samples: list[Sample], every: int, batch: int) -> None:
    """What commits, evictions from memory and restarts do to a state."""
    kept, stored = DeviceAggregates(SERIAL), DeviceAggregates(SERIAL)
    quarters, stored_quarters = MemoryQuarters(), MemoryQuarters()
    found: tuple[list[WindowResult], list[WindowResult]] = ([], [])
    for offset, (time_ms, values) in enumerate(samples):
        for state in (kept, stored):
            fold(state, record(time_ms, values), identity(offset), offset, NOON_MS, POLICY)
        if offset % batch == 0:
            found[0].extend(settle(kept, quarters, POLICY))
            found[1].extend(settle(stored, stored_quarters, POLICY))
            assert_equal(decode(encode(stored)), stored)
            if offset % every == 0:
                stored_quarters.forget()
                stored = decode(encode(stored))
    assert found[0] == found[1]
    assert encode(stored) == encode(kept)
    if not kept.late:
        assert_equal(decode(encode(kept)), stored)


def test_a_window_starts_with_its_first_millisecond_and_ends_before_the_next() -> None:
    device = Device()
    device.send(*(record(NOON_MS + distance_ms, {"powerKw": 1.0}) for distance_ms in (-1, 0, MINUTE_MS - 1)))
    found = current_windows(device.state, device.quarters, POLICY, Window.MINUTE, limit=10)
    assert {result.span.start_ms: result.summary.events for result in found} == {NOON_MS - MINUTE_MS: 1, NOON_MS: 2}


def test_a_clock_far_ahead_does_not_push_out_the_present() -> None:
    state = folded([(NOON_MS + 365 * DAY_MS + number * MINUTE_MS, {"powerKw": 1.0}) for number in range(20)], arrived_ms=NOON_MS)
    assert (state.future_events, state.open) == (20, b"")
    assert send(state, NOON_MS, 100) is Outcome.FOLDED
    assert (state.newest_ms, state.open_from_ms) == (NOON_MS, NOON_MS)
    assert statistics_view(total(state)["powerKw"])["count"] == 21


@pytest.mark.parametrize(("ahead_ms", "future_events"), [(FUTURE_TOLERANCE_MS, 0), (FUTURE_TOLERANCE_MS + 1, 1)])
def test_a_clock_may_be_ahead_by_the_tolerance(ahead_ms: int, future_events: int) -> None:
    state = folded([(NOON_MS + ahead_ms, {"powerKw": 1.0})], arrived_ms=NOON_MS)
    assert state.future_events == future_events
    assert bool(state.open) is not bool(future_events)


@pytest.mark.parametrize("message_id", [True, False])
def test_a_message_from_the_future_that_comes_again_is_not_counted_again(message_id: bool) -> None:
    state = DeviceAggregates(SERIAL)
    outcomes = [send(state, NOON_MS + DAY_MS, 1, message_id=message_id) for _ in range(3)]
    assert outcomes == [Outcome.FOLDED, Outcome.REPEATED, Outcome.REPEATED]
    assert (state.future_events, state.duplicate_events, state.revision, count(state)) == (1, 2, 1, 1.0)


def test_a_message_that_comes_again_is_not_folded() -> None:
    state = folded(minutes(3))
    before = total(state), state.revision
    assert send(state, NOON_MS + MINUTE_MS, 1) is Outcome.REPEATED
    assert (total(state), state.revision) == before
    assert (state.duplicate_events, state.last_offset) == (1, 3)


def test_a_message_without_an_id_that_comes_again_is_in_its_windows_and_the_total_once() -> None:
    device = Device()
    device.send(*(record(NOON_MS, {"powerKw": 1.0}) for _ in range(3)))
    assert count(device.state) == 1.0
    device.quiet(HOUR_MS)
    device.send(record(NOON_MS, {"powerKw": 1.0}))
    assert (count(device.state), device.state.duplicate_events) == (1.0, 3)


@pytest.mark.parametrize(("distance", "outcome"), [(RECENT_IDENTITIES - 1, Outcome.REPEATED), (RECENT_IDENTITIES, Outcome.FOLDED)])
def test_the_last_64_messages_with_ids_are_recognised_at_once_and_the_others_in_their_window(distance: int, outcome: Outcome) -> None:
    state = DeviceAggregates(SERIAL)
    for number in range(1 + distance):
        send(state, NOON_MS + number, number)
    assert len(state.recent) <= 2 * RECENT_IDENTITIES * IDENTITY_BYTES
    assert send(state, NOON_MS, 0) is outcome
    assert count(state) == 1 + distance


@pytest.mark.parametrize(("between", "outcome"), [(RECENT_IDENTITIES - 1, Outcome.REPEATED), (RECENT_IDENTITIES, Outcome.LATE)])
def test_of_messages_that_no_window_takes_the_last_64_are_recognised(between: int, outcome: Outcome) -> None:
    device = Device()
    device.send(record(NOON_MS, {"powerKw": 1.0}))
    long_ago_ms = NOON_MS - 2 * DAY_MS
    device.quiet(HOUR_MS)
    for number in range(1 + between):
        assert send(device.state, long_ago_ms + number, number, message_id=False) is Outcome.LATE
    assert send(device.state, long_ago_ms, 0, message_id=False) is outcome


def test_a_duplicate_does_not_push_an_identity_out() -> None:
    state = DeviceAggregates(SERIAL)
    for number in range(RECENT_IDENTITIES):
        send(state, NOON_MS + number, number)
    for _ in range(200):
        assert send(state, NOON_MS, RECENT_IDENTITIES - 1) is Outcome.REPEATED
    assert send(state, NOON_MS, 0) is Outcome.REPEATED


def test_identity_fields_follow_the_registry_while_the_device_never_pauses() -> None:
    device = Device()
    for step in range(60):
        moved = {"device_id": 7, "site_id": 9, "device_type": "BATTERY"} if step >= 30 else {}
        device.send(record(NOON_MS + step * 10_000, {"powerKw": 1.0}, **moved))
    assert (device.state.device_id, device.state.site_id, device.state.device_type) == (7, 9, "BATTERY")


def test_a_straggler_does_not_take_identity_fields_back() -> None:
    device = Device()
    device.send(record(NOON_MS, {"powerKw": 1.0}, site_id=1))
    device.send(record(NOON_MS + 10 * MINUTE_MS, {"powerKw": 1.0}, site_id=9))
    device.send(record(NOON_MS + 8 * MINUTE_MS, {"powerKw": 2.0}, site_id=1), record(NOON_MS + 1, {"powerKw": 2.0}, site_id=1))
    assert device.state.site_id == 9


def test_a_device_that_invents_metric_names_stays_bounded() -> None:
    state = folded((NOON_MS, {f"m{number}": 1.0, "powerKw": 1.0}) for number in range(1000))
    assert len(state.names) == MAX_METRICS_PER_DEVICE
    assert state.left_out_values == 1000 - (MAX_METRICS_PER_DEVICE - 1)
    assert statistics_view(total(state)["powerKw"])["count"] == 1000
    decoded = decode(encode(state))
    assert_equal(decoded, state)


def test_a_state_does_not_grow_with_the_time_that_its_device_has_been_there() -> None:
    names = ("powerKw", "voltage", "current", "temperature", "efficiency")
    device, sizes = Device(), []
    for step in range(600):
        device.send(record(NOON_MS + step * 10_000, dict.fromkeys(names, 1 / 3), message_id=str(step)))
        sizes.append(len(encode(device.state)))
    assert max(sizes[300:]) == max(sizes[100:300])
    assert max(sizes) < 2_500


@given(histories, st.text(), st.integers(min_value=0, max_value=2**63 - 1))
def test_any_device_type_and_id_survive(samples: list[Sample], device_type: str, device_id: int) -> None:
    state = folded(samples)
    state.device_type, state.device_id = device_type, device_id
    assert_equal(decode(encode(state)), state)


def test_a_state_without_events_survives() -> None:
    assert_equal(decode(encode(DeviceAggregates(SERIAL, 1, 2, "METER"))), DeviceAggregates(SERIAL, 1, 2, "METER"))


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x02", b"\x03" + bytes(500), b'{"serialNumber":"INV-001"}', b"\x02" + b"\xff" * 400])
def test_what_is_no_state_is_refused(data: bytes) -> None:
    with pytest.raises(StateCodecError, match="device aggregates"):
        decode(data)


def test_another_version_is_named() -> None:
    with pytest.raises(StateCodecError, match="version 3, expected 2"):
        decode(b"\x03" + encode(folded(minutes(2)))[1:])


@given(st.binary(max_size=600))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    with pytest.raises(StateCodecError):
        decode(b"\x02" + data)


def test_a_state_that_is_cut_short_or_too_long_is_refused() -> None:
    data = encode(folded(minutes(12)))
    for length in range(len(data)):
        with pytest.raises(StateCodecError):
            decode(data[:length])
    with pytest.raises(StateCodecError):
        decode(data + b"\x00")


def test_what_is_beyond_the_horizon_is_late_whether_or_not_anything_was_settled_in_between() -> None:
    late = record(NOON_MS - DAY_MS - 1, {"powerKw": 9.0}, message_id="late")
    at_once, settled = Device(), Device()
    at_once.send(record(NOON_MS, {"powerKw": 1.0}), record(NOON_MS + 1, {"powerKw": 1.0}), late)
    settled.send(record(NOON_MS, {"powerKw": 1.0}))
    settled.send(record(NOON_MS + 1, {"powerKw": 1.0}))
    settled.send(late)
    assert at_once.outcomes[-1] is settled.outcomes[-1] is Outcome.LATE
    assert at_once.state.late_events == settled.state.late_events == 1
