"""Numbers in records that are no pydantic models, held to what can be stored and shown again: a fold must not fail at what was let in."""

from typing import Final

from ems_streams.domain.events import TIME_LIMIT
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.domain.windows import LONGEST_MS, Span

ID_MAX: Final = 2**63 - 1
REVISION_MAX: Final = 2**31 - 1
TIME_LIMIT_MS: Final = to_epoch_ms(TIME_LIMIT)


def bounded(name: str, value: object, lowest: int, highest: int) -> int:
    """The number, if it is a whole one between two others; raises `ValueError`, which names it."""
    if type(value) is not int or not lowest <= value <= highest:
        raise ValueError(f"{name}={value!r}: expected a whole number from {lowest} to {highest}")
    return value


def id_of(name: str, value: object) -> int:
    """The id of a site or a device."""
    return bounded(name, value, 0, ID_MAX)


def time_of(name: str, value: object) -> int:
    """The time, in epoch milliseconds."""
    return bounded(name, value, 0, TIME_LIMIT_MS)


def span_between(start_ms: object, end_ms: object) -> Span:
    """The span of a window, which is not longer than the longest one."""
    span = Span(time_of("start", start_ms), time_of("end", end_ms))
    if not 0 < span.end_ms - span.start_ms <= LONGEST_MS:
        raise ValueError(f"end={end_ms!r}: expected after start={start_ms!r}, by {LONGEST_MS} ms at the most")
    return span
