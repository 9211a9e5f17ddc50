"""The worker process: checks that its topics exist, runs the Faust app, and ends within its deadline.

What takes long to import is imported in functions: signals are handled from the first line of `run` on.
"""

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

import structlog
import uvloop

from ems_streams.access.internal import check_internal
from ems_streams.errors import EmsError
from ems_streams.mqtt.endpoint import broker_of
from ems_streams.ops import garbage
from ems_streams.ops.logs import configure_logging
from ems_streams.settings import Settings
from ems_streams.tracing import configure_tracing, stop_tracing

if TYPE_CHECKING:
    from ems_streams.kafka.worker_app import WorkerApp

log = structlog.get_logger(__name__)

STOP_TIMEOUT_S = 25.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)
START_CANCEL_TIMEOUT_S = 1.0
KAFKA_AWAY_CHECK_S = 0.1


def run(settings: Settings) -> int:
    """Run a worker until SIGTERM or SIGINT (0), or until something is wrong for good (1)."""
    for number in SIGNALS:
        # Nothing has begun yet that would have to be ended.
        signal.signal(number, lambda *_: os._exit(0))
    configure_logging(settings, "worker")
    # What commands are sent by is needed later; that its files cannot be used is better known now.
    broker_of(settings)
    configure_tracing(settings, "worker")
    check_internal(settings)
    return uvloop.run(_run_and_exit(settings))


async def _run_and_exit(settings: Settings) -> int:
    stop = asyncio.Event()
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    checking = asyncio.create_task(_check_topics(settings))
    await _first_of(checking, stop)
    if stop.is_set():
        os._exit(0)
    await checking
    code = await _run(settings, stop)
    # From inside the loop: what is left of Faust's tasks and threads may never end, and nothing that matters is left at this point.
    stop_tracing()
    sys.stderr.flush()
    os._exit(code)


async def _check_topics(settings: Settings) -> None:
    """Return when all topics are there, and we may use them; waits while Kafka is away, and says so at the health endpoints. Raises what `check_rights` raises."""
    from ems_streams.processes.rights import Role, wait_for_rights

    async with contextlib.AsyncExitStack() as waiting:
        away: list[str] = []

        async def say(why: str) -> None:
            first = not away
            away[:] = [why]
            if first:
                await _say_that_it_waits(settings, away, waiting)

        await wait_for_rights(Role.WORKER, settings, say)


async def _say_that_it_waits(settings: Settings, away: list[str], waiting: contextlib.AsyncExitStack) -> None:
    """Serve the endpoints, for as long as it waits, on the port that Faust's web takes over afterwards."""
    from aiohttp import web

    from ems_streams.metrics import Process
    from ems_streams.ops.health import CheckResult, Health
    from ems_streams.ops.http import start_site
    from ems_streams.ops.monitoring import add_monitoring

    health, app = Health(), web.Application()
    health.add_readiness("kafka", lambda: CheckResult(False, away[0]))
    add_monitoring(app, Process.WORKER, health)
    site = await start_site(app, settings.bind_host, settings.worker_port, "EMS_WORKER_PORT", shutdown_timeout_s=0.5)
    waiting.push_async_callback(site.cleanup)


async def _run(settings: Settings, stop: asyncio.Event) -> int:
    from ems_streams.app import worker_app

    settings.worker_data_dir.mkdir(parents=True, exist_ok=True)
    app = worker_app(settings)
    garbage.settle()
    _end_with_damaged_stores(app)
    app.kafka.start()
    app.watchdog.start()
    log.info("worker_starting", worker=settings.worker_id, url=settings.worker_url)
    await _until_stopped(app, stop)
    if not _failed(app):
        await app.watchdog.stop()
        await _shut_down(app)
    if _failed(app):
        # Nothing is made durable any more: what is in memory only cannot be trusted, and is read and folded again.
        log.error("worker_failed", error=str(app.failure or app.crash_reason))
        return 1
    return 0


def _failed(app: "WorkerApp") -> bool:
    return app.failure is not None or app.crashed


def _end_with_damaged_stores(app: "WorkerApp") -> None:
    loop = asyncio.get_running_loop()

    def end(error: Exception) -> None:
        asyncio.run_coroutine_threadsafe(app.fail(error), loop)

    for agent in app.engine.agents.values():
        agent.table.store.on_damage = end


async def _until_stopped(app: "WorkerApp", stop: asyncio.Event) -> None:
    app.in_worker = True
    starting = asyncio.create_task(app.start())
    # From the beginning: it may fail before it has started.
    ended = asyncio.create_task(app.wait_until_stopped())
    await _first_of(starting, stop, ended)
    if starting.done():
        if (error := starting.exception()) is not None:
            await app.fail(error)
        await _first_of(ended, stop)
    for task in (starting, ended):
        task.cancel()
    await asyncio.wait((starting, ended), timeout=START_CANCEL_TIMEOUT_S)


async def _first_of(task: "asyncio.Task[None]", stop: asyncio.Event, *others: "asyncio.Task[None]") -> None:
    """Wait until one of them is done or a signal came; raises nothing and cancels nothing."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((task, stopping, *others), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()


async def _shut_down(app: "WorkerApp") -> None:
    """Make everything durable and leave, unless Kafka is away: then there is nobody to give it to, and it is read and folded again."""
    draining = asyncio.create_task(_drain(app))
    away = asyncio.create_task(_until_kafka_is_away(app))
    done, _ = await asyncio.wait((draining, away), timeout=STOP_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
    if draining in done:
        draining.result()
    elif away in done:
        log.warning("stopped_without_kafka", detail="what was not durable is read and folded again")
    else:
        log.error("stop_timed_out", timeout_s=STOP_TIMEOUT_S)


async def _drain(app: "WorkerApp") -> None:
    with contextlib.suppress(EmsError):
        await app.stop()
        await app.engine.close_partitions()


async def _until_kafka_is_away(app: "WorkerApp") -> None:
    from ems_streams.domain.circuit_breaker import BreakerState

    while True:
        if not app.kafka.reachable or app.engine.breaker.state is not BreakerState.CLOSED:
            return
        await asyncio.sleep(KAFKA_AWAY_CHECK_S)
