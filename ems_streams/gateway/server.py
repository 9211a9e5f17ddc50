"""The gateway process: the only one that people talk to."""

import asyncio
import importlib.util
import signal
from typing import cast

import aiohttp
import structlog
from aiohttp import web

from ems_streams.access.internal import internal_headers
from ems_streams.access.tls import server_tls
from ems_streams.gateway.alarm_fleet import AlarmFleet
from ems_streams.gateway.alarms import AlarmApi
from ems_streams.gateway.command_desk import CommandDesk
from ems_streams.gateway.commands import CommandsApi
from ems_streams.gateway.dead_letters import DeadLetterApi
from ems_streams.gateway.devices import DeviceLists
from ems_streams.gateway.documents import Documents
from ems_streams.gateway.explain import ExplainApi
from ems_streams.gateway.fleet import Fleet
from ems_streams.gateway.forwarding import Forwarder
from ems_streams.gateway.maintenance import MaintenanceApi
from ems_streams.gateway.meters import count_requests, sample
from ems_streams.gateway.notification_list import NotificationList
from ems_streams.gateway.notifications import Feed
from ems_streams.gateway.pages import add_security_headers, page_routes
from ems_streams.gateway.pipeline import Pipeline
from ems_streams.gateway.queries import DeviceQueries
from ems_streams.gateway.redrives import BODY_MAX_BYTES, RedriveApi
from ems_streams.gateway.representation import representation
from ems_streams.gateway.requests import check_request
from ems_streams.gateway.security.composition import Security
from ems_streams.gateway.security.exposure import warn_of_exposure
from ems_streams.gateway.site_queries import SiteQueries
from ems_streams.gateway.status_events import StatusEvents
from ems_streams.gateway.topology import Topology
from ems_streams.gateway.websocket import NotificationSocket
from ems_streams.metrics import Process
from ems_streams.ops.health import CheckResult, Health
from ems_streams.ops.http import error_middleware, start_site
from ems_streams.ops.logs import configure_logging
from ems_streams.ops.monitoring import add_monitoring
from ems_streams.ops.request_ids import give_request_ids
from ems_streams.postgres.reader import HistoryReader
from ems_streams.settings import Settings
from ems_streams.tracing import configure_tracing, stop_tracing

log = structlog.get_logger(__name__)

SHUTDOWN_TIMEOUT_S = 5.0


