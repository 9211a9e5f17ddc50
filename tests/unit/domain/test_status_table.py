"""Every status with every input, through the machine itself and not only through its table."""

from itertools import product

import pytest

from ems_streams.domain.events import DeviceStatus
from ems_streams.domain.identifiers import event_id
from ems_streams.domain.status import DeviceStatusState, Transition, on_report, on_silence, on_telemetry
from ems_streams.domain.status_table import INPUT_OF_REPORT, StatusInput, next_status
from ems_streams.domain.timestamps import from_epoch_ms, to_epoch_ms
from tests.unit.domain.builders import NOON_MS, SERIAL, record, report

ONLINE, OFFLINE, MAINTENANCE, ERROR, UNKNOWN = (
    DeviceStatus.ONLINE,
    DeviceStatus.OFFLINE,
    DeviceStatus.MAINTENANCE,
    DeviceStatus.ERROR,
    DeviceStatus.UNKNOWN,
)
STATUS_OF = {happened: status for status, happened in INPUT_OF_REPORT.items()}
REPORTS, TELEMETRY = ("device-status-reports", 2), ("device-telemetry", 2)
TIMEOUT_MS = 300_000
LATER_MS = NOON_MS + 1

# Reports ONLINE, OFFLINE, MAINTENANCE, ERROR; telemetry; silence. All later than what came before.
TRUTH: dict[DeviceStatus, tuple[DeviceStatus | None, ...]] = {
    UNKNOWN: (ONLINE, OFFLINE, MAINTENANCE, ERROR, ONLINE, None),
    ONLINE: (None, OFFLINE, MAINTENANCE, ERROR, None, OFFLINE),
    OFFLINE: (ONLINE, None, MAINTENANCE, ERROR, ONLINE, None),
    MAINTENANCE: (ONLINE, OFFLINE, None, ERROR, None, None),
    ERROR: (ONLINE, OFFLINE, MAINTENANCE, None, None, OFFLINE),
}
CELLS = [
    (status, happened, result) for status, row in TRUTH.items() for happened, result in zip(StatusInput, row, strict=True)
]  # fmt: skip


def by_report(status: DeviceStatus) -> DeviceStatusState | None:
    """A device that has reported this status at noon; none at all for UNKNOWN."""
    if status is UNKNOWN:
        return None
    transition = on_report(None, report(status, NOON_MS, "as told"), REPORTS, 3, NOON_MS)
    assert transition is not None
    return transition.state


def happen(state: DeviceStatusState | None, happened: StatusInput, offset: int = 17) -> Transition | None:
    if happened is StatusInput.SILENCE:
        # A device that was never heard of is none whose silence could be counted.
        return None if state is None else on_silence(state, NOON_MS, TIMEOUT_MS, 2)
    if happened is StatusInput.TELEMETRY:
        return on_telemetry(state, record(LATER_MS, {"powerKw": 1.0}), TELEMETRY, offset, LATER_MS)
    return on_report(state, report(STATUS_OF[happened], LATER_MS, "why"), REPORTS, offset, LATER_MS)


def test_the_table_is_the_truth() -> None:
    assert {(status, happened): next_status(status, happened) for status, happened in product(DeviceStatus, StatusInput)} == {
        (status, happened): result for status, happened, result in CELLS
    }


@pytest.mark.parametrize(("status", "happened", "result"), CELLS)
def test_every_status_with_every_input(status: DeviceStatus, happened: StatusInput, result: DeviceStatus | None) -> None:
    before = by_report(status)
    transition = happen(before, happened)
    if result is None:
        assert transition is None
        assert before is None or (before.status, before.sequence, before.reason, before.cause) == (
            status,
            1,
            "as told",
            INPUT_OF_REPORT[status],  # type: ignore[index]  # not UNKNOWN
        )
        return
    assert transition is not None
    state, event = transition.state, transition.event
    assert before is None or before is state
    assert (event.previous_status, event.new_status, event.sequence) == (status, result, 1 if status is UNKNOWN else 2)
    assert (state.status, state.previous_status, state.cause, state.reason) == (result, status, happened, event.reason)
    assert (event.cause, event.device_type, event.reason != "") == (happened, "SOLAR_INVERTER", True)
    assert event.evidence is not None
    if happened is StatusInput.SILENCE:
        # The last record that was heard is what it rests on, and the end of the timeout when it became true.
        assert (event.evidence.topic, event.evidence.partition, event.evidence.offset) == ("device-status-reports", 2, 3)
        assert event.event_id == event_id(SERIAL, "device-status-reports", 2, 3, "silence")
        assert to_epoch_ms(event.timestamp) == NOON_MS + TIMEOUT_MS
        assert event.reason == "Silent: nothing received since 2025-10-04T12:00:00Z, for longer than 300 s"
        assert event.evidence.last_seen == from_epoch_ms(NOON_MS)
        return
    topic = "device-telemetry" if happened is StatusInput.TELEMETRY else "device-status-reports"
    assert (event.evidence.topic, event.evidence.partition, event.evidence.offset) == (topic, 2, 17)
    assert event.event_id == event_id(SERIAL, topic, 2, 17, "status")
    assert (to_epoch_ms(event.timestamp), event.evidence.last_seen) == (LATER_MS, from_epoch_ms(LATER_MS))


