"""The ingress process: MQTT broker -> Faust channel -> ingress agent -> Kafka, with health endpoints."""

import asyncio
import logging
from collections.abc import Hashable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import faust
import structlog
import uvloop
from faust.app.base import BootStrategy
from mode.types import ServiceT

from agents import ingress as ingress_agent
from ems_streams.domain.circuit_breaker import BreakerState
from ems_streams.domain.registry import Directory
from ems_streams.domain.stall import Progress
from ems_streams.errors import StalledError
from ems_streams.kafka.outbox import KafkaOutbox
from ems_streams.kafka.pulse import Pulse
from ems_streams.kafka.registry import RegistryView
from ems_streams.kafka.security import faust_credentials
from ems_streams.kafka.stall_watch import StallWatch
from ems_streams.metrics import Process, dependencies
from ems_streams.metrics import ingress as metrics
from ems_streams.mqtt.adapter import MqttSubscriber
from ems_streams.mqtt.inbox import MqttBatch
from ems_streams.ops.health import CheckResult, Health
from ems_streams.ops.logs import configure_logging
from ems_streams.processes.rights import Role, wait_for_rights
from ems_streams.processes.serving import Address, serve, stop_signal
from ems_streams.settings import Settings
from ems_streams.tracing import configure_tracing, stop_tracing

log = structlog.get_logger(__name__)

FINISH_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0


class AgentsOnly(BootStrategy):
    """Starts the agents and nothing else.

    The ingress consumes no Kafka topic, so there is no group to join and nothing to recover; what it produces goes through
    `KafkaOutbox`, since Faust's producer cannot send a batch as one. What is left of Faust is the agent over a channel.
    """

    def server(self) -> Iterator[ServiceT]:
        """The services to start, in order."""
        return iter(self._chain(self.agents()))


class IngressApp(faust.App):
    """A Faust app without Kafka, web or local state."""

    BootStrategy = AgentsOnly
    # Named so that the levels of Faust's own loggers hold for it.
    logger = logging.getLogger("faust.ingress")

    def _create_directories(self) -> None:
        """Nothing is stored, so no directory is left in the working directory."""


