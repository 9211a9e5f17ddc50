"""What an answer means."""

import pytest

from ems_streams.channels.webhook import outcome_of, retry_after

NOW_S = 1_759_579_200.0  # 2025-10-04T12:00:00Z


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_what_may_pass_is_tried_again(status: int) -> None:
    assert not outcome_of(status, {}, "", NOW_S).permanent


@pytest.mark.parametrize("status", [300, 301, 302, 307, 308, 400, 401, 403, 404, 409, 410, 413, 422, 451])
def test_what_will_not_pass_is_not(status: int) -> None:
    outcome = outcome_of(status, {"Retry-After": "5"}, "", NOW_S)
    assert outcome.permanent
    assert outcome.retry_after_s is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0), (" 7 ", 7.0), ("0", 0.0), ("Sat, 04 Oct 2025 12:00:30 GMT", 30.0), ("Sat, 04 Oct 2025 11:00:00 GMT", 0.0),
        ("9" * 400, 999_999_999.0), ("", None), ("soon", None), ("-5", None), ("1.5", None), ("²", None),
    ],
)  # fmt: skip
def test_retry_after_is_a_number_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after(value, NOW_S) == seconds


def test_an_error_is_one_bounded_line() -> None:
    outcome = outcome_of(500, {}, "500 Oops: <html>\n" + "x" * 1000, NOW_S)
    assert "\n" not in outcome.error
    assert len(outcome.error) <= 300
    assert outcome.error_class == "http_500"
