"""The deadline of a commit: it ends a wait for a Kafka that is away, and none that our own work makes long."""

import asyncio
import time

import pytest

from ems_streams.kafka.alive_timeout import TICK_S, alive_timeout


async def test_a_wait_with_a_free_loop_ends() -> None:
    begun_s = time.monotonic()
    with pytest.raises(TimeoutError):
        async with alive_timeout(3 * TICK_S):
            await asyncio.sleep(60)
    assert time.monotonic() - begun_s >= 3 * TICK_S


async def test_time_in_which_the_loop_was_held_up_does_not_count() -> None:
    async with alive_timeout(3 * TICK_S):
        time.sleep(6 * TICK_S)  # noqa: ASYNC251 - the loop is to be held up
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_what_is_done_in_time_is_not_interrupted_later() -> None:
    async with alive_timeout(3 * TICK_S):
        await asyncio.sleep(0)
    await asyncio.sleep(5 * TICK_S)


async def test_a_cancellation_from_elsewhere_is_no_timeout() -> None:
    async def wait() -> None:
        async with alive_timeout(60):
            await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
