"""Ends what is stuck: behind, and without progress for too long. A silent stall is worse than a restart."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping

import structlog

from ems_streams.domain.stall import Progress, StallDetector
from ems_streams.errors import StalledError

log = structlog.get_logger(__name__)

INTERVAL_S = 2.0
SHOWN_MAX = 5

Observe = Callable[[], Awaitable[Mapping[Hashable, Progress]]]
"""What there is to do and how far it is, of everything that could move right now: nothing while a dependency is away, since a restart would mend nothing."""


class StallWatch:
    """Looks every `interval_s`, and remembers what has not moved and for how long.

    Args:
        observe: Asked at each look.
        timeout_s: Longer than this is stuck.
        clock: Monotonic seconds.

    Attributes:
        stalled: Seconds without progress of everything that is behind, by what it is; as of the last look.
    """

    def __init__(
        self, observe: Observe, timeout_s: float, *, interval_s: float = INTERVAL_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._observe = observe
        self._timeout_s = timeout_s
        self._interval_s = interval_s
        self._clock = clock
        self._detector = StallDetector()
        self.stalled: dict[Hashable, float] = {}

    @property
    def longest_s(self) -> float:
        """The longest of `stalled`; 0 when all moves."""
        return max(self.stalled.values(), default=0.0)

    @property
    def stuck(self) -> bool:
        """Whether something has not moved for as long as it may, so that only a restart helps."""
        return self.longest_s >= self._timeout_s

    @property
    def where(self) -> str:
        """What is stalled, worst first, in words; empty when nothing is."""
        worst = sorted(self.stalled.items(), key=lambda item: -item[1])
        return ", ".join(f"{key} for {seconds:.0f} s" for key, seconds in worst[:SHOWN_MAX])

    async def run(self) -> None:
        """Watch until cancelled; raises `StalledError` when something is stuck, and whatever the observer raises."""
        while True:
            await asyncio.sleep(self._interval_s)
            self.stalled = self._detector.stalled_for_s(await self._observe(), self._clock())
            if self.longest_s > self._timeout_s:
                log.error("stalled", where=self.where, timeout_s=self._timeout_s)
                raise StalledError(self.where)
