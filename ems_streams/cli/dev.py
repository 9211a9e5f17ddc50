"""`ems-streams dev`: everything on this machine, with one command."""

from pathlib import Path
from typing import Annotated

import typer

from ems_streams.errors import UsageError

Duration = Annotated[float | None, typer.Option(min=0.0, help="Stop after this many seconds of being up; default until stopped.")]
Devices = Annotated[int, typer.Option(min=1, help="Simulated devices.")]
Rate = Annotated[float, typer.Option(min=0.001, help="Telemetry messages per second of all simulated devices together.")]
Workers = Annotated[int, typer.Option(min=1, max=16, help="Workers that share the partitions.")]
NoSimulator = Annotated[bool, typer.Option("--no-simulator", help="Without simulated devices.")]
NoBuiltinRules = Annotated[
    bool, typer.Option("--no-builtin-rules", help="Without the built-in alarm rules, which are applied when none ever were.")
]
Headless = Annotated[bool, typer.Option("--headless", help="Print lines instead of the status screen.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Remove the data of earlier runs first.")]
PortOffset = Annotated[int, typer.Option(help="Move every port by this much.")]
DataDir = Annotated[Path | None, typer.Option(help="Where servers and workers keep their data (EMS_DATA_DIR).", file_okay=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per line: step, progress, notice, up, status, failed.")]

Secure = Annotated[
    bool,
    typer.Option(
        "--secure", help="TLS, logins and rights everywhere: Kafka, MQTT, PostgreSQL, gateway; on data of its own (DATA_DIR/secure)."
    ),
]
Device = Annotated[
    list[str] | None,
    typer.Option(
        "--device", metavar="SITE/SERIAL", help="With --secure: a device that gets a certificate, several times; default 1/INV-001."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(dev)


def dev(
    duration: Duration = None,
    devices: Devices = 50,
    rate: Rate = 100.0,
    workers: Workers = 1,
    no_simulator: NoSimulator = False,
    no_builtin_rules: NoBuiltinRules = False,
    headless: Headless = False,
    fresh: Fresh = False,
    port_offset: PortOffset = 0,
    data_dir: DataDir = None,
    json: Json = False,
    secure: Secure = False,
    device: Device = None,
) -> None:
    """Run Kafka, an MQTT broker, PostgreSQL, ingress, workers, gateway and a simulated fleet, until Ctrl-C.

    A server whose address is set (EMS_KAFKA_BOOTSTRAP_SERVERS, EMS_MQTT_URL, EMS_DATABASE_URL) is used as it is, not started.
    """
    if device and not secure:
        raise UsageError("--device is for --secure: without it devices need no certificate")
    from ems_streams.dev.command import run
    from ems_streams.dev.plan import SECURE_DEVICES, Options
    from ems_streams.processes.rights import acls_of

    options = Options(
        duration_s=duration,
        devices=devices,
        rate=rate,
        workers=workers,
        simulator=not no_simulator,
        builtin_rules=not no_builtin_rules,
        headless=headless,
        fresh=fresh,
        port_offset=port_offset,
        data_dir=data_dir,
        json=json,
        secure=secure,
        secure_devices=tuple(device) if device else SECURE_DEVICES,
    )
    raise typer.Exit(run(options, acls_of))
