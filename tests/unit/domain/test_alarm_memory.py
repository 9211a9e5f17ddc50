"""The stored form of what is remembered for alarm rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.alarm_memory import DeviceMemory, Heard, RuleMemory, decode, encode
from ems_streams.domain.state_codec import StateCodecError

names = st.text("abc", min_size=1, max_size=4)
times = st.integers(-1, 2**62)
memories = st.builds(
    DeviceMemory,
    serial_number=names,
    device_id=times,
    site_id=times,
    device_type=names,
    newest_ms=times,
    heard_ms=times,
    heard_offset=times,
    newest=st.dictionaries(names, times, max_size=3),
    rules=st.dictionaries(names, st.builds(RuleMemory, names, times, times, names, st.none() | times, times), max_size=3),
    heard=st.dictionaries(names, st.builds(Heard, times, times), max_size=3),
    samples=st.dictionaries(names, st.lists(st.tuples(times, st.floats(allow_nan=False)), max_size=3), max_size=2),
    windows=st.dictionaries(names, st.tuples(times, times), max_size=2),
)


@given(memories)
def test_what_is_stored_comes_back(memory: DeviceMemory) -> None:
    assert decode(encode(memory)) == memory


@pytest.mark.parametrize("data", [b"", b"\x02", b"\x01", b"\x01\x90", b"\x01\xc0", encode(DeviceMemory("A", 1, 7, "METER"))[:-1]])
def test_damage_is_said(data: bytes) -> None:
    with pytest.raises(StateCodecError, match="stored alarm memory cannot be read"):
        decode(data)


def test_a_device_of_which_nothing_is_wrong_takes_few_bytes() -> None:
    usual = DeviceMemory(
        "INV-00001", 12, 7, "SOLAR_INVERTER", 1_759_579_200_000, 1_759_579_200_100, 123_456, {"temperature": 1_759_579_200_000}
    )
    assert len(encode(usual)) <= 90
