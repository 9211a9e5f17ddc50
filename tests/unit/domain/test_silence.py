"""When silence means that a device is offline."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.due_index import NEVER_MS
from ems_streams.domain.events import DeviceStatus
from ems_streams.domain.registry import RegistryEntry
from ems_streams.domain.silence import (
    TIMEOUT_MAX_S,
    Listening,
    RegisteredTimeout,
    SilencePolicy,
    decode_listening,
    due_ms,
    encode_listening,
    registered_timeout,
    tick,
)
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.domain.status import DeviceStatusState, on_report, on_telemetry
from ems_streams.errors import MalformedError
from tests.unit.domain.builders import NOON_MS, record, report

GAP_MS = 12_000
POLICY = SilencePolicy(300_000, {"BATTERY": 120_000, "SEASONAL": 0}, GAP_MS)
TELEMETRY = ("device-telemetry", 0)


def heard(at_ms: int = NOON_MS, device_type: str = "SOLAR_INVERTER") -> DeviceStatusState:
    """A device that is online."""
    transition = on_telemetry(None, record(at_ms, {"a": 1.0}, device_type=device_type), TELEMETRY, 5, at_ms)
    assert transition is not None
    return transition.state


@pytest.mark.parametrize(
    ("device_type", "registered_ms", "timeout_ms"),
    [("SOLAR_INVERTER", None, 300_000), ("BATTERY", None, 120_000), ("BATTERY", 7_000, 7_000), ("SEASONAL", None, 0), ("BATTERY", 0, 0)],
)
def test_the_timeout_is_the_devices_own_or_that_of_its_type(device_type: str, registered_ms: int | None, timeout_ms: int) -> None:
    state = heard(device_type=device_type)
    state.silence_timeout_ms = registered_ms
    assert POLICY.timeout_ms(state) == timeout_ms
    assert due_ms(state, 0, POLICY) == (NOON_MS + timeout_ms if timeout_ms else NEVER_MS)


def test_it_is_counted_from_the_last_arrival_or_from_when_somebody_listened_whichever_is_later() -> None:
    assert tick(heard(), 0, NOON_MS + 299_999, POLICY, 0) is None
    assert tick(heard(), NOON_MS + 1, NOON_MS + 300_000, POLICY, 0) is None
    transition = tick(heard(), NOON_MS + 1, NOON_MS + 300_001, POLICY, 0)
    assert transition is not None
    assert transition.event.new_status is DeviceStatus.OFFLINE
    assert due_ms(transition.state, 0, POLICY) == NEVER_MS


@pytest.mark.parametrize("status", [DeviceStatus.OFFLINE, DeviceStatus.MAINTENANCE])
def test_who_is_offline_or_worked_on_is_not_waited_for(status: DeviceStatus) -> None:
    state = heard()
    on_report(state, report(status, NOON_MS + 1), ("device-status-reports", 0), 1, NOON_MS + 1)
    assert due_ms(state, 0, POLICY) == NEVER_MS
    assert tick(state, 0, NOON_MS + 10**9, POLICY, 0) is None


def listen(*beats: tuple[str, int]) -> Listening:
    listening = Listening()
    for ingress_id, second in beats:
        listening.hear(ingress_id, NOON_MS + second * 1000, GAP_MS)
    return listening


def seconds(listening: Listening) -> tuple[int, int]:
    return (listening.since_ms - NOON_MS) // 1000, (listening.until_ms - NOON_MS) // 1000


def test_listening_goes_on_from_heartbeat_to_heartbeat_and_begins_anew_after_a_gap() -> None:
    assert seconds(listen(("a", 0), ("a", 3), ("a", 15))) == (0, 15)
    assert seconds(listen(("a", 0), ("a", 3), ("a", 16))) == (16, 16)
    assert seconds(listen(("a", 0), ("a", 3), ("a", 100), ("a", 103))) == (100, 103)


def test_a_heartbeat_that_comes_late_takes_nothing_back() -> None:
    assert seconds(listen(("a", 0), ("a", 9), ("a", 3))) == (0, 9)


def test_of_several_ingresses_all_have_to_listen() -> None:
    """Messages that the one which is gone was given may come yet."""
    both = (("a", 0), ("b", 0), ("a", 3), ("b", 3))
    assert seconds(listen(*both, ("a", 6))) == (0, 3)
    assert seconds(listen(*both, ("a", 6), ("a", 9), ("b", 10))) == (0, 9)
    away = [("a", second) for second in range(6, 40, 3)]
    assert seconds(listen(*both, *away)) == (0, 3)
    assert seconds(listen(*both, *away, ("b", 38))) == (38, 38), "it is back after a gap"
    gone = [("a", second) for second in range(6, 46, 3)]
    assert seconds(listen(*both, *gone)) == (42, 45), "it was scaled down, and time goes on without it"


beats = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 200)), min_size=1, max_size=60)


@given(beats, st.integers(0, 59))
def test_however_it_is_cut_and_stored_in_between_it_is_the_same(items: list[tuple[str, int]], cut: int) -> None:
    stored = decode_listening(encode_listening(listen(*items[:cut])))
    for ingress_id, second in items[cut:]:
        stored.hear(ingress_id, NOON_MS + second * 1000, GAP_MS)
    assert encode_listening(stored) == encode_listening(listen(*items))


@given(beats)
def test_nobody_counts_as_having_listened_longer_than_heartbeats_go_and_time_never_goes_back(items: list[tuple[str, int]]) -> None:
    before_ms, listening = 0, Listening()
    for ingress_id, second in items:
        listening.hear(ingress_id, NOON_MS + second * 1000, GAP_MS)
        assert listening.until_ms >= before_ms
        assert listening.since_ms <= listening.until_ms <= NOON_MS + max(second for _, second in items) * 1000
        before_ms = listening.until_ms
    # No gap in what counts: in each stretch of the gap's length somebody was heard.
    times = sorted(NOON_MS + second * 1000 for _, second in items)
    inside = [at_ms for at_ms in times if listening.since_ms <= at_ms <= listening.until_ms]
    assert all(later - earlier <= GAP_MS for earlier, later in itertools.pairwise(inside))


@given(st.lists(st.integers(1, 400), min_size=1, max_size=40), st.integers(1, 60))
def test_a_device_that_sends_within_its_timeout_is_never_offline_whatever_stops_listening(gaps: list[int], every_s: int) -> None:
    """Heartbeats with gaps of any length, in which all that the device sends is lost."""
    policy = SilencePolicy(every_s * 1000 + 1, {}, GAP_MS)
    listening, state, now = Listening(), heard(NOON_MS - 1), 0
    for gap in gaps:
        for second in range(now + 1, now + gap + 1):
            away = gap > GAP_MS // 1000 and second < now + gap
            if second % every_s == 0 and not away:
                on_telemetry(state, record(NOON_MS + second * 1000, {"a": 1.0}), TELEMETRY, second, NOON_MS + second * 1000)
            if not away:
                listening.hear("a", NOON_MS + second * 1000, GAP_MS)
                assert tick(state, listening.since_ms, listening.until_ms, policy, 0) is None
        now += gap


@pytest.mark.parametrize("limit", ["300", True, -1, TIMEOUT_MAX_S + 1, [], float("nan")])
def test_a_limit_that_is_none_is_named(limit: object) -> None:
    entry = RegistryEntry(device_id=1, serial_number="A", site_id=1, limits={"silenceTimeoutS": limit})
    with pytest.raises(MalformedError, match=r"limits.silenceTimeoutS=.*: expected seconds from 0 to 2592000, with 0 for never"):
        registered_timeout(entry)


def test_limits_of_the_registry() -> None:
    def of(**limits: object) -> RegisteredTimeout | None:
        return registered_timeout(RegistryEntry(device_id=1, serial_number="A", site_id=1, limits=limits))

    assert (of(), of(powerKw=3), of(silenceTimeoutS=0), of(silenceTimeoutS=1.5)) == (
        None,
        None,
        RegisteredTimeout(0),
        RegisteredTimeout(1500),
    )


@pytest.mark.parametrize("data", [b"\x81", b"\x81[]", b'\x81[1,2,[["a"]]]', b"\x81[1,2,3,4]", b"\x81{", b'\x81["x",2,[]]'])
def test_what_is_no_listening_is_refused(data: bytes) -> None:
    with pytest.raises(StateCodecError, match="listening"):
        decode_listening(data)
