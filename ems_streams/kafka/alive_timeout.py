"""A deadline for others that does not run out because of ourselves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

TICK_S: Final = 0.1


@asynccontextmanager
async def alive_timeout(limit_s: float) -> AsyncIterator[None]:
    """As `asyncio.timeout`, but time in which the event loop was held up counts as two ticks of `TICK_S` at the most.

    An answer that came while this process was busy, or had no processor, cannot be read in time, and is not late for that. Raises `TimeoutError`
    when the loop was free for `limit_s` seconds; with a free loop that is `limit_s` seconds after the start, to the tick.
    """
    async with asyncio.timeout(None) as expiring:
        ticking = asyncio.create_task(_expire(expiring, limit_s))
        try:
            yield
        finally:
            ticking.cancel()


async def _expire(expiring: asyncio.Timeout, limit_s: float) -> None:
    loop = asyncio.get_running_loop()
    before_s, alive_s = loop.time(), 0.0
    while alive_s < limit_s:
        await asyncio.sleep(TICK_S)
        now_s = loop.time()
        alive_s += min(now_s - before_s, 2 * TICK_S)
        before_s = now_s
    expiring.reschedule(loop.time())
