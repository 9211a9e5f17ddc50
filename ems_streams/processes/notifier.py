"""The notifier process: `device-notifications` -> webhooks and e-mail, with health endpoints."""

import asyncio
import os
import sys
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

import structlog
from aiohttp import web

from ems_streams.access.internal import internal_guard
from ems_streams.channels.changelog import changelog_topic, notifier_group, partition_of
from ems_streams.channels.config_file import load_channels
from ems_streams.channels.meters import show_channels
from ems_streams.channels.runner import ChannelRunner
from ems_streams.channels.secrets import environment
from ems_streams.domain.channel_config import ChannelsConfig
from ems_streams.domain.circuit_breaker import BreakerState
from ems_streams.domain.stall import Progress
from ems_streams.kafka.joining import start_patiently
from ems_streams.kafka.ownership import Ownership
from ems_streams.kafka.probe import KafkaProbe
from ems_streams.kafka.stall_watch import StallWatch
from ems_streams.metrics import Process, dependencies
from ems_streams.ops.health import CheckResult, Health
from ems_streams.ops.http import error_middleware, json_response, start_site
from ems_streams.ops.logs import configure_logging
from ems_streams.ops.monitoring import add_monitoring
from ems_streams.processes.rights import Role, wait_for_rights
from ems_streams.processes.serving import Address, serve, stop_signal
from ems_streams.settings import Settings
from ems_streams.tracing import configure_tracing, stop_tracing

log = structlog.get_logger(__name__)

FINISH_TIMEOUT_S = 15.0
_SPARE_THREADS = 8


