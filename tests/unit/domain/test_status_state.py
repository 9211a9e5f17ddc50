"""The status as bytes, and as `/devices/{serial}` shows it."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.events import DeviceStatus
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.domain.status import DeviceStatusState
from ems_streams.domain.status_state import decode, device_view, encode
from tests.unit.domain.builders import NOON_MS

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
        b"\x01{}",
        b"\x01null",
        b"\x01\xff",
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
    with pytest.raises(StateCodecError, match="version 9, expected 1"):
        decode(b"\x09" + encode(example())[1:])


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
        "sequence": 4,
        "lastSeen": "2025-10-04T12:00:01.500Z",
        "latest": {"powerKw": 45.2},
        "latestTimestamp": "2025-10-04T12:00:01.500Z",
    }
    assert device_view(example(), {}, None)["latestTimestamp"] is None
