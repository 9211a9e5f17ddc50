"""`ems-streams command`: have a device do something, and see what becomes of it."""

import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from ems_streams.cli.output import JsonOption, console, error_console, print_json, print_table
from ems_streams.cli.user import user_name
from ems_streams.errors import EmsError, UsageError

if TYPE_CHECKING:
    from ems_streams.cli.gateway_client import GatewayClient

app = typer.Typer(help="Commands to devices: sent at most once, and followed to their end.", no_args_is_help=True, rich_markup_mode=None)

LOOK_EVERY_S = 0.1
WAIT_LONGER_S = 30.0
"""Beyond the time in which a result is due: that there is none is known only when heartbeats have said so."""

GatewayOption = Annotated[
    str | None,
    typer.Option("--gateway", metavar="URL", help="Default that of EMS_GATEWAY_URL, or of EMS_GATEWAY_HOST and EMS_GATEWAY_PORT."),
]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Of the command, as `send` and `list` show it.")]
ByOption = Annotated[str | None, typer.Option("--by", help="Who asks; default the user.")]
View = dict[str, Any]


@app.command()
def send(
    serial: Annotated[str, typer.Argument(metavar="SERIAL", help="Serial number of the device.")],
    command: Annotated[str, typer.Argument(metavar="COMMAND", help="Such as SET_POWER_LIMIT; see `command catalogue`.")],
    params: Annotated[list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="A parameter; may be repeated.")] = None,
    expires_in: Annotated[
        float | None, typer.Option("--expires-in", metavar="SECONDS", help="Not to be begun with after this; default 300.")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", help="Idempotency key: the same one twice is one command.")] = None,
    by: ByOption = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show each step until the end; exit 1 unless the command is COMPLETED.")] = False,
    gateway: GatewayOption = None,
    json: JsonOption = False,
) -> None:
    """Send a command to a device. Exit 2 when it is not in the catalogue or beyond a limit; nothing is sent then."""
    body: View = {"command": command, "parameters": _parameters(params or []), "requestedBy": by or user_name()}
    if expires_in is not None:
        body["expiresInS"] = expires_in
    headers = None if key is None else {"Idempotency-Key": key}

    async def sending(client: "GatewayClient") -> View:
        view: View = await client.ask("POST", f"/api/v1/devices/{quote(serial, safe='')}/commands", body, headers)
        return await _follow(client, view, _print_step if not json else _ignore) if wait else view

    view = _ask(gateway, sending)
    if json:
        print_json(view)
    elif not wait:
        console().print(f"{view['commandId']} {view['status']}", markup=False)
    if wait and view["status"] != "COMPLETED":
        raise typer.Exit(1)


@app.command()
def show(command_id: IdArgument, gateway: GatewayOption = None, json: JsonOption = False) -> None:
    """Show a command with all its steps. Exit 1 when there is none."""
    view = _ask(gateway, lambda client: client.ask("GET", _path(command_id)))
    if json:
        print_json(view)
        return
    target = console()
    for name in (
        "commandId",
        "status",
        "command",
        "parameters",
        "executed",
        "late",
        "requestedBy",
        "requestedFrom",
        "requestedAt",
        "expiresAt",
    ):
        target.print(f"{name:14} {_shown(view[name])}", markup=False)
    print_table(("TIME", "STATUS", "DETAIL"), [(each["timestamp"], each["status"], each["detail"]) for each in view["steps"]])


