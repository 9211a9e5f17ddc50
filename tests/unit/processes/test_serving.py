"""The frame of a process: what it starts, what it waits for, and that it always ends in order."""

import asyncio

import pytest

from ems_streams.ops.health import Health
from ems_streams.processes.serving import run_until


class Parts:
    """A process that writes down what is done with it."""

    def __init__(self, *, start: asyncio.Future[None], run: asyncio.Future[None]) -> None:
        self._start = start
        self._run = run
        self.done: list[str] = []

    def watch(self, health: Health) -> None: ...

    def sample(self) -> None: ...

    async def start(self) -> None:
        await self._follow("start", self._start)

    async def run(self) -> None:
        await self._follow("run", self._run)

    async def stop(self) -> None: ...

    async def _follow(self, name: str, ending: asyncio.Future[None]) -> None:
        try:
            await ending
        except asyncio.CancelledError:
            self.done.append(f"{name} cancelled")
            raise
        self.done.append(name)


@pytest.fixture
async def parts() -> Parts:
    loop = asyncio.get_running_loop()
    return Parts(start=loop.create_future(), run=loop.create_future())


def started(health: Health) -> bool:
    return health.startupz()[0] == 200


async def test_it_runs_until_it_is_told_to_stop(parts: Parts) -> None:
    health, stopping = Health(), asyncio.Event()
    running = asyncio.create_task(run_until(stopping, parts, health))
    await asyncio.sleep(0)
    assert not started(health)
    parts._start.set_result(None)
    while not started(health):
        await asyncio.sleep(0)
    assert not running.done()

    stopping.set()
    await running

    assert parts.done == ["start", "run cancelled"]


async def test_a_signal_ends_a_start_that_waits_for_servers(parts: Parts) -> None:
    health, stopping = Health(), asyncio.Event()
    running = asyncio.create_task(run_until(stopping, parts, health))
    await asyncio.sleep(0)

    stopping.set()
    await running

    assert parts.done == ["start cancelled"]
    assert not started(health)


@pytest.mark.parametrize("where", ["start", "run"])
async def test_a_failure_is_raised(parts: Parts, where: str) -> None:
    health = Health()
    if where == "run":
        parts._start.set_result(None)
    {"start": parts._start, "run": parts._run}[where].set_exception(ValueError("broken"))

    with pytest.raises(ValueError, match="broken"):
        await run_until(asyncio.Event(), parts, health)

    assert started(health) == (where == "run")
