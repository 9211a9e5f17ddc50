"""The status machine: every status with every input, and what no order of inputs may break."""

import random
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.events import DeviceStatus, StatusReport
from ems_streams.domain.status import DeviceStatusState, Transition, on_report, on_telemetry
from ems_streams.domain.status_table import GRAVITY
from ems_streams.domain.telemetry_record import TelemetryRecord
from ems_streams.domain.timestamps import from_epoch_ms, to_epoch_ms
from tests.unit.domain.builders import NOON_MS, record, report

ONLINE, OFFLINE, MAINTENANCE, ERROR, UNKNOWN = (
    DeviceStatus.ONLINE,
    DeviceStatus.OFFLINE,
    DeviceStatus.MAINTENANCE,
    DeviceStatus.ERROR,
    DeviceStatus.UNKNOWN,
)
REPORTABLE = [ONLINE, OFFLINE, MAINTENANCE, ERROR]

Input = StatusReport | TelemetryRecord


def telemetry(timestamp_ms: int) -> TelemetryRecord:
    return record(timestamp_ms, {"powerKw": 1.0})


def feed(state: DeviceStatusState | None, inputs: list[Input], offset: int = 0) -> tuple[DeviceStatusState | None, list[Transition]]:
    transitions = []
    for number, item in enumerate(inputs, offset):
        arrived_ms = to_epoch_ms(item.timestamp) if isinstance(item, StatusReport) else item.timestamp_ms
        if isinstance(item, StatusReport):
            transition = on_report(state, item, ("device-status-reports", 2), number, arrived_ms)
        else:
            transition = on_telemetry(state, item, ("device-telemetry", 2), number, arrived_ms)
        if transition is not None:
            transitions.append(transition)
            state = transition.state
    return state, transitions


def state_of(status: DeviceStatus) -> DeviceStatusState | None:
    """A device that has reported this status at noon; none at all for UNKNOWN."""
    return None if status is UNKNOWN else feed(None, [report(status, NOON_MS, "as told")])[0]


@pytest.mark.parametrize(("status", "reported"), list(product(REPORTABLE, REPORTABLE)))
def test_an_older_report_is_ignored(status: DeviceStatus, reported: DeviceStatus) -> None:
    state, transitions = feed(state_of(status), [report(reported, NOON_MS - 1)])
    assert transitions == []
    assert state is not None
    assert (state.status, state.last_report_ms, state.last_seen_ms) == (status, NOON_MS, NOON_MS)


@pytest.mark.parametrize(("status", "reported"), list(product(REPORTABLE, REPORTABLE)))
def test_of_two_reports_with_one_time_the_graver_counts_in_either_order(status: DeviceStatus, reported: DeviceStatus) -> None:
    graver = max(status, reported, key=GRAVITY.__getitem__)
    state, transitions = feed(state_of(status), [report(reported, NOON_MS)])
    assert state is not None
    assert state.status is graver
    assert len(transitions) == (graver is not status)


@pytest.mark.parametrize(("moment_ms", "result"), [(NOON_MS - 1, OFFLINE), (NOON_MS, OFFLINE), (NOON_MS + 1, ONLINE)])
def test_telemetry_from_before_the_report_does_not_bring_a_device_back(moment_ms: int, result: DeviceStatus) -> None:
    state, transitions = feed(state_of(OFFLINE), [telemetry(moment_ms)])
    assert state is not None
    assert state.status is result
    assert len(transitions) == (result is ONLINE)


def test_a_repeated_offline_report_holds_against_telemetry_from_before_it() -> None:
    state, transitions = feed(state_of(OFFLINE), [report(OFFLINE, NOON_MS + 10), telemetry(NOON_MS + 5)])
    assert transitions == []
    assert state is not None
    assert (state.status, state.status_since_ms, state.last_seen_ms) == (OFFLINE, NOON_MS, NOON_MS + 10)


def test_a_report_that_comes_again_after_telemetry_changes_nothing() -> None:
    offline = report(OFFLINE, NOON_MS)
    state, transitions = feed(None, [offline, telemetry(NOON_MS + 5), offline])
    assert state is not None
    assert state.status is ONLINE
    assert [transition.event.new_status for transition in transitions] == [OFFLINE, ONLINE]


def test_a_last_will_with_the_time_of_the_connect_takes_the_device_offline() -> None:
    state, _ = feed(None, [report(ONLINE, NOON_MS), telemetry(NOON_MS + 60_000), report(OFFLINE, NOON_MS, "last will")])
    assert state is not None
    assert (state.status, state.reason) == (OFFLINE, "last will")