class Ingress:
    """All parts of the process, from `start` to `stop`.

    Guarantees: a QoS 1 message is acknowledged only when Kafka has its record, or its dead letter.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.registry = RegistryView(settings)
        self.outbox = KafkaOutbox(settings, ingress_agent.TOPICS, client_id=settings.ingress_id)
        self.subscriber = MqttSubscriber(settings)
        self.pulse = Pulse(settings, self.subscriber.in_step)
        self.app = _faust_app(settings)
        self.channel: Any = self.app.channel(maxsize=1)
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unhandled = 0
        self._all_handled = asyncio.Event()
        self._all_handled.set()
        self._parts = AsyncExitStack()
        self._stalls = StallWatch(self._observe, settings.stall_timeout_s)
        translator = ingress_agent.Translator(Directory(self.registry, provision_unknown=settings.unknown_devices == "provision"))
        ingress_agent.register(self.app, self.channel, translator, self.outbox, self, on_failure=self._fail)

    def watch(self, health: Health) -> None:
        """Register what makes this process alive, and what makes it ready: Kafka, its breaker, MQTT and the registry, each by name."""
        health.add_liveness("progress", self._check_progress)
        health.add_readiness("kafka", lambda: CheckResult(*self.outbox.check()))
        health.add_readiness(
            "breaker", lambda: CheckResult(self.outbox.breaker.state is BreakerState.CLOSED, self.outbox.breaker.describe())
        )
        health.add_readiness("mqtt", lambda: CheckResult(self.subscriber.status.connected, self.subscriber.status.detail))
        health.add_readiness("registry", lambda: CheckResult(self.registry.caught_up, self.registry.detail))

    def sample(self) -> None:
        """Set what the metrics say of the moment; from memory."""
        subscriber = self.subscriber
        dependencies.show_breaker("kafka", self.outbox.breaker)
        dependencies.STALL_SECONDS.set(self._stalls.longest_s)
        metrics.MQTT_CONNECTED.set(subscriber.status.connected)
        metrics.MQTT_IN_FLIGHT.set(subscriber.in_flight)
        messages, size = subscriber.waiting
        metrics.MQTT_BUFFERED.set(messages)
        metrics.MQTT_BUFFERED_BYTES.set(size)
        metrics.REGISTERED_DEVICES.set(len(self.registry))

    async def start(self) -> None:
        """Start everything; waits for servers that are not there yet, and raises `TopicsMissingError` and `RightsMissingError`."""
        # First of all, so that the broker keeps messages for us from now on.
        await self._parts.enter_async_context(self.subscriber)
        self._parts.push_async_callback(self.outbox.stop)
        await self.outbox.start()
        await wait_for_rights(Role.INGRESS, self._settings)
        self._parts.push_async_callback(self.registry.stop)
        await self.registry.start()
        self._parts.push_async_callback(self._stop_app)
        await self.app.start()
        # Faust starts with its queues shut until a consumer has recovered; there is none here.
        self.app.flow_control.resume()
        feeder = asyncio.create_task(self._feed(), name="mqtt feeder")
        self._parts.push_async_callback(self._finish, feeder)
        self._parts.push_async_callback(self.pulse.stop)
        await self.pulse.start()
        watching = asyncio.create_task(self._watch(), name="watchdog")
        self._parts.callback(watching.cancel)
        log.info("ingress_started")

    async def run(self) -> None:
        """Raise the failure that ends the process; waits for it."""
        # Only waited for: to cancel whoever waits must not cancel what the parts report to.
        await asyncio.wait((self._failed,))
        await self._failed

    async def stop(self) -> None:
        """Stop taking, finish what is in flight for at most `FINISH_TIMEOUT_S`, close; what is not finished comes again."""
        self.subscriber.stop_taking()
        await self._parts.aclose()

    async def acknowledge(self, batch: MqttBatch) -> bool:
        """Called by the agent when a batch is safe."""
        acknowledged = await self.subscriber.acknowledge(batch)
        self._unhandled -= 1
        if not self._unhandled:
            self._all_handled.set()
        return acknowledged

    def _check_progress(self) -> CheckResult:
        detail = f"{self.subscriber.in_flight} messages under way, none handled for {self._stalls.longest_s:.0f} s"
        return CheckResult(not self._stalls.stuck, detail)

    async def _observe(self) -> dict[Hashable, Progress]:
        """Messages that wait and are not handled although they could be."""
        if not self.outbox.available:
            return {}
        in_flight = self.subscriber.in_flight
        return {"messages under way": Progress(self.subscriber.handled, behind=in_flight > 0)}

    async def _watch(self) -> None:
        try:
            await self._stalls.run()
        except StalledError:
            self._fail(StalledError(f"{self.subscriber.in_flight} messages under way for {self._stalls.longest_s:.0f} s"))

    async def _feed(self) -> None:
        try:
            async for batch in self.subscriber.batches():
                self._unhandled += 1
                self._all_handled.clear()
                await self.channel.put(batch)
        except Exception as error:  # noqa: BLE001 - raised again by whoever waits in `run`
            self._fail(error)

    async def _finish(self, feeder: asyncio.Task[None]) -> None:
        try:
            async with asyncio.timeout(FINISH_TIMEOUT_S):
                await asyncio.shield(feeder)
                await self._all_handled.wait()
        except TimeoutError:
            log.warning("stopped_with_batches_in_flight", batches=self._unhandled)
        finally:
            feeder.cancel()

    async def _stop_app(self) -> None:
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self.app.stop()
        except TimeoutError:
            log.warning("agent_not_stopped")

    def _fail(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)


def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code, or raises an `EmsError` that says why it cannot run."""
    configure_logging(settings, "ingress")
    configure_tracing(settings, "ingress")
    return uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    stopping = stop_signal()
    address = Address(settings.bind_host, settings.ingress_port, "EMS_INGRESS_PORT")
    try:
        await serve(Ingress(settings), Process.INGRESS, address, stopping)
    finally:
        stop_tracing()
    return 0


def _faust_app(settings: Settings) -> IngressApp:
    return IngressApp(
        settings.ingress_id,
        broker=[f"kafka://{server.strip()}" for server in settings.kafka_bootstrap_servers.split(",")],
        broker_credentials=faust_credentials(settings),
        autodiscover=False,
        web_enabled=False,
    )