class Gateway:
    """The parts of the gateway, put together."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession) -> None:
        self.command_desk = CommandDesk(settings)
        self.security = Security.of(settings, self.command_desk.site_of)
        self.topology = Topology(session, settings.worker_urls.split(","))
        self.feed = Feed(settings, settings.gateway_notifications_held)
        self.history = HistoryReader(settings, "ems-gateway", settings.query_timeout_s)
        self.pipeline = Pipeline(settings, self.topology)
        self.socket = NotificationSocket(self.feed, origins=self.security.origins)
        workers = Forwarder(session, self.topology, settings.query_timeout_s)
        self.queries = DeviceQueries(workers, self.history, self.command_desk.name_of)
        self.lists = DeviceLists(Fleet(session, self.topology, settings.query_timeout_s, self.command_desk.name_of))
        self.site_queries = SiteQueries(workers, self.history, self.lists.has_devices)
        self.alarms = AlarmApi(settings, AlarmFleet(session, self.topology, settings.query_timeout_s))
        self.maintenance = MaintenanceApi(settings, self.command_desk.site_of)
        self.dead_letters = DeadLetterApi(settings)
        self.redrives = RedriveApi(settings)
        self.commands = CommandsApi(self.command_desk, workers, settings.query_timeout_s)
        self.explain = ExplainApi(settings, workers, self.topology, self.command_desk)
        self.health = Health()
        self.health.add_readiness("kafka", self.pipeline.check)
        self.health.add_readiness("notifications", self.feed.check)
        self.health.add_readiness("workers", self._check_workers)
        # Without it there is no history, and all that is live is there.
        self.health.add_readiness("postgres", self._check_postgres, required=False)
        self.health.add_readiness("commands", self.command_desk.check, required=False)
        self.security.watch(self.health)

    def app(self) -> web.Application:
        """Everything that is answered over HTTP."""
        # From the outside in: what is answered is counted, has an id, is tagged and compressed; within, errors are made into answers, and it is
        # decided who may ask, and whether what is asked can be meant.
        guard = self.security.guard.middleware
        middlewares = [count_requests, give_request_ids, representation(), error_middleware, guard, check_request]
        app = web.Application(middlewares=middlewares, client_max_size=BODY_MAX_BYTES)
        app.on_response_prepare.append(add_security_headers)
        app.on_response_prepare.append(self.security.add_headers)
        app.cleanup_ctx.append(self.socket.watched)
        app.on_shutdown.append(self.socket.shut_down)
        # The list before the single device: the order is of no matter to the router, but it is to readers.
        app.add_routes(self.lists.routes())
        app.add_routes(self.queries.routes())
        app.add_routes(StatusEvents(self.history).routes())
        app.add_routes(self.explain.routes())
        app.add_routes(self.site_queries.routes())
        app.add_routes(NotificationList(self.feed).routes())
        app.add_routes(self.alarms.routes())
        app.add_routes(self.maintenance.routes())
        app.add_routes(self.dead_letters.routes())
        app.add_routes(self.redrives.routes())
        app.add_routes(self.commands.routes())
        app.add_routes(self.socket.routes())
        app.add_routes(self.pipeline.routes())
        app.add_routes(self.security.sessions.routes())
        add_monitoring(app, Process.GATEWAY, self.health, lambda: sample(self))
        app.add_routes(Documents().routes())
        app.add_routes(page_routes())
        return app

    def _check_workers(self) -> CheckResult:
        view = self.topology.view
        live = len(view.live)
        return CheckResult(live > 0, f"{live} of {len(view.owners)} known workers answer")

    def _check_postgres(self) -> CheckResult:
        failure = self.history.failure
        return CheckResult(not failure, failure or "answers")


def described_application() -> web.Application:
    """The application with all its routes, to be described and not to be asked: nothing is behind it. Belongs into no running loop."""

    async def made() -> web.Application:
        return Gateway(Settings.model_construct(), cast(aiohttp.ClientSession, None)).app()

    return asyncio.run(made())


async def serve(settings: Settings, *, stop: asyncio.Event) -> None:
    """Runs the gateway until `stop` is set.

    Starts, and stays, without Kafka and without workers: what needs them answers 503 until they are there.

    Raises:
        SettingError: The port cannot be listened on, or certificate, key or internal token cannot be used.
    """
    tls = server_tls(settings.gateway_cert_file, settings.gateway_key_file)
    connector = aiohttp.TCPConnector(limit=200, limit_per_host=50)
    # It speaks with workers only: nobody else may be shown what it says of itself.
    async with aiohttp.ClientSession(connector=connector, headers=internal_headers(settings)) as session:
        gateway = Gateway(settings, session)
        runner = await start_site(
            gateway.app(),
            settings.gateway_host,
            settings.gateway_port,
            "EMS_GATEWAY_PORT",
            shutdown_timeout_s=SHUTDOWN_TIMEOUT_S,
            tls=tls,
        )
        warn_of_exposure(settings)
        log.info("gateway listens", url=f"{'http' if tls is None else 'https'}://{settings.gateway_host}:{settings.gateway_port}")
        gateway.health.mark_started()
        try:
            await _run_until(stop, gateway)
        finally:
            await runner.cleanup()
            await gateway.redrives.stop()
            await gateway.history.close()
            gateway.security.guard.audit.close()
    log.info("gateway stopped")


async def _run_until(stop: asyncio.Event, gateway: Gateway) -> None:
    """Background parts run until `stop`; one that ends by itself ends the process, with its error."""
    waiting = asyncio.ensure_future(stop.wait())
    parts = [
        asyncio.ensure_future(part.run())
        for part in (gateway.topology, gateway.feed, gateway.pipeline, gateway.history, gateway.command_desk)
    ]
    try:
        done, _ = await asyncio.wait([waiting, *parts], return_when=asyncio.FIRST_COMPLETED)
        for finished in done - {waiting}:
            finished.result()
    finally:
        for task in (waiting, *parts):
            task.cancel()
        await asyncio.gather(waiting, *parts, return_exceptions=True)


def run(settings: Settings) -> int:
    """Runs the gateway until SIGTERM or SIGINT; returns the exit code."""
    configure_logging(settings, "gateway")
    configure_tracing(settings, "gateway")
    # uvloop does not exist for every platform.
    runner = importlib.import_module("uvloop").run if importlib.util.find_spec("uvloop") else asyncio.run
    return int(runner(_main(settings)))


async def _main(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    try:
        await serve(settings, stop=stop)
    finally:
        stop_tracing()
    return 0
