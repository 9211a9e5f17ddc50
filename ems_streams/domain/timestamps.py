"""Between the wire's UTC times and the epoch milliseconds that folds calculate with."""

from datetime import datetime, timedelta
from functools import lru_cache

from ems_streams.domain.events import EARLIEST_TIME, format_time

EPOCH = EARLIEST_TIME
MINUTE_MS = 60_000
_MILLISECOND = timedelta(milliseconds=1)


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
