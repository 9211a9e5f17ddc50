"""Deliveries as records of the changelog."""

import pytest

from ems_streams.domain.delivery_codec import ChannelHealth, health_record, positions_record, restore
from ems_streams.domain.state_codec import StateCodecError


def test_positions_and_health_are_stored_and_channels_do_not_mix() -> None:
    records = [
        positions_record("ops", {0: 5, 11: 7}),
        positions_record("ops-2", {0: 1}),
        health_record("ops", ChannelHealth("open", 12, "503")),
    ]

    found = restore("ops", records)

    assert (found.known, found.deliveries.positions, found.health) == (True, {0: 5, 11: 7}, ChannelHealth("open", 12, "503"))
    assert not restore("op", records).known


@pytest.mark.parametrize(
    "record",
    [
        (b"ops\0p", b"{"), (b"ops\0p", b"[]"), (b"ops\0p", b'{"v":2,"next":{}}'), (b"ops\0p", b'{"v":1}'), (b"ops\0ca", b'{"v":1,"state":"odd"}'),
        (b"ops\0ca", b'{"v":1,"state":"open","value":"{}"}'), (b"ops\0x", b'{"v":1}'), (b"ops\0h", b'{"v":1,"breaker":"open","since":"x","reason":""}'),
    ],
)  # fmt: skip
def test_a_record_that_is_no_state_is_said_so(record: tuple[bytes, bytes]) -> None:
    with pytest.raises(StateCodecError, match="stored deliveries cannot be read"):
        restore("ops", [record])