@pytest.mark.parametrize("status", [ONLINE, ERROR])
def test_telemetry_ends_silence_and_a_message_that_comes_once_more_does_not(status: DeviceStatus) -> None:
    state = by_report(status)
    assert state is not None
    on_telemetry(state, record(NOON_MS + 10, {"a": 1.0}), TELEMETRY, 4, NOON_MS + 20)
    assert on_silence(state, NOON_MS + 20, TIMEOUT_MS, 2) is not None
    back_ms = NOON_MS + 2 * TIMEOUT_MS
    assert on_telemetry(state, record(NOON_MS + 10, {"a": 1.0}), TELEMETRY, 5, back_ms) is None
    assert on_telemetry(state, record(NOON_MS - 3_600_000 + 10, {"a": 1.0}), TELEMETRY, 6, back_ms) is None
    restored = on_telemetry(state, record(NOON_MS + 11, {"a": 1.0}), TELEMETRY, 7, back_ms)
    assert restored is not None
    assert (restored.event.previous_status, restored.event.new_status) == (OFFLINE, ONLINE)
    assert restored.event.reason == "Device communication restored: telemetry received"


def silent_at(last_seen_ms: int, heard_ms: int) -> DeviceStatusState:
    transition = on_telemetry(None, record(last_seen_ms, {"a": 1.0}), TELEMETRY, 4, heard_ms)
    assert transition is not None
    assert on_silence(transition.state, heard_ms, TIMEOUT_MS, 2) is not None
    return transition.state


def test_a_clock_that_was_set_back_does_not_keep_a_device_offline() -> None:
    for last_seen_ms, next_ms in ((NOON_MS, NOON_MS - 3_600_001), (NOON_MS + 86_000_000, NOON_MS + 400_000), (NOON_MS, NOON_MS - 10**11)):
        state = silent_at(last_seen_ms, NOON_MS)
        assert on_telemetry(state, record(next_ms, {"a": 1.0}), TELEMETRY, 5, NOON_MS + 400_000) is not None


def test_a_clock_that_lags_does_not_keep_a_device_offline_until_it_has_caught_up() -> None:
    """The time of the end of a silence is ours, and the device's own time is never compared with it."""
    state = silent_at(NOON_MS - 1_800_000, NOON_MS)
    assert on_telemetry(state, record(NOON_MS - 1_400_000, {"a": 1.0}), TELEMETRY, 5, NOON_MS + 400_000) is not None


def test_a_last_will_while_silent_holds_against_telemetry_from_before_it() -> None:
    state = silent_at(NOON_MS, NOON_MS)
    assert on_report(state, report(OFFLINE, NOON_MS + 50, "last will"), REPORTS, 9, NOON_MS + 400_000) is None
    assert on_telemetry(state, record(NOON_MS + 50, {"a": 1.0}), TELEMETRY, 5, NOON_MS + 400_001) is None
    assert on_telemetry(state, record(NOON_MS + 51, {"a": 1.0}), TELEMETRY, 6, NOON_MS + 400_002) is not None


def test_an_error_has_its_code_and_a_later_code_is_no_transition() -> None:
    transition = on_report(None, report(ERROR, NOON_MS, "Grid fault.", error_code="F-203"), REPORTS, 1, NOON_MS)
    assert transition is not None
    assert (transition.event.error_code, transition.event.reason) == ("F-203", "Grid fault (code F-203)")
    state = transition.state
    assert on_report(state, report(ERROR, NOON_MS + 1, error_code="F-7"), REPORTS, 2, NOON_MS) is None
    assert (state.error_code, state.reason, state.sequence) == ("F-7", "Device reported ERROR with code F-7", 1)
    on_report(state, report(ONLINE, NOON_MS + 2, error_code="0"), REPORTS, 3, NOON_MS)
    assert (state.status, state.error_code) == (ONLINE, None)
