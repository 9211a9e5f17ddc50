"""The compiled state of a device against what `aggregates` says it does: the same to the bit."""

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems_streams.domain import aggregates
from ems_streams.domain.accumulators import COUNT, MAX_METRICS_PER_DEVICE
from ems_streams.domain.aggregates import DeviceAggregates, PythonDeviceAggregates, fold, fold_usual, python_fold, total
from ems_streams.domain.aggregates_codec import encode
from ems_streams.domain.fold_outcome import FUTURE_TOLERANCE_MS, NEVER_MS, NOT_YET_MS, OPEN_BYTES_MAX, QUARTER_BYTES_MAX, Outcome
from ems_streams.domain.identifiers import telemetry_identity
from ems_streams.domain.telemetry_record import TelemetryRecord
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.window_closing import settle
from ems_streams.domain.window_ticks import tick
from ems_streams.domain.windows import DAY_MS, HOUR_MS
from ems_streams.errors import MalformedError
from tests.unit.domain.builders import NOON_MS, POLICY, SERIAL, MemoryQuarters, identity, record

pytestmark = pytest.mark.skipif(
    DeviceAggregates is PythonDeviceAggregates, reason="there is no C compiler here, so there is nothing to compare with"
)

NAMES = ["powerKw", "voltage", "current", *(f"m{number}" for number in range(4))]
times_ms = st.one_of(
    st.integers(-5 * MINUTE_MS, 30 * MINUTE_MS),
    st.sampled_from([-2 * DAY_MS, -DAY_MS, -DAY_MS - 1, FUTURE_TOLERANCE_MS, FUTURE_TOLERANCE_MS + 1, 2 * DAY_MS]),
).map(lambda distance_ms: NOON_MS + distance_ms)
metrics = st.dictionaries(st.sampled_from(NAMES), st.floats(-1e6, 1e6), min_size=1)
ids = st.one_of(st.none(), st.integers(0, 5).map(str))
sites = st.integers(1, 3)
messages = st.tuples(times_ms, metrics, ids, sites)
steps = st.lists(st.one_of(messages, st.sampled_from(["settle", "tick"])), max_size=60)


def plain_state() -> DeviceAggregates:
    state: Any = PythonDeviceAggregates(SERIAL)
    return state  # type: ignore[no-any-return]  # for the checker they are one type


@settings(deadline=None)
@given(steps)
def test_every_step_leaves_the_same_state(steps: list[Any]) -> None:
    plain, compiled = plain_state(), DeviceAggregates(SERIAL)
    quarters = MemoryQuarters(), MemoryQuarters()
    for offset, step in enumerate(steps):
        if step == "settle":
            assert settle(plain, quarters[0], POLICY) == settle(compiled, quarters[1], POLICY)
        elif step == "tick":
            now_ms = plain.arrived_ms + HOUR_MS
            assert tick(plain, now_ms, POLICY) is tick(compiled, now_ms, POLICY)
        else:
            time_ms, values, message_id, site_id = step
            message = record(time_ms, values, message_id=message_id, site_id=site_id)
            taken = telemetry_identity(message_id, str(time_ms).encode()), offset, NOON_MS, POLICY
            assert fold(compiled, message, *taken) is python_fold(plain, message, *taken)
        assert encode(compiled) == encode(plain)
        assert compiled.late == plain.late
        assert list(compiled.names.items()) == list(plain.names.items())


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize(("ago_ms", "late"), [(DAY_MS, False), (DAY_MS + 1, True)])
def test_the_horizon_is_the_same_to_the_millisecond(ago_ms: int, late: bool, closed: bool) -> None:
    for fold_one, state in ((python_fold, plain_state()), (fold, DeviceAggregates(SERIAL))):
        fold_one(state, record(NOON_MS, {"powerKw": 1.0}), identity(1), 1, NOON_MS, POLICY)
        if closed:
            settle(state, MemoryQuarters(), POLICY)
        outcome = fold_one(state, record(NOON_MS - ago_ms, {"powerKw": 1.0}), identity(2), 2, NOON_MS, POLICY)
        assert outcome is (Outcome.LATE if late else Outcome.DUE)


def test_names_are_shared_and_never_changed_for_another_device() -> None:
    one, other = DeviceAggregates(SERIAL), DeviceAggregates(SERIAL)
    for state in (one, other):
        fold(state, record(NOON_MS, {"powerKw": 1.0}), identity(1), 1, NOON_MS, POLICY)
    assert one.names is other.names
    fold(one, record(NOON_MS, {"powerKw": 1.0, "voltage": 1.0}), identity(2), 2, NOON_MS, POLICY)
    assert (dict(one.names), dict(other.names)) == ({"powerKw": 0, "voltage": 1}, {"powerKw": 0})


