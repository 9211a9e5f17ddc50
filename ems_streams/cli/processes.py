"""`ems-streams ingress`, `worker`, `sink`, `notifier` and `gateway`: the long-running processes, one command each."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ems_streams.settings import Settings

IngressId = Annotated[str | None, typer.Option("--id", help="Stable name of this ingress: its MQTT client id (EMS_INGRESS_ID).")]
IngressPort = Annotated[int | None, typer.Option("--port", help="Port of the health endpoints (EMS_INGRESS_PORT).")]
WorkerId = Annotated[str | None, typer.Option("--id", help="Stable name of this worker: its state directory (EMS_WORKER_ID).")]
WorkerPort = Annotated[int | None, typer.Option("--port", help="Port of the worker's web (EMS_WORKER_PORT).")]
SinkPort = Annotated[int | None, typer.Option("--port", help="Port of the health endpoints (EMS_SINK_PORT).")]
NotifierPort = Annotated[int | None, typer.Option("--port", help="Port of the health endpoints (EMS_NOTIFIER_PORT).")]
GatewayPort = Annotated[int | None, typer.Option("--port", help="Port of the gateway (EMS_GATEWAY_PORT).")]


def register(app: typer.Typer) -> None:
    """Add the process commands."""
    app.command()(ingress)
    app.command()(worker)
    app.command()(sink)
    app.command()(notifier)
    app.command()(gateway)


def ingress(id_: IngressId = None, port: IngressPort = None) -> None:
    """Take messages from MQTT to Kafka; acknowledge each only after Kafka has it."""
    from ems_streams.processes.ingress import run

    _run(run, ingress_id=id_, ingress_port=port)


def worker(id_: WorkerId = None, port: WorkerPort = None) -> None:
    """Keep aggregates and status per device; start more of them to share the partitions."""
    from ems_streams.processes.worker import run

    _run(run, worker_id=id_, worker_port=port)


def sink(port: SinkPort = None) -> None:
    """Write aggregates, transitions and notifications to PostgreSQL, each once; start more of them to share the partitions."""
    from ems_streams.processes.sink import run

    _run(run, sink_port=port)


def notifier(port: NotifierPort = None) -> None:
    """Deliver notifications to the webhooks and mailboxes of EMS_CHANNELS_FILE; start more of them to share the channels."""
    from ems_streams.processes.notifier import run

    _run(run, notifier_port=port)


def gateway(port: GatewayPort = None) -> None:
    """Serve REST, WebSocket and the dashboard to people."""
    from ems_streams.gateway.server import run

    _run(run, gateway_port=port)


def _run(process: "Callable[[Settings], int]", **options: object) -> None:
    from ems_streams.settings import Settings

    given = {name: value for name, value in options.items() if value is not None}
    raise typer.Exit(process(Settings.load(**given)))
