"""The status as bytes, and as `/devices/{serial}` shows it."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.events import DeviceStatus
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.domain.status import DeviceStatusState, on_telemetry
from ems_streams.domain.status_state import decode, device_view, encode
from ems_streams.domain.status_table import StatusInput
from tests.unit.domain.builders import NOON_MS, record

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
integers = st.integers(min_value=-(2**62), max_value=2**63 - 1)
statuses = st.sampled_from(DeviceStatus)
states = st.builds(
    DeviceStatusState,
    texts,
    integers,
    integers,
    texts,
    statuses,
    statuses,
    integers,
    texts,
    integers,
    integers,
    st.none() | integers,
    st.none() | statuses,
    texts,
    integers,
    integers,
    st.sampled_from(StatusInput),
    st.none() | texts,
    integers,
    texts,
    integers,
    st.none() | integers,
)


@given(states)
def test_every_state_survives(state: DeviceStatusState) -> None:
    decoded = decode(encode(state))
    assert decoded == state
    assert type(decoded.status) is type(decoded.previous_status) is DeviceStatus


def example() -> DeviceStatusState:
    return DeviceStatusState(
        "INV-001",
        123,
        1,
        "SOLAR_INVERTER",
        DeviceStatus.ONLINE,
        DeviceStatus.OFFLINE,
        NOON_MS,
        "back",
        4,
        NOON_MS + 1500,
        None,
        None,
        "t",
        0,
        1,
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x01",
        b"\x01[]",
        b"\x02",
        b"\x02[]",
        b"\x02{}",
        b"\x02null",
        b"\x02\xff",
        b"\x01" + encode(example())[1:],
        encode(example()).replace(b"TELEMETRY", b"RUMOUR"),
        encode(example())[:-1],
        encode(example()) + b"1",
        encode(example()).replace(b"ONLINE", b"ASLEEP"),
        encode(example()).replace(b"123", b"1.5"),
        encode(example()).replace(b"123", b"true"),
        encode(example()).replace(b'"back"', b"null"),
        encode(example()).replace(b"[", b"[[", 1).replace(b"]", b"]]", 1),
    ],
)
def test_what_is_no_state_is_refused(data: bytes) -> None:
    with pytest.raises(StateCodecError, match="device status"):
        decode(data)


def test_another_version_is_named() -> None:
    with pytest.raises(StateCodecError, match="version 9, expected 2"):
        decode(b"\x09" + encode(example())[1:])


VERSION_1 = b'\x01["INV-001",123,1,"SOLAR_INVERTER","%s","ONLINE",1759579200000,"why",4,1759579201500,1759579200000,"OFFLINE","device-status-reports",2,7]'


@pytest.mark.parametrize(("status", "cause"), [(b"OFFLINE", StatusInput.REPORTED_OFFLINE), (b"ONLINE", StatusInput.TELEMETRY)])
def test_a_state_of_the_version_before_goes_on(status: bytes, cause: StatusInput) -> None:
    """And nobody is held to be silent for what that version did not know, unless its own time is more than a day ago."""
    state = decode(VERSION_1 % status)
    assert (state.status, state.sequence, state.evidence_offset, state.last_report_status) == (status.decode(), 4, 7, DeviceStatus.OFFLINE)
    assert (state.cause, state.heard_ms, state.heard_topic, state.silence_timeout_ms) == (cause, NOON_MS + 1500 + 86_400_000, "", None)
    assert decode(encode(state)) == state
    # What arrives next is known to have arrived, although the day is not over.
    if state.status is DeviceStatus.ONLINE:
        on_telemetry(state, record(NOON_MS + 2000, {"powerKw": 1.0}), ("device-telemetry", 2), 9, NOON_MS + 2500)
        assert (state.heard_ms, state.heard_offset) == (NOON_MS + 2500, 9)


def test_the_view_has_the_contracts_form() -> None:
    view = device_view(example(), {"powerKw": 45.2}, NOON_MS + 1500)
    assert orjson.loads(orjson.dumps(view)) == {
        "serialNumber": "INV-001",
        "deviceId": 123,
        "siteId": 1,
        "deviceType": "SOLAR_INVERTER",
        "status": "ONLINE",
        "previousStatus": "OFFLINE",
        "statusSince": "2025-10-04T12:00:00Z",
        "statusReason": "back",
        "statusCause": "TELEMETRY",
        "errorCode": None,
        "maintenance": None,
        "flapping": None,
        "alarms": None,
        "sequence": 4,
        "lastSeen": "2025-10-04T12:00:01.500Z",
        "latest": {"powerKw": 45.2},
        "latestTimestamp": "2025-10-04T12:00:01.500Z",
    }
    assert device_view(example(), {}, None)["latestTimestamp"] is None
    untold = device_view(example(), {}, None, maintenance={"windowId": "mw-1"}, flapping={"changes": 7})
    assert (untold["maintenance"], untold["flapping"]) == ({"windowId": "mw-1"}, {"changes": 7})
