"""Times and durations as options say them."""

from datetime import UTC, datetime, timedelta
from typing import Final

from ems_streams.errors import UsageError

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION_MAX_S: Final = 3650 * 86_400


def time_of(option: str, text: str, instead: str = "") -> datetime:
    """An ISO-8601 time, of UTC when it names no zone; raises `UsageError`, which names what else could be given."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r}: expected {instead}an ISO-8601 time such as 2026-01-05T00:00:00Z") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def duration_of(option: str, text: str) -> timedelta:
    """A time such as `90m`; raises `UsageError`."""
    number, unit = text[:-1], text[-1:]
    # Python itself refuses to make numbers of thousands of digits.
    is_number = number.isascii() and number.isdigit() and len(number) <= len(str(_DURATION_MAX_S))
    if unit not in _UNITS_S or not is_number or not 0 < int(number) * _UNITS_S[unit] <= _DURATION_MAX_S:
        raise UsageError(f"{option} {text!r}: expected a whole number of s, m, h or d, such as 90m")
    return timedelta(seconds=int(number) * _UNITS_S[unit])


def past_of(option: str, text: str, now: datetime) -> datetime:
    """A time, or how long ago it was, such as `90m`; raises `UsageError`."""
    if text[:-1].isdecimal() and text[-1:].isalpha():
        return now - duration_of(option, text)
    return time_of(option, text, "how long ago, such as 90m, or ")