@app.command(name="list")
def list_(
    serial: Annotated[str, typer.Argument(metavar="SERIAL", help="Serial number of the device.")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 20,
    gateway: GatewayOption = None,
    json: JsonOption = False,
) -> None:
    """List the commands of a device, the newest first."""
    found = _ask(gateway, lambda client: client.ask("GET", f"/api/v1/devices/{quote(serial, safe='')}/commands?limit={limit}"))
    if json:
        print_json(found)
        return
    rows = [
        (each["commandId"], each["requestedAt"], each["status"], each["command"], _shown(each["parameters"]), each["requestedBy"])
        for each in found["commands"]
    ]
    print_table(("ID", "REQUESTED", "STATUS", "COMMAND", "PARAMETERS", "BY"), rows)


@app.command()
def cancel(command_id: IdArgument, by: ByOption = None, gateway: GatewayOption = None, json: JsonOption = False) -> None:
    """Cancel a command that is not sent yet. Exit 1 when it is: MQTT takes nothing back."""
    view = _ask(gateway, lambda client: client.ask("POST", f"{_path(command_id)}/cancel", {"requestedBy": by or user_name()}))
    if json:
        print_json(view)
    else:
        console().print(f"{view['commandId']} {view['status']}", markup=False)


@app.command()
def catalogue(
    device_type: Annotated[str | None, typer.Argument(metavar="TYPE", help="Of device; default all.")] = None,
    json: JsonOption = False,
) -> None:
    """Show which commands each type of device takes."""
    from ems_streams.domain.command_catalogue import CATALOGUE, catalogue_view

    if device_type is not None and device_type not in CATALOGUE:
        raise UsageError(f"type {device_type!r}: expected one of {', '.join(CATALOGUE)}")
    found = catalogue_view(device_type)
    if json:
        print_json({"deviceTypes": found})
        return
    rows = [
        (name, each["command"], " ".join(_parameter(parameter) for parameter in each["parameters"]), each["purpose"])
        for name, commands in found.items()
        for each in commands
    ]
    print_table(("TYPE", "COMMAND", "PARAMETERS", "PURPOSE"), rows)


def _ask(gateway: str | None, work: "Callable[[GatewayClient], Awaitable[Any]]") -> Any:
    import uvloop

    from ems_streams.cli.gateway_client import GatewayClient
    from ems_streams.settings import Settings

    if gateway is not None and not gateway.startswith(("http://", "https://")):
        raise UsageError(f"--gateway {gateway!r}: expected an address such as http://127.0.0.1:8080")
    settings = Settings.load()

    async def asking() -> Any:
        async with GatewayClient.of(settings, gateway) as client:
            return await work(client)

    return uvloop.run(asking())


async def _follow(client: "GatewayClient", view: View, tell: Callable[[View, View], None]) -> View:
    """Look until the command is over; tells each step once. A gateway that is away for a while is waited for.

    Raises `EmsError` when there is no end long after one was due, as while no ingress hears the device.
    """
    import asyncio

    told, due_s = 0, 0.0
    while True:
        for step in view["steps"]:
            if step["sequence"] > told:
                told, due_s = step["sequence"], time.monotonic() + _seconds_left(view) + WAIT_LONGER_S
                tell(view, step)
        if view["final"]:
            return view
        if time.monotonic() > due_s:
            raise EmsError(f"{view['commandId']} is {view['status']} and has no end yet; `ems-streams command show` tells when it has")
        await asyncio.sleep(LOOK_EVERY_S)
        # Also one that the workers do not know of yet.
        with contextlib.suppress(EmsError):
            view = await client.ask("GET", _path(view["commandId"]))


def _seconds_left(view: View) -> float:
    from datetime import UTC, datetime

    from ems_streams.domain.command_catalogue import commands_of

    left_s = max(0.0, (datetime.fromisoformat(view["expiresAt"]) - datetime.now(UTC)).total_seconds())
    kind = commands_of(view["deviceType"]).get(view["command"])
    # Who has accepted has its time from then on.
    return max(left_s, kind.completes_within_s) if kind is not None and view["status"] == "ACCEPTED" else left_s


def _ignore(_: View, __: View) -> None:
    """Nothing is said of single steps."""


def _print_step(view: View, step: View) -> None:
    from datetime import datetime

    passed_s = (datetime.fromisoformat(step["timestamp"]) - datetime.fromisoformat(view["requestedAt"])).total_seconds()
    if step["sequence"] == 1:
        error_console().print(f"command {view['commandId']}", markup=False)
    colour = {"COMPLETED": "green", "ACCEPTED": "cyan", "REJECTED": "red", "FAILED": "red", "EXPIRED": "yellow"}.get(step["status"])
    line = f"{step['timestamp']:24} {passed_s:+8.3f} s  {step['status']:10} {step['detail'] or ''}".rstrip()
    console().print(line, style=colour, markup=False)


def _parameters(given: list[str]) -> dict[str, float | str]:
    parameters: dict[str, float | str] = {}
    for each in given:
        name, separator, text = each.partition("=")
        if not separator or not name:
            raise UsageError(f"--param {each!r}: expected NAME=VALUE, such as powerLimitKw=50")
        if name in parameters:
            raise UsageError(f"--param {name}: given twice")
        try:
            parameters[name] = float(text)
        except ValueError:
            parameters[name] = text
    return parameters


def _path(command_id: str) -> str:
    return f"/api/v1/commands/{quote(command_id, safe='~')}"


def _parameter(view: View) -> str:
    kind = "|".join(view["allowed"]) if view["type"] == "choice" else f"{view['minimum']:g}..{view['maximum']:g} {view['unit']}"
    return f"{view['name']}={kind}" if view["required"] else f"[{view['name']}={kind}]"


def _shown(value: Any) -> str:
    return (
        " ".join(f"{name}={each:g}" if isinstance(each, float) else f"{name}={each}" for name, each in value.items())
        if isinstance(value, dict)
        else str(value)
    )
