"""Composition root of the worker: one Faust app, its tables, its agents, the engine between them."""

from importlib.util import find_spec
from pathlib import Path

import agents.aggregates
import agents.alarms
import agents.commands
import agents.notifications
import agents.sites
import agents.status
import tables.alarms
import tables.commands
import tables.device_aggregates
import tables.device_status
import tables.notifications
import tables.site_windows
from agents.command_courier import Couriers
from ems_streams.errors import EmsError
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.ops.health import CheckResult
from ems_streams.settings import Settings
from ems_streams.web.health import worker_health
from ems_streams.web.live import LiveTables
from ems_streams.web.live_alarms import LiveAlarms
from ems_streams.web.live_commands import LiveCommands
from ems_streams.web.live_facts import LiveFacts, Policies, Tables
from ems_streams.web.live_sites import LiveSites
from ems_streams.web.routes import add_routes
from ems_streams.web.sampling import sample
from ems_streams.windowing import window_policy

PACKAGES = ("ems_streams", "agents", "tables")
SOURCE_TOPICS = frozenset(
    (
        *agents.aggregates.SOURCES,
        *agents.status.SOURCES,
        *agents.notifications.SOURCES,
        *agents.sites.SOURCES,
        *agents.alarms.SOURCES,
        *agents.commands.SOURCES,
    )
)
"""Every topic that a worker reads."""
AGENT_NAMES = (
    *(agents.aggregates.NAME, agents.status.NAME, agents.notifications.NAME),
    *(agents.sites.NAME, agents.alarms.NAME, agents.commands.NAME),
)
"""Agents of a worker; their transactions are named after them."""


def check_one_place() -> None:
    """The three top-level packages must be of one distribution, or agents of another version would run silently."""
    places = {}
    for name in PACKAGES:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise EmsError(f"package {name} is not installed beside ems_streams; reinstall ems-streams")
        places[name] = Path(spec.origin).resolve().parent.parent
    if len(set(places.values())) != 1:
        shown = ", ".join(f"{name} from {place}" for name, place in places.items())
        raise EmsError(f"packages come from different places: {shown}; uninstall the strangers")


def worker_app(settings: Settings) -> WorkerApp:
    """The worker's app with all tables, agents and web views registered; starts nothing.

    Registration is explicit: Faust's autodiscovery only warns when a module fails to import, and runs without it.
    """
    check_one_place()
    app = WorkerApp(settings)
    aggregates = tables.device_aggregates.declare(app, settings.partitions)
    status = tables.device_status.declare(app, settings.partitions)
    notifications = tables.notifications.declare(app, settings.partitions)
    sites = tables.site_windows.declare(app, settings.partitions)
    alarms = tables.alarms.declare(app, settings.partitions)
    commands = tables.commands.declare(app, settings.partitions)
    couriers = Couriers(settings)
    app.add_batch_agent(agents.aggregates.agent(aggregates, settings))
    app.add_batch_agent(agents.status.agent(status, settings))
    app.add_batch_agent(agents.notifications.agent(notifications, settings))
    app.add_batch_agent(agents.sites.agent(sites, settings))
    app.add_batch_agent(agents.alarms.agent(alarms, settings))
    app.add_batch_agent(agents.commands.agent(commands, couriers.serve))
    live_alarms = LiveAlarms(alarms)
    live = LiveTables(app, aggregates, status, notifications, window_policy(settings), alarms=live_alarms)
    health = worker_health(app)
    health.add_readiness("commands_mqtt", lambda: CheckResult(*couriers.check()), required=False)
    policies = Policies(window_policy(settings), agents.status.silence_policy(settings), agents.notifications.flapping_policy(settings))
    facts = LiveFacts(settings.worker_url, Tables(status, aggregates, notifications, alarms, commands), policies)

    def sampled() -> None:
        sample(app, live_alarms)
        couriers.show()

    add_routes(app, live, LiveSites(app, sites), live_alarms, LiveCommands(app, commands), facts, health, sampled)
    return app
