"""Cursors of the history."""

from datetime import UTC, datetime

import pytest

from ems_streams.postgres.history import BadCursorError, decode_cursor, encode_cursor


@pytest.mark.parametrize("zone", ["", "Europe/Berlin"])
def test_a_cursor_is_read_back_to_the_microsecond(zone: str) -> None:
    start = datetime(2026, 11, 25, 3, 0, 0, 123457, tzinfo=UTC)

    assert decode_cursor(encode_cursor(start, zone)) == (start, zone)


@pytest.mark.parametrize(
    "text", ["", "?", "abc", "ÄÖ", encode_cursor(datetime(2026, 1, 1, tzinfo=UTC), "")[3:], "OTk5OTk5OTk5OTk5OTk5OTk5OTk5LA"]
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursorError, match="cursor="):
        decode_cursor(text)
