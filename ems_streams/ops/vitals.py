"""Whether a process' event loop turns, and how late it is; and the health checks kept up to date while nobody asks for them."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from ems_streams.metrics.everywhere import LOOP_LAG
from ems_streams.ops.health import CheckResult, Health

TICK_S: Final = 0.5
STOOD_STILL_S: Final = 10.0
"""A tick that is later than this counts as the loop having stood still."""
WINDOW_S: Final = 120.0
TIMES_MAX: Final = 3
"""So often within the window is more than a pause of the machine: something in the process blocks it again and again."""


class Vitals:
    """Ticks twice a second, and tells how late that was.

    The check `loop` fails when the loop stood still for `STOOD_STILL_S` several times in a short while, or when there are no ticks any more. One
    long pause, such as of a machine that was suspended, is none of it: a restart would mend nothing.

    Args:
        health: Gets the check, and is evaluated once a second.
        clock: Monotonic seconds.
    """

    def __init__(self, health: Health, clock: Callable[[], float] = time.monotonic) -> None:
        self._health = health
        self._clock = clock
        self._lags: deque[tuple[float, float]] = deque()
        self._task: asyncio.Task[None] | None = None
        health.add_liveness("loop", self.check)

    def start(self) -> None:
        """Begin ticking, on the running loop."""
        self._task = asyncio.create_task(self._tick_for_ever(), name="vitals")

    async def stop(self) -> None:
        """Stop ticking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def check(self) -> CheckResult:
        """For `/livez`."""
        if self._task is not None and self._task.done():
            return CheckResult(False, "ticks no more")
        still = sum(lag_s > STOOD_STILL_S for _, lag_s in self._lags)
        longest_s = max((lag_s for _, lag_s in self._lags), default=0.0)
        return CheckResult(still < TIMES_MAX, f"at most {longest_s:.3f} s late in the last {WINDOW_S:.0f} s")

    def note(self, lag_s: float) -> None:
        """A tick was so late."""
        now_s = self._clock()
        LOOP_LAG.observe(lag_s)
        self._lags.append((now_s, lag_s))
        while self._lags[0][0] < now_s - WINDOW_S:
            self._lags.popleft()

    async def _tick_for_ever(self) -> None:
        odd = False
        while True:
            due_s = self._clock() + TICK_S
            await asyncio.sleep(TICK_S)
            self.note(max(0.0, self._clock() - due_s))
            odd = not odd
            if odd:
                for _ in self._health.findings():
                    pass