def test_reasons_are_words_even_when_the_device_gives_none() -> None:
    _, transitions = feed(None, [telemetry(NOON_MS), report(OFFLINE, NOON_MS + 1), telemetry(NOON_MS + 2), report(ERROR, NOON_MS + 3, "")])
    assert [transition.event.reason for transition in transitions] == [
        "First telemetry received",
        "Device reported OFFLINE",
        "Device communication restored: telemetry received",
        "Device reported ERROR",
    ]


def test_last_seen_does_not_go_back() -> None:
    state, _ = feed(None, [telemetry(NOON_MS + 100), telemetry(NOON_MS), report(ERROR, NOON_MS + 50)])
    assert state is not None
    assert state.last_seen_ms == NOON_MS + 100


def test_identity_follows_the_registry_with_reports_and_transitions() -> None:
    state, transitions = feed(state_of(OFFLINE), [record(NOON_MS + 1, {"powerKw": 1.0}, device_id=7, site_id=9, device_type="BATTERY")])
    assert state is not None
    assert (state.device_id, state.site_id, state.device_type) == (7, 9, "BATTERY")
    assert (transitions[0].event.device_id, transitions[0].event.site_id) == (7, 9)
    feed(state, [report(ONLINE, NOON_MS + 2)])
    assert (state.device_id, state.site_id, state.device_type) == (123, 1, "SOLAR_INVERTER")


def test_a_report_is_read_with_milliseconds() -> None:
    state, [transition] = feed(None, [report(ONLINE, NOON_MS + 123)])
    assert state is not None
    assert state.last_report_ms == NOON_MS + 123
    assert transition.event.timestamp == from_epoch_ms(NOON_MS + 123)


moments = st.integers(min_value=NOON_MS, max_value=NOON_MS + 8)
inputs = st.lists(st.builds(report, st.sampled_from(REPORTABLE), moments) | st.builds(telemetry, moments), min_size=1, max_size=40)
reports = st.lists(st.builds(report, st.sampled_from(REPORTABLE), moments), min_size=1, max_size=30)


@given(inputs)
def test_transitions_are_a_gapless_chain_of_real_changes(items: list[Input]) -> None:
    state, transitions = feed(None, items)
    events = [transition.event for transition in transitions]
    assert events[0].previous_status is UNKNOWN
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert all(later.previous_status is earlier.new_status for earlier, later in pairwise(events))
    assert all(event.previous_status is not event.new_status for event in events)
    assert len({event.event_id for event in events}) == len(events)
    assert all(event.reason for event in events)
    assert state is not None
    assert (state.sequence, state.status, state.previous_status) == (len(events), events[-1].new_status, events[-1].previous_status)
    assert state.last_seen_ms == max(to_epoch_ms(item.timestamp) if isinstance(item, StatusReport) else item.timestamp_ms for item in items)


@given(inputs)
def test_an_input_that_comes_twice_in_a_row_gives_one_transition_at_most(items: list[Input]) -> None:
    once = [transition.event.new_status for transition in feed(None, items)[1]]
    twice = [transition.event.new_status for transition in feed(None, [item for item in items for _ in range(2)])[1]]
    assert twice == once


@given(reports, st.randoms(use_true_random=False))
def test_a_report_that_was_heard_before_never_gives_a_transition(items: list[StatusReport], order: random.Random) -> None:
    state, _ = feed(None, list(items))
    again = items.copy()
    order.shuffle(again)
    assert feed(state, list(again))[1] == []


@given(reports, st.randoms(use_true_random=False))
def test_in_whatever_order_reports_come_the_status_is_the_same_in_the_end(items: list[StatusReport], order: random.Random) -> None:
    shuffled = items.copy()
    order.shuffle(shuffled)
    state, other = feed(None, list(items))[0], feed(None, list(shuffled))[0]
    assert state is not None
    assert other is not None
    assert (state.status, state.last_report_ms, state.last_seen_ms) == (other.status, other.last_report_ms, other.last_seen_ms)


@given(inputs)
def test_a_replay_gives_the_same_events(items: list[Input]) -> None:
    assert [transition.event for transition in feed(None, items)[1]] == [transition.event for transition in feed(None, items)[1]]


@given(inputs)
def test_a_living_device_is_back_with_its_next_telemetry(items: list[Input]) -> None:
    state, _ = feed(None, items)
    assert state is not None
    expected = state.status if state.status in {MAINTENANCE, ERROR} else ONLINE
    feed(state, [telemetry(NOON_MS + 100)])
    assert state.status is expected
