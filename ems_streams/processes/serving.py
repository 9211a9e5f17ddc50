"""The frame of a process that runs until it is told to stop: signals, health endpoints, start, failure, end."""

import asyncio
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Middleware

from ems_streams.metrics import Process
from ems_streams.ops import garbage
from ems_streams.ops.health import Health
from ems_streams.ops.http import error_middleware, start_site
from ems_streams.ops.monitoring import add_monitoring


class Served(Protocol):
    """All parts of a process."""

    def watch(self, health: Health) -> None:
        """Register what makes the process alive, and what makes it ready."""

    def sample(self) -> None:
        """Set what the metrics say of the moment; from memory."""

    async def start(self) -> None:
        """Start everything; may wait for servers for as long as they are away."""

    async def run(self) -> None:
        """Return, or raise the error, when the process cannot go on; otherwise wait until it is cancelled."""

    async def stop(self) -> None:
        """Finish and close; called once, also when `start` has failed or was cancelled."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the health endpoints are; `setting` is the port's, for the error when it is taken."""

    host: str
    port: int
    setting: str


def stop_signal() -> asyncio.Event:
    """Set by SIGTERM and SIGINT from now on."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


async def serve(
    process: Served,
    kind: Process,
    address: Address,
    stopping: asyncio.Event,
    routes: Iterable[web.RouteDef] = (),
    *,
    guard: Middleware | None = None,
) -> None:
    """Run a process with its endpoints until `stopping` is set; raises what it fails by, and `SettingError` for a port that is taken."""
    health = Health()
    application = web.Application(middlewares=[error_middleware] if guard is None else [error_middleware, guard])
    garbage.settle()
    process.watch(health)
    add_monitoring(application, kind, health, process.sample)
    application.add_routes(routes)
    site = await start_site(application, address.host, address.port, address.setting)
    try:
        await run_until(stopping, process, health)
    finally:
        await process.stop()
        await site.cleanup()


async def run_until(stopping: asyncio.Event, process: Served, health: Health) -> None:
    """Start, then wait for the signal to stop, or for a failure, which is raised."""

    async def working() -> None:
        await process.start()
        health.mark_started()
        await process.run()

    work = asyncio.create_task(working(), name="process")
    stop = asyncio.create_task(stopping.wait(), name="stop signal")
    try:
        await asyncio.wait((work, stop), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            await work
    finally:
        for task in (work, stop):
            task.cancel()
        await asyncio.gather(work, stop, return_exceptions=True)
