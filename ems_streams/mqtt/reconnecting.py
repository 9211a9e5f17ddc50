"""How one connection follows another: tries without end, and a rest where a connection did not live for long."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import stamina
import structlog

from ems_streams.mqtt.connection import FAILURES, Connection

log = structlog.get_logger(__name__)

SHORT_LIFE_S = 0.5


async def connect_patiently(
    open_connection: Callable[[], Awaitable[Connection]], trouble: Callable[[], str], wait_max_s: float = 10.0
) -> Connection:
    """Try, with exponential backoff and jitter up to `wait_max_s`, for as long as it takes; one of `FAILURES` means once more.

    What `trouble` gives after a failure is logged, once until it changes: tries go on, several in a second.
    """
    said = ""
    retrying = stamina.retry_context(on=FAILURES, attempts=None, timeout=None, wait_initial=0.1, wait_max=wait_max_s, wait_jitter=1.0)
    async for attempt in retrying:
        with attempt:
            try:
                return await open_connection()
            except FAILURES:
                if (why := trouble()) != said:
                    said = why
                    log.warning("mqtt_cannot_connect", reason=why)
                raise
    raise AssertionError("unreachable: attempts are unlimited")


async def rest_after(connected_s: float) -> None:
    """Wait a little before the next connection when the last, made at that monotonic time, did not live for long.

    Two processes with one client id would otherwise take the session from each other as fast as they can, and do nothing else.
    """
    if time.monotonic() - connected_s < SHORT_LIFE_S:
        await asyncio.sleep(SHORT_LIFE_S)
