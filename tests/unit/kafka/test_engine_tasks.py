"""Tasks of the engine end when they are told to, whatever comes at the same moment."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ems_streams.kafka import engine
from ems_streams.kafka.engine import Engine
from ems_streams.settings import Settings


async def _nothing(_: BaseException) -> None:
    pass


async def test_a_commit_loop_that_is_cancelled_when_something_is_urgent_ends() -> None:
    commits = []

    async def commit() -> None:
        commits.append(1)

    partition = SimpleNamespace(urgent=asyncio.Event(), last_commit_s=time.monotonic(), partition=0, commit=commit)
    agent = SimpleNamespace(name="things", commit_interval_s=60.0)
    loop = asyncio.create_task(
        Engine(Settings.load(), fail=_nothing, restart=lambda: None)._commit_loop(cast(Any, agent), cast(Any, partition))
    )
    await asyncio.sleep(0)

    partition.urgent.set()
    loop.cancel()

    done, _ = await asyncio.wait({loop}, timeout=1.0)
    loop.cancel()
    assert done
    assert not commits


async def test_who_swallows_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CANCEL_AGAIN_S", 0.01)

    async def stubborn() -> None:
        for _ in range(2):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue
        await asyncio.sleep(60)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)

    async with asyncio.timeout(5):
        await engine._cancelled([task])
    assert task.done()
