"""Kinds of windows, their spans, and what is decided about them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.windows import DAY_MS, HOUR_MS, LABELS, LONGEST_MS, QUARTER_MS, Window, WindowPolicy, span_of

ZONES = [None, *map(ZoneInfo, ("Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Kiritimati"))]
"""With offsets of whole hours, quarters and halves, and clocks that change by an hour, by half of one, or never."""
times_ms = st.integers(int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2040, 1, 1, tzinfo=UTC).timestamp())).map(
    lambda second: second * 1000 + 7
)


def at_ms(zone: str, *moment: int) -> int:
    year, month, day, hour = moment
    return int(datetime(year, month, day, hour, tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@given(times_ms, st.sampled_from(ZONES))
def test_a_time_lies_in_one_window_of_each_kind_and_windows_leave_nothing_out(time_ms: int, zone: ZoneInfo | None) -> None:
    for window in Window:
        span = span_of(window, time_ms, zone)
        assert span.start_ms <= time_ms < span.end_ms
        assert span_of(window, span.start_ms, zone) == span_of(window, span.end_ms - 1, zone) == span
        assert span_of(window, span.end_ms, zone).start_ms == span.end_ms
        assert span.end_ms - span.start_ms <= LONGEST_MS


@given(times_ms, st.sampled_from(ZONES))
def test_a_quarter_lies_in_one_window_of_each_longer_kind(time_ms: int, zone: ZoneInfo | None) -> None:
    quarter = span_of(Window.QUARTER, time_ms, zone)
    for window in (Window.HOUR, Window.DAY, Window.LOCAL_DAY):
        span = span_of(window, time_ms, zone)
        assert span.start_ms <= quarter.start_ms
        assert quarter.end_ms <= span.end_ms


@given(times_ms)
def test_without_a_zone_the_local_day_is_that_of_utc(time_ms: int) -> None:
    assert span_of(Window.LOCAL_DAY, time_ms, None) == span_of(Window.DAY, time_ms, None)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        pytest.param("Europe/Berlin", (2026, 3, 29), 23, id="clocks go forward"),
        pytest.param("Europe/Berlin", (2026, 10, 25), 25, id="clocks go back"),
        pytest.param("Europe/Berlin", (2026, 7, 1), 24, id="a usual day"),
        pytest.param("Australia/Lord_Howe", (2026, 10, 4), 23.5, id="clocks go forward by half an hour"),
        pytest.param("America/Asuncion", (2024, 10, 6), 23, id="clocks go forward at midnight"),
        pytest.param("Asia/Kathmandu", (2026, 3, 29), 24, id="an offset of a quarter"),
    ],
)
def test_a_local_day_goes_from_midnight_to_midnight(zone: str, day: tuple[int, int, int], hours: float) -> None:
    span = span_of(Window.LOCAL_DAY, at_ms(zone, *day, 12), ZoneInfo(zone))
    assert (span.end_ms - span.start_ms) / HOUR_MS == hours
    assert datetime.fromtimestamp(span.start_ms / 1000, ZoneInfo(zone)).date() == datetime(*day, tzinfo=UTC).date()
    assert datetime.fromtimestamp(span.end_ms / 1000 - 1, ZoneInfo(zone)).date() == datetime(*day, tzinfo=UTC).date()


def test_every_kind_has_a_label_of_its_own() -> None:
    assert [window.label for window in Window] == list(LABELS)
    assert [Window.of_label(label) for label in LABELS] == list(Window)
    with pytest.raises(ValueError, match="not in tuple"):
        Window.of_label("2m")


@pytest.mark.parametrize("lateness_ms", [(2, 1, 3, 4, 5), (1, 2, 3, 5, 4), (-1, 0, 0, 0, 0)])
def test_lateness_must_not_be_negative_nor_fall(lateness_ms: tuple[int, int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="must not be negative, nor fall"):
        WindowPolicy(lateness_ms)


def test_no_lateness_at_all_is_fine() -> None:
    assert WindowPolicy((0, 0, 0, 0, 0)).lateness_ms == (0,) * 5


def test_as_it_comes_all_windows_are_published_and_no_site_has_a_day_of_its_own() -> None:
    policy = WindowPolicy()
    assert policy.published == frozenset(Window)
    assert policy.zone_of(1) is None
    assert list(policy.lateness_ms) == sorted(policy.lateness_ms)


def test_quarters_are_kept_for_the_horizon_and_the_longest_window() -> None:
    """A message at the horizon corrects the local day that it lies in, whose first quarter is up to 25 hours before it."""
    policy = WindowPolicy(horizon_ms=HOUR_MS)
    assert policy.kept_ms == 26 * HOUR_MS
    assert MINUTE_MS < QUARTER_MS < HOUR_MS < DAY_MS < LONGEST_MS
