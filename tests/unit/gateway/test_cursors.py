"""Cursors come back as they went, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.gateway.cursors import (
    BadCursorError,
    decode_alarm,
    decode_device,
    decode_feed,
    decode_window,
    encode_alarm,
    encode_device,
    encode_feed,
    encode_window,
)

OFFSETS = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=40).map(tuple)


@given(OFFSETS)
def test_feed_cursors_come_back(offsets: tuple[int, ...]) -> None:
    assert decode_feed(encode_feed(offsets)) == offsets


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}", fullmatch=True))
def test_device_cursors_come_back(serial_number: str) -> None:
    assert decode_device(encode_device(serial_number)) == serial_number


def test_alarm_cursors_come_back() -> None:
    assert decode_alarm(encode_alarm(1_759_579_200_000, "0a" * 16)) == (1_759_579_200_000, "0a" * 16)


@pytest.mark.parametrize(("raised_ms", "alarm_id"), [(-5, "0a" * 16), (10**20, "0a" * 16), (5, ""), (5, "0a:1"), (5, "0A" * 16)])
def test_a_place_that_no_alarm_can_have_is_refused_whatever_its_checksum(raised_ms: int, alarm_id: str) -> None:
    with pytest.raises(BadCursorError, match="not one of alarms"):
        decode_alarm(encode_alarm(raised_ms, alarm_id))


@pytest.mark.parametrize("serial_number", ["", "a b", "A" * 65, "-A", "\u00fc"])
def test_a_place_that_no_device_can_have_is_refused_whatever_its_checksum(serial_number: str) -> None:
    with pytest.raises(BadCursorError, match="not one of this list"):
        decode_device(encode_device(serial_number))


@pytest.mark.parametrize("start", ["2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T00:00:00Z", "soon"])
def test_a_time_that_no_window_can_have_is_refused_whatever_its_checksum(start: str) -> None:
    with pytest.raises(BadCursorError, match="not one of windows"):
        decode_window(encode_window(start))


@given(OFFSETS)
def test_cursors_are_safe_in_a_url(offsets: tuple[int, ...]) -> None:
    assert all(letter.isalnum() or letter in "-_" for letter in encode_feed(offsets))


@given(st.one_of(st.text(max_size=60), st.text("ABCabc019-_=", max_size=60)))
def test_garbage_is_refused(text: str) -> None:
    for decode in (decode_feed, decode_device):
        with pytest.raises(BadCursorError):
            decode(text)


@given(OFFSETS, st.data())
def test_a_changed_letter_is_refused(offsets: tuple[int, ...], data: st.DataObject) -> None:
    cursor = encode_feed(offsets)
    # The last letter may carry bits that mean nothing.
    at = data.draw(st.integers(0, len(cursor) - 2))
    other = data.draw(st.sampled_from([letter for letter in "ABCXYZabcxyz0189-_" if letter != cursor[at]]))
    try:
        assert decode_feed(cursor[:at] + other + cursor[at + 1 :]) == offsets
    except BadCursorError:
        return


def test_one_kind_is_not_the_other() -> None:
    with pytest.raises(BadCursorError):
        decode_device(encode_feed((1, 2)))
    with pytest.raises(BadCursorError):
        decode_feed(encode_device("INV-001"))
