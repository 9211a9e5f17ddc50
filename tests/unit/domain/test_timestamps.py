"""Times of HTTP queries, as people and programs write them."""

from datetime import UTC, datetime

import pytest

from ems_streams.domain.timestamps import time_in_query

TEN = datetime(2026, 1, 5, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-05T10:00:00Z", "2026-01-05T12:00:00+02:00", "2026-01-05T08:30:00-0130", "2026-01-05 10:00:00Z", "2026-01-05T10:00Z",
        # A plus sign that was not quoted is a space when it arrives.
        "2026-01-05T12:00:00 02:00", "2026-01-05T12:00:00.000 0200", "2026-01-05 12:00:00 02:00",
    ],
)  # fmt: skip
def test_a_time_is_read_with_its_zone(text: str) -> None:
    assert time_in_query(text) == TEN


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-01-05T10:00:00", "2026-01-05 10:00", "1969-12-31T23:59:59Z", "9999-06-01T00:00:00Z"]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        time_in_query(text)
