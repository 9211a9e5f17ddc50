"""A circuit breaker as a pure state machine: the time is passed in, nothing waits here.

CLOSED lets everything through; after `failures_to_open` failures in a row it is OPEN and lets nothing through; after `open_s`
one trial is let through (HALF_OPEN), whose outcome closes it or opens it again, for twice as long up to `open_max_s`.
"""

from dataclasses import dataclass
from enum import StrEnum


class BreakerState(StrEnum):
    """States of a circuit breaker, in the field's own words."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(slots=True)
class CircuitBreaker:
    """One breaker around one dependency.

    Attributes:
        failures_to_open: Failures in a row after which it opens.
        open_s: How long it stays open the first time.
        open_max_s: How long at the most.
        state: What it is now.
        since_s: Since when, in the seconds of whoever calls.
        reason: Of the last failure, in words.
    """

    failures_to_open: int = 1
    open_s: float = 0.5
    open_max_s: float = 5.0
    state: BreakerState = BreakerState.CLOSED
    since_s: float = 0.0
    reason: str = ""
    failures: int = 0
    _wait_s: float = 0.0

    def describe(self) -> str:
        """State and reason of the last failure, in one line."""
        return f"{self.state}: {self.reason}" if self.reason else str(self.state)

    def on_success(self, now_s: float) -> None:
        """The dependency did what it was asked."""
        self.failures = 0
        self._wait_s = 0.0
        self.reason = ""
        self._become(BreakerState.CLOSED, now_s)

    def on_failure(self, now_s: float, reason: str) -> None:
        """The dependency did not."""
        self.failures += 1
        self.reason = reason
        if self.state is BreakerState.HALF_OPEN or self.failures >= self.failures_to_open:
            self._wait_s = min(self._wait_s * 2 or self.open_s, self.open_max_s)
            self._become(BreakerState.OPEN, now_s)

    def allows(self, now_s: float) -> bool:
        """Whether a call may be tried now; the first one after the wait is the trial."""
        if self.state is BreakerState.CLOSED:
            return True
        if self.state is BreakerState.OPEN and now_s - self.since_s >= self._wait_s:
            self._become(BreakerState.HALF_OPEN, now_s)
            return True
        return False

    def wait_s(self, now_s: float) -> float:
        """How long until a call may be tried; 0 when it may be now."""
        if self.state is not BreakerState.OPEN:
            return 0.0
        return max(0.0, self.since_s + self._wait_s - now_s)

    def _become(self, state: BreakerState, now_s: float) -> None:
        if state is not self.state:
            self.state = state
            self.since_s = now_s
        elif state is BreakerState.OPEN:
            self.since_s = now_s