def test_the_greatest_number_of_names_is_the_same() -> None:
    plain, compiled = plain_state(), DeviceAggregates(SERIAL)
    for number in range(0, MAX_METRICS_PER_DEVICE + 20, 7):
        message = record(NOON_MS, {f"n{number + each}": 1.0 for each in range(7)} | {"powerKw": 1.0})
        for fold_one, state in ((python_fold, plain), (fold, compiled)):
            fold_one(state, message, identity(number), number, NOON_MS, POLICY)
    assert len(compiled.names) == MAX_METRICS_PER_DEVICE
    assert compiled.left_out_values == plain.left_out_values > 0
    assert encode(compiled) == encode(plain)


def test_a_copy_has_everything() -> None:
    state = DeviceAggregates(SERIAL, 1, 2, "METER")
    fold(state, record(NOON_MS, {"powerKw": 1.0}), identity(1), 1, NOON_MS, POLICY)
    settle(state, MemoryQuarters(), POLICY)
    copied = copy.copy(state)
    for slot in PythonDeviceAggregates.__slots__:
        assert getattr(copied, slot) == getattr(state, slot), slot
    copied.closed_ms = (1, 2, 3, 4, 5)
    assert state.closed_ms[0] != 1


@pytest.mark.parametrize("ends_ms", [(), (1, 2, 3, 4), (1, 2, 3, 4, 5, 6)])
def test_another_number_of_ends_is_refused(ends_ms: tuple[int, ...]) -> None:
    state = DeviceAggregates(SERIAL)
    with pytest.raises(ValueError, match="expected 5"):
        state.closed_ms = ends_ms
    assert state.closed_ms == (NEVER_MS,) * 5
    assert state.open_from_ms == NOT_YET_MS


@dataclass(frozen=True)
class FakeRecord:
    """What a fold asks of a Kafka record."""

    offset: int
    timestamp: int
    key: bytes
    value: bytes


@dataclass
class Folded:
    """What became of a run of records."""

    states: dict[bytes, DeviceAggregates]
    due: set[bytes]
    left: list[int]


def fold_run(records: Sequence[FakeRecord], events: Sequence[Any], changed: dict[bytes, Any], *, usual: bool) -> Folded:
    """As the agent does it, with the other states not loaded yet; `left` has the indices that were not usual."""
    states: dict[bytes, DeviceAggregates] = {}
    due: list[bytes] = []
    left, at = [], 0
    while (at := fold_usual(list(records), list(events), at, changed, POLICY, due) if usual else at) < len(records):
        left.append(at)
        each, event = records[at], events[at]
        at += 1
        if isinstance(event, MalformedError) or each.key != event.key:
            continue
        state = changed.setdefault(each.key, states.get(each.key) or DeviceAggregates(event.serial_number))
        outcome = fold(state, event, telemetry_identity(event.message_id, each.value), each.offset, each.timestamp, POLICY)
        if outcome is Outcome.DUE:
            due.append(each.key)
    return Folded(changed, set(due), left)


def run_of(messages: list[tuple[int, dict[str, float], str | None, int]]) -> tuple[list[FakeRecord], list[TelemetryRecord]]:
    """Messages of three devices; the site says which."""
    events = [
        record(time_ms, values, message_id=message_id, serial_number=f"INV-{site_id}") for time_ms, values, message_id, site_id in messages
    ]
    return [FakeRecord(offset, NOON_MS, event.key, repr(event).encode()) for offset, event in enumerate(events)], events


@settings(deadline=None)
@given(st.lists(messages, max_size=60))
def test_usual_messages_are_folded_as_one_by_one(messages: list[tuple[int, dict[str, float], str | None, int]]) -> None:
    records, events = run_of(messages)
    fast, slow = fold_run(records, events, {}, usual=True), fold_run(records, events, {}, usual=False)
    assert {key: encode(state) for key, state in fast.states.items()} == {key: encode(state) for key, state in slow.states.items()}
    assert {key: state.late for key, state in fast.states.items()} == {key: state.late for key, state in slow.states.items()}
    assert fast.due == slow.due


def test_what_is_not_usual_is_left_to_the_caller() -> None:
    value = {"powerKw": 1.0}
    records, events = run_of(
        [(NOON_MS + number, value, None, 1) for number in range(6)] + [(NOON_MS + 5 - DAY_MS - ago_ms, value, None, 1) for ago_ms in (0, 1)]
    )
    broken: list[Any] = [*events]
    broken[2] = MalformedError("invalid_json", "no JSON")
    records[4] = FakeRecord(4, NOON_MS, b"INV-2", b"")
    # 0 is of a device without a state, 2 malformed, 4 under a wrong key, 7 too late, which 6 is only just not.
    assert fold_run(records, broken, {}, usual=True).left == [0, 2, 4, 7]
    assert aggregates.fold_usual([], [], 0, {}, POLICY, []) == 0


