"""The worker process: checks that its topics exist, runs the Faust app, and ends within its deadline."""

import asyncio
import contextlib
import os
import signal
import sys

import structlog
import uvloop

from ems_streams.app import worker_app
from ems_streams.errors import EmsError, TopicsMissingError
from ems_streams.kafka.admin import missing_topics
from ems_streams.kafka.catalogue import Catalogue
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.ops.logs import configure_logging
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

STOP_TIMEOUT_S = 25.0


def run(settings: Settings) -> int:
    """Run a worker until SIGTERM or SIGINT (0), or until something is wrong for good (1)."""
    configure_logging(settings, "worker")
    return uvloop.run(_run_and_exit(settings))


async def _run_and_exit(settings: Settings) -> int:
    code = await _run(settings)
    # From inside the loop: what is left of Faust's tasks and threads may never end, and nothing that matters is left at this point.
    sys.stderr.flush()
    os._exit(code)


async def _run(settings: Settings) -> int:
    names = [topic.name for topic in Catalogue(settings.application_id, settings.partitions)]
    missing = await missing_topics(settings, names)
    if missing:
        raise TopicsMissingError(missing)
    settings.worker_data_dir.mkdir(parents=True, exist_ok=True)
    app = worker_app(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app.kafka.start()
    app.watchdog.start()
    log.info("worker_starting", worker=settings.worker_id, url=settings.worker_url)
    try:
        await _until_stopped(app, stop)
    finally:
        await app.watchdog.stop()
        await app.kafka.stop()
        await _shut_down(app)
    if app.failure is not None or app.crashed:
        log.error("worker_failed", error=str(app.failure or app.crash_reason))
        return 1
    return 0


async def _until_stopped(app: WorkerApp, stop: asyncio.Event) -> None:
    app.in_worker = True
    running = asyncio.ensure_future(_start(app))
    stopping = asyncio.ensure_future(stop.wait())
    done, _ = await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
    if running in done:
        running.result()
    running.cancel()
    stopping.cancel()
    await asyncio.gather(running, stopping, return_exceptions=True)


async def _start(app: WorkerApp) -> None:
    await app.start()
    await app.wait_until_stopped()


async def _shut_down(app: WorkerApp) -> None:
    with contextlib.suppress(EmsError):
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await app.stop()
                await app.engine.close_partitions()
        except TimeoutError:
            log.error("stop_timed_out", timeout_s=STOP_TIMEOUT_S)
