"""Tells stuck from idle and from slow: something is behind and has not moved for too long."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far something has come.

    Attributes:
        done: Any number that grows with progress.
        behind: Whether there is more to do right now.
    """

    done: int
    behind: bool


class StallDetector:
    """Remembers when each thing last moved; the time is passed in."""

    def __init__(self) -> None:
        self._last: dict[Hashable, tuple[int, float]] = {}

    def stalled_for_s(self, observed: Mapping[Hashable, Progress], now_s: float) -> dict[Hashable, float]:
        """Seconds without progress of everything that is behind; what is no longer observed is forgotten."""
        self._last = {key: moved for key, moved in self._last.items() if key in observed}
        stalled = {}
        for key, progress in observed.items():
            last = self._last.get(key)
            if last is None or last[0] != progress.done or not progress.behind:
                self._last[key] = (progress.done, now_s)
            elif now_s > last[1]:
                stalled[key] = now_s - last[1]
        return stalled