def test_other_types_of_states_and_devices_without_an_open_minute_are_left_to_the_caller() -> None:
    records, events = run_of([(NOON_MS, {"powerKw": 1.0}, None, 1)])
    assert fold_usual(records, events, 0, {}, POLICY, []) == 0
    assert fold_usual(records, events, 0, {b"INV-1": None}, POLICY, []) == 0
    assert fold_usual(records, events, 0, {b"INV-1": b"a quarter"}, POLICY, []) == 0
    state = DeviceAggregates("INV-1")
    assert fold_usual(records, events, 0, {b"INV-1": state}, POLICY, []) == 0
    fold(state, record(NOON_MS, {"powerKw": 2.0}), identity(1), 0, NOON_MS, POLICY)
    assert fold_usual(records, events, 0, {b"INV-1": state}, POLICY, []) == 1
    state.watermark_ms += 1  # by a tick
    assert fold_usual(records, events, 0, {b"INV-1": state}, POLICY, []) == 0


MANY = {f"n{number}": 1.0 for number in range(64)}
FOLDS = [pytest.param(python_fold, plain_state, id="plain"), pytest.param(fold, lambda: DeviceAggregates(SERIAL), id="compiled")]


@pytest.mark.parametrize(("fold_one", "new_state"), FOLDS)
def test_a_device_that_floods_a_minute_counts_in_the_total_and_has_a_state_that_kafka_takes(fold_one: Any, new_state: Any) -> None:
    state, quarters = new_state(), MemoryQuarters()
    outcomes = Counter(fold_one(state, record(NOON_MS + each, MANY), identity(each), each, NOON_MS, POLICY) for each in range(9_000))
    assert outcomes.keys() == {Outcome.FOLDED, Outcome.LATE}
    assert len(state.open) < OPEN_BYTES_MAX + 1_000
    assert len(encode(state)) < 6 * 1024 * 1024
    assert (state.late_events, state.revision) == (outcomes[Outcome.LATE], 9_000)
    assert total(state)["n0"][COUNT] == 9_000
    later = record(NOON_MS + 10 * MINUTE_MS, MANY)
    assert fold_one(state, later, identity(9_000), 9_000, NOON_MS + 10 * MINUTE_MS, POLICY) is Outcome.DUE, "what is due is let out"
    (minute,) = settle(state, quarters, POLICY)
    assert minute.summary.events == outcomes[Outcome.FOLDED]
    assert total(state)["n0"][COUNT] == 9_001


@pytest.mark.parametrize(("fold_one", "new_state"), FOLDS)
def test_a_device_that_floods_a_quarter_of_an_hour_counts_in_the_total(fold_one: Any, new_state: Any) -> None:
    state, quarters, sent = new_state(), MemoryQuarters(), 0
    for minute in range(4):
        for each in range(5_000):
            at_ms = NOON_MS + minute * MINUTE_MS + each
            fold_one(state, record(at_ms, MANY), identity(sent), sent, at_ms, POLICY)
            sent += 1
        settle(state, quarters, POLICY)
        quarters.forget()
    settle(state, quarters, POLICY)
    quarters.forget()
    assert max(map(len, quarters.stored.values())) < QUARTER_BYTES_MAX + 100_000
    assert state.late_events > 0
    assert total(state)["n0"][COUNT] == sent


@pytest.mark.parametrize(("fold_one", "new_state"), FOLDS)
def test_a_message_that_is_sent_again_and_again_is_one(fold_one: Any, new_state: Any) -> None:
    state = new_state()
    for offset in range(9_000):
        assert fold_one(state, record(NOON_MS, MANY), identity(1), offset, NOON_MS, POLICY) is Outcome.FOLDED
    assert len(state.open) <= OPEN_BYTES_MAX // 2
    assert state.duplicate_events > 3_000
    assert total(state)["n0"][COUNT] == 1


@pytest.mark.parametrize(("fold_one", "new_state"), FOLDS)
def test_a_flood_has_a_bound_while_something_is_due(fold_one: Any, new_state: Any) -> None:
    state = new_state()
    fold_one(state, record(NOON_MS, MANY), identity(0), 0, NOON_MS, POLICY)
    later_ms = NOON_MS + 10 * MINUTE_MS
    outcomes = Counter(
        fold_one(state, record(later_ms + each, MANY), identity(1 + each), 1 + each, later_ms, POLICY) for each in range(20_000)
    )
    assert outcomes.keys() == {Outcome.DUE, Outcome.LATE}
    assert len(encode(state)) < 10 * 1024 * 1024
    assert total(state)["n0"][COUNT] == 20_001