class NotifierProcess:
    """All parts of the process, from `start` to `stop`.

    Each channel is run by one process at a time: whoever the group has given the channel's partition of the changelog.
    """

    def __init__(self, settings: Settings, config: ChannelsConfig) -> None:
        self._settings = settings
        self._config = config
        self.kafka = KafkaProbe(settings)
        client_id = f"{notifier_group(settings)}-{settings.notifier_port}"
        self.ownership = Ownership(settings, changelog_topic(settings), notifier_group(settings), client_id, self._hold)
        self._runners: dict[str, ChannelRunner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parts = AsyncExitStack()
        self._stalls = StallWatch(self._observe, settings.stall_timeout_s)

    def watch(self, health: Health) -> None:
        """Register what makes this process alive, and what makes it ready: Kafka, and channels that run.

        A receiver that is away is shown, but is no fault of this process.
        """
        health.add_liveness("progress", self._check_alive)
        health.add_readiness("kafka", lambda: CheckResult(self.kafka.reachable, self.kafka.detail))
        health.add_readiness("channels", self._check_channels)
        health.add_readiness("breaker", self._check_breakers, required=False)

    def sample(self) -> None:
        """Set what the metrics say of the moment; from memory."""
        dependencies.KAFKA_REACHABLE.set(self.kafka.reachable)
        dependencies.STALL_SECONDS.set(self._stalls.longest_s)
        show_channels(self._runners.values())

    def views(self) -> list[dict[str, Any]]:
        """How each channel of this process does."""
        return [runner.view() for runner in self._runners.values()]

    async def start(self) -> None:
        """Start everything; waits for Kafka to be there, and raises `TopicsMissingError` and `RightsMissingError`."""
        self.kafka.start()
        self._parts.push_async_callback(self.kafka.stop)
        await wait_for_rights(Role.NOTIFIER, self._settings)
        self._parts.push_async_callback(self.ownership.stop)
        await start_patiently(self.ownership.start)
        watching = asyncio.create_task(self._stalls.run(), name="watchdog")
        watching.add_done_callback(self._ended)
        self._parts.callback(watching.cancel)
        log.info("notifier_started")

    async def run(self) -> None:
        """Run the channels that are ours, for as long as nobody cancels it; raises the failure of one that cannot go on."""
        while True:
            changed = asyncio.ensure_future(self.ownership.changed.wait())
            await asyncio.wait((changed, self._failure), return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            if self._failure.done():
                await self._failure
            self.ownership.changed.clear()
            await self._settle()

    async def stop(self) -> None:
        """Finish the attempts under way, leave the group, close everything; within `FINISH_TIMEOUT_S` and a few seconds."""
        try:
            async with asyncio.timeout(FINISH_TIMEOUT_S):
                await self._end(list(self._runners))
        except TimeoutError:
            log.warning("stopped_with_attempts_under_way")
        await self._parts.aclose()

    def _check_alive(self) -> CheckResult:
        where = self._stalls.where
        return CheckResult(not self._stalls.stuck, f"no progress: {where}" if where else "every channel moves, or is done")

    def _check_breakers(self) -> CheckResult:
        open_ones = [
            f"{runner.name} {runner.breaker_state}" for runner in self._runners.values() if runner.breaker_state != BreakerState.CLOSED
        ]
        return CheckResult(not open_ones, "; ".join(open_ones) or "all closed")

    def _check_channels(self) -> CheckResult:
        if not self.ownership.joined:
            return CheckResult(False, "waiting for the group to give channels")
        troubles = [f"{runner.name}: {runner.trouble}" for runner in self._runners.values() if runner.trouble]
        detail = "; ".join([f"{len(self._runners)} of {len(self._config.channels)} channels here", *troubles])
        return CheckResult(all(runner.running for runner in self._runners.values()), detail)

    async def _observe(self) -> dict[Hashable, Progress]:
        """Also of a channel that is ours and does not run."""
        return {f"channel {runner.name}": runner.progress() for runner in self._runners.values()} if self.kafka.reachable else {}

    async def _hold(self) -> None:
        await asyncio.gather(*(runner.hold() for runner in self._runners.values()))

    async def _settle(self) -> None:
        """Run what is ours now, and nothing else."""
        ours = {name for name in self._config.channels if partition_of(self._settings, name) in self.ownership.partitions}
        await self._end([name for name in self._runners if name not in ours])
        for name in self._config.channels:
            if name not in ours:
                continue
            if name in self._runners:
                self._runners[name].go_on()
            else:
                self._begin(name)

    def _begin(self, name: str) -> None:
        partition = partition_of(self._settings, name)
        runner = ChannelRunner(self._settings, name, self._config, lambda: self.ownership.confirm(partition))
        self._runners[name] = runner
        task = self._tasks[name] = asyncio.create_task(runner.run(), name=f"channel {name}")
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self._failure.done():
            self._failure.set_exception(error)

    async def _end(self, names: list[str]) -> None:
        try:
            await asyncio.gather(*(self._runners[name].finish() for name in names))
        finally:
            for name in names:
                self._tasks[name].cancel()
            await asyncio.gather(*(self._tasks[name] for name in names), return_exceptions=True)
            for name in names:
                del self._runners[name], self._tasks[name]


def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code, or raises an `EmsError` that says why it cannot run."""
    configure_logging(settings, "notifier")
    configure_tracing(settings, "notifier")
    # Not on uvloop: that looks names up on four threads for all, and a name server that hangs for one channel must not delay the others.
    return asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    stopping = stop_signal()
    address = Address(settings.bind_host, settings.notifier_port, "EMS_NOTIFIER_PORT")
    guard = internal_guard(settings)
    if settings.channels_file is None:
        return await _idle(address, stopping)
    config = load_channels(settings.channels_file, environment())
    spare = ThreadPoolExecutor(_SPARE_THREADS + sum(channel.concurrency for channel in config.channels.values()))
    asyncio.get_running_loop().set_default_executor(spare)
    process = NotifierProcess(settings, config)
    try:
        await serve(process, Process.NOTIFIER, address, stopping, [web.get("/channels", lambda _: _answer(process))], guard=guard)
    finally:
        stop_tracing()
    # From inside the loop: leaving it waits for threads, and with them for name servers that do not answer.
    sys.stderr.flush()
    os._exit(0)


async def _answer(process: NotifierProcess) -> web.Response:
    return json_response({"channels": process.views()})


async def _idle(address: Address, stopping: asyncio.Event) -> int:
    """There is nothing to deliver to; a process that ends by itself would be started again and again."""
    health = Health()
    web_app = web.Application(middlewares=[error_middleware])
    health.add_readiness("channels", lambda: CheckResult(True, "none: EMS_CHANNELS_FILE is not set"))
    # Nobody asks Kafka anything here.
    dependencies.KAFKA_REACHABLE.set(float("nan"))
    add_monitoring(web_app, Process.NOTIFIER, health)
    site = await start_site(web_app, address.host, address.port, address.setting)
    health.mark_started()
    log.info("no_channels", setting="EMS_CHANNELS_FILE")
    await stopping.wait()
    await site.cleanup()
    return 0
