"""Times of receipt that never repeat."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ReceiptClock:
    """Turns the wall clock into strictly increasing times of whole microseconds.

    A message without a timestamp gets its time of receipt. If two equal payloads got the same one, they would be one
    event to everybody who compares them, so this process never gives a time twice, also when its clock is set back.
    """

    def __init__(self) -> None:
        self._last_us = 0

    def tick(self, now_us: int) -> int:
        """The time of receipt in microseconds since 1970: now, or just after the last one."""
        self._last_us = max(now_us, self._last_us + 1)
        return self._last_us


def moment(time_us: int) -> datetime:
    """Microseconds since 1970 as a time, without rounding."""
    return _EPOCH + timedelta(microseconds=time_us)
