"""Between the wire's UTC times and the epoch milliseconds that folds calculate with."""

import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from pydantic import TypeAdapter

from ems_streams.domain.events import EARLIEST_TIME, Time, format_time

EPOCH = EARLIEST_TIME
MINUTE_MS = 60_000
_MILLISECOND = timedelta(milliseconds=1)
_TIME: Final[TypeAdapter[datetime]] = TypeAdapter(Time)
_LOST_PLUS: Final = re.compile(r" (?=\d{2}:?\d{2}$)")


def to_epoch_ms(moment: datetime) -> int:
    """Milliseconds since 1970 of an aware time; anything finer is cut off, towards the past."""
    return (moment - EPOCH) // _MILLISECOND


def from_epoch_ms(moment_ms: int) -> datetime:
    """The aware UTC time."""
    return EPOCH + moment_ms * _MILLISECOND


@lru_cache(maxsize=8_192)  # windows of all devices begin and end at the same times
def format_epoch_ms(moment_ms: int) -> str:
    """`2025-10-04T10:15:00Z`, with three digits of fraction when there are any."""
    return format_time(from_epoch_ms(moment_ms))


def time_in_query(text: str) -> datetime:
    """The time, with its zone, in a query of HTTP, where a plus sign that was not quoted arrives as a space; raises `ValueError`."""
    if "-" not in text[1:]:
        raise ValueError("seconds since 1970 or milliseconds: a number does not say which")
    return _TIME.validate_python(_LOST_PLUS.sub("+", text))
