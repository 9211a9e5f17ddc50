"""`ems-streams simulate`: a fleet of devices on the MQTT broker, or a recording played again."""

import asyncio
import contextlib
import json
import secrets
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ems_streams.cli.times import time_of
from ems_streams.errors import DependencyError, EmsError, UsageError

if TYPE_CHECKING:
    from ems_streams.dev.simulator import Commands, FaultPlan, FaultShares, FleetOptions, Publication, Runner, Summary, World
    from ems_streams.dev.simulator.fleet import Identity
    from ems_streams.dev.simulator.models import DeviceModel
    from ems_streams.mqtt.endpoint import TlsFiles
    from ems_streams.mqtt.publisher import MqttPublisher
    from ems_streams.settings import Settings

FaultsOption = Annotated[
    str, typer.Option(help="KIND[=SHARE],... of duplicates, out-of-order, late, clock-skew, silence, flapping, poison, or all.")
]
CommandLogOption = Annotated[
    Path | None, typer.Option(help="Append one JSON line per step of a command that a device takes; turns on --commands.")
]
CommandFaultsOption = Annotated[
    str, typer.Option(help="KIND[=SHARE],... of refuse, fail, late, twice, never, offline, or all; turns on --commands.")
]

_CONNECT_TIMEOUT_S = 10.0


class IncompleteError(EmsError):
    """The run is over and the broker does not have everything."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command was asked for."""

    seed: int
    devices: int
    sites: int
    rate: float
    duration_s: float
    speed: float
    start_ms: int | None
    client_count: int
    ledger: Path | None
    ledger_status: bool
    csv: Path | None
    skip_bad_rows: bool
    faults: str
    goodbye: bool
    prefix: str
    json: bool
    commands: bool = False
    command_log: Path | None = None
    command_faults: str = ""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command()
    def simulate(
        seed: Annotated[int | None, typer.Option(help="Same seed and options, same messages; default a new one, which is shown.")] = None,
        devices: Annotated[int, typer.Option(min=1, help="Number of devices.")] = 100,
        sites: Annotated[int, typer.Option(min=1, help="Number of sites, numbered from 1.")] = 5,
        rate: Annotated[float, typer.Option(min=0.001, help="Telemetry messages per second of all devices together.")] = 100.0,
        duration: Annotated[float, typer.Option(min=0.0, help="Seconds; 0 until stopped. A recording is played to its end.")] = 60.0,
        ledger: Annotated[Path | None, typer.Option(help="Write one JSON line per acknowledged telemetry message.")] = None,
        ledger_status: Annotated[bool, typer.Option("--ledger-status", help="Status reports in the ledger too.")] = False,
        csv: Annotated[Path | None, typer.Option(help="Replay: timestamp,serialNumber,siteId,deviceType, then metrics.")] = None,
        skip_bad_rows: Annotated[bool, typer.Option("--skip-bad-rows", help="Replay the good rows and report the bad ones.")] = False,
        faults: FaultsOption = "",
        start: Annotated[str | None, typer.Option(help="Device time at the start, ISO-8601; default now.")] = None,
        speed: Annotated[float, typer.Option(min=0.0, help="Seconds of device time in a second; 0 publishes without waiting.")] = 1.0,
        client_count: Annotated[int, typer.Option(min=1, max=64, help="MQTT connections to spread the devices over.")] = 4,
        goodbye: Annotated[bool, typer.Option("--goodbye", help="At the end, report every device OFFLINE.")] = False,
        prefix: Annotated[str, typer.Option(help="Goes before every serial number, to tell two fleets apart.")] = "",
        commands: Annotated[bool, typer.Option("--commands", help="Devices take commands, execute and answer them.")] = False,
        command_log: CommandLogOption = None,
        command_faults: CommandFaultsOption = "",
        as_json: Annotated[bool, typer.Option("--json", help="Print one summary object at the end, and nothing else.")] = False,
    ) -> None:
        """Publish the telemetry of simulated devices over MQTT, with QoS 1; with --commands they also do what they are told."""
        options = Options(
            seed=secrets.randbelow(1_000_000) if seed is None else seed,
            devices=devices,
            sites=sites,
            rate=rate,
            duration_s=duration,
            speed=speed,
            start_ms=None if start is None else _parse_start(start),
            client_count=client_count,
            ledger=ledger,
            ledger_status=ledger_status,
            csv=csv,
            skip_bad_rows=skip_bad_rows,
            faults=faults,
            goodbye=goodbye,
            prefix=prefix,
            json=as_json,
            commands=commands or command_log is not None or bool(command_faults),
            command_log=command_log,
            command_faults=command_faults,
        )
        from ems_streams.settings import Settings

        run(options, Settings.load())


def run(options: Options, settings: "Settings") -> None:
    """Run a simulation and print its summary; raises `EmsError` when it could not be done in full."""
    import uvloop

    from ems_streams.dev.simulator import check_recording, parse_faults
    from ems_streams.ops.logs import configure_logging

    configure_logging(settings, "simulate")
    shares = parse_faults(options.faults)
    _check_commands(options)
    rows: int | None = None
    if options.csv is not None:
        recording = check_recording(options.csv, options.skip_bad_rows)
        rows = recording.rows
        for problem in recording.problems:
            typer.echo(f"skipped {problem}", err=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        summary, commands = loop.run(_simulate(options, settings, shares, rows))
    _report(options, summary, commands)


def _parse_start(text: str) -> int:
    from ems_streams.domain.timestamps import to_epoch_ms

    return to_epoch_ms(time_of("--start", text.strip()))


def _check_commands(options: Options) -> None:
    from ems_streams.dev.simulator import parse_command_faults

    parse_command_faults(options.command_faults)
    if options.commands and options.csv is not None:
        raise UsageError("--commands with --csv: a recording takes no commands; leave one of them out")


def _fleet_options(options: Options) -> "FleetOptions":
    from ems_streams.dev.simulator import FleetOptions
    from ems_streams.dev.simulator.fleet import DEFAULT_MODEL_START_S

    return FleetOptions(
        seed=options.seed,
        devices=options.devices,
        sites=options.sites,
        rate=options.rate,
        duration_s=options.duration_s,
        start_ms=_start_ms(options),
        model_start_s=DEFAULT_MODEL_START_S if options.start_ms is None else options.start_ms / 1000.0,
        speed=options.speed,
        prefix=options.prefix,
    )


def _start_ms(options: Options) -> int:
    return int(time.time() * 1000) if options.start_ms is None else options.start_ms


def _publications(
    options: Options, fleet_options: "FleetOptions", fleet: "list[tuple[Identity, DeviceModel]]", plan: "FaultPlan"
) -> "Iterator[Publication]":
    from ems_streams.dev.simulator import recorded_readings
    from ems_streams.dev.simulator.fleet import fleet_turns

    if options.csv is not None:
        return plan.publications(recorded_readings(options.csv, options.seed, options.speed, options.start_ms))
    return plan.publications(fleet_turns(fleet_options, fleet))


@dataclass(frozen=True, slots=True)
class _Broker:
    url: str
    username: str | None
    password: str | None
    tls: "TlsFiles"


async def _simulate(options: Options, settings: "Settings", shares: "FaultShares", rows: int | None) -> "tuple[Summary, dict[str, int]]":
    from ems_streams.dev.simulator import FaultPlan, LedgerWriter, Runner, World, build_fleet
    from ems_streams.mqtt.endpoint import TlsFiles

    password = settings.mqtt_password.get_secret_value() if settings.mqtt_password else None
    broker = _Broker(str(settings.mqtt_url), settings.mqtt_username, password, TlsFiles.of(settings))
    fleet_options = _fleet_options(options)
    fleet = build_fleet(fleet_options)
    plan = FaultPlan(options.seed, shares)
    with LedgerWriter(options.ledger, options.ledger_status) as ledger:
        async with contextlib.AsyncExitStack() as connections:
            publishers = await _publishers(connections, options, broker)
            runner = Runner(publishers, plan, ledger)
            _stop_on_signals(runner)
            world = World(fleet, plan, runner, publishers)
            commands = await connections.enter_async_context(_commands(options, fleet_options, world, broker)) if options.commands else None
            total = rows if rows is not None else round(options.rate * options.duration_s) or None
            display = _display(options, settings, runner, total)
            # Only now: to connect takes time, and that of the devices begins with the run.
            started = replace(fleet_options, start_ms=_start_ms(options))
            if commands is not None:
                commands.start_ms = started.start_ms
            try:
                summary = await runner.run(_publications(options, started, fleet, plan), options.goodbye)
            finally:
                await _end(display)
            if commands is not None and commands.error is not None:
                raise commands.error
            return summary, {} if commands is None else commands.totals()


async def _publishers(connections: contextlib.AsyncExitStack, options: Options, broker: _Broker) -> "list[MqttPublisher]":
    from ems_streams.mqtt.publisher import MqttPublisher

    # Two runs with one seed at the same time must not take each other's connections.
    run_id = f"{options.seed}-{secrets.token_hex(3)}"
    publishers = [
        await connections.enter_async_context(
            MqttPublisher(broker.url, f"ems-simulator-{run_id}-{number}", broker.username, broker.password, tls=broker.tls)
        )
        for number in range(options.client_count)
    ]
    await _all_connected(publishers)
    return publishers


def _commands(options: Options, fleet_options: "FleetOptions", world: "World", broker: _Broker) -> "Commands":
    from ems_streams.dev.simulator import CommandOptions, Commands, parse_command_faults
    from ems_streams.mqtt.receiver import MqttReceiver

    connect = partial(MqttReceiver, broker.url, username=broker.username, password=broker.password, tls=broker.tls)
    return Commands(CommandOptions(fleet_options, parse_command_faults(options.command_faults), options.command_log), world, connect)


def _display(options: Options, settings: "Settings", runner: "Runner", total: int | None) -> "asyncio.Task[None] | None":
    from rich.console import Console

    from ems_streams.dev.simulator.display import show

    if options.json:
        return None
    broker = f"{settings.mqtt_url.host}:{settings.mqtt_url.port}"
    typer.echo(f"seed {options.seed}, {options.client_count} connections to {broker}", err=True)
    return asyncio.create_task(show(runner.progress, total, Console(stderr=True)))


async def _end(display: "asyncio.Task[None] | None") -> None:
    if display is not None:
        display.cancel()
        await asyncio.gather(display, return_exceptions=True)


async def _all_connected(publishers: "list[MqttPublisher]") -> None:
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            for publisher in publishers:
                await publisher.wait_connected()
    except TimeoutError:
        why = next((f": {each.trouble}" for each in publishers if each.trouble), "")
        where = publishers[0].endpoint
        raise DependencyError(f"no MQTT broker answered at EMS_MQTT_URL={where} within {_CONNECT_TIMEOUT_S:g} s{why}") from None


def _stop_on_signals(runner: "Runner") -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, runner.stop)


def _report(options: Options, summary: "Summary", commands: dict[str, int]) -> None:
    planned_s = options.duration_s if options.csv is None and options.duration_s and options.speed else None
    shortfall = summary.shortfall(options.rate, planned_s) if options.speed and options.csv is None else None
    if options.json:
        target = {"targetRate": options.rate, "targetReached": shortfall is None} if options.csv is None and options.speed else {}
        told = {"commands": commands} if options.commands else {}
        typer.echo(json.dumps({"seed": options.seed, **summary.as_json(), **told, **target}))
    else:
        for name, value in (summary.as_json() | {f"commands {each}": count for each, count in commands.items()}).items():
            typer.echo(f"{name:>18}  {value}")
    if shortfall:
        typer.echo(shortfall, err=True)
    if not summary.complete:
        raise IncompleteError(f"{summary.unacknowledged} messages were not acknowledged by the broker, {summary.refused} refused")
