"""`ems-streams maintenance`: times in which people are not told of devices that are worked on."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ems_streams.cli.output import JsonOption, console, print_json, print_table
from ems_streams.cli.user import user_name
from ems_streams.errors import UsageError

if TYPE_CHECKING:
    from ems_streams.domain.maintenance import MaintenanceWindow
    from ems_streams.settings import Settings

app = typer.Typer(
    help="Maintenance windows: people are not told of devices in one; what happens is recorded all the same.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@app.command(name="set")
def set_(
    devices: Annotated[list[str] | None, typer.Option("--device", metavar="SERIAL", help="A device; may be repeated.")] = None,
    sites: Annotated[list[int] | None, typer.Option("--site", metavar="ID", help="All devices of a site; may be repeated.")] = None,
    types: Annotated[list[str] | None, typer.Option("--type", metavar="TYPE", help="All devices of a type; may be repeated.")] = None,
    from_: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Begin; default now.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="End, not included.")] = None,
    for_: Annotated[str | None, typer.Option("--for", metavar="DURATION", help="Instead of --until: such as 90m, 2h or 1d.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, in words.")] = "maintenance",
    window_id: Annotated[str | None, typer.Option("--id", help="Replace the window of this id; default a new one.")] = None,
    by: Annotated[str | None, typer.Option("--by", help="Who sets it; default the user.")] = None,
    json: JsonOption = False,
) -> None:
    """Set a window for devices, sites or types; a device that any of them names is in it."""
    from ems_streams.domain.maintenance import window_of
    from ems_streams.errors import MalformedError
    from ems_streams.kafka.maintenance import set_window

    starts_at = datetime.now(UTC).replace(microsecond=0) if from_ is None else _time("--from", from_)
    if (until is None) == (for_ is None):
        raise UsageError("expected either --until or --for")
    ends_at = _time("--until", until) if until is not None else starts_at + _duration(for_ or "")
    fields = {
        "devices": devices or [], "sites": sites or [], "deviceTypes": types or [], "reason": reason, "createdBy": by or user_name(),
        "startsAt": starts_at.isoformat(), "endsAt": ends_at.isoformat(),
    }  # fmt: skip
    try:
        window = window_of(fields if window_id is None else {**fields, "windowId": window_id})
    except MalformedError as error:
        raise UsageError(error.detail) from None
    _run(lambda settings: set_window(settings, window))
    _show([window], json, single=True)


@app.command(name="list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    json: JsonOption = False,
) -> None:
    """List the windows that are, or will be."""
    from ems_streams.kafka.maintenance import maintenance_windows

    now = datetime.now(UTC)
    windows: list[MaintenanceWindow] = _run(maintenance_windows)
    _show([each for each in windows if every or each.ends_at > now], json)


@app.command()
def end(
    window_id: Annotated[str, typer.Argument(metavar="ID", help="Of the window.")],
    json: JsonOption = False,
) -> None:
    """End a window now; one that has not begun is removed. Exit 1 when there is none, or it is over."""
    from ems_streams.kafka.maintenance import end_window

    window = _run(lambda settings: end_window(settings, window_id, datetime.now(UTC).replace(microsecond=0)))
    if json:
        print_json({"windowId": window.window_id, "ended": True})
    else:
        console().print(f"maintenance window {window.window_id} ended", markup=False)


def _run(work: "Callable[[Settings], Awaitable[Any]]") -> Any:
    import uvloop

    from ems_streams.ops.logs import configure_logging
    from ems_streams.settings import Settings

    settings = Settings.load()
    configure_logging(settings, "maintenance")

    async def running() -> Any:
        return await work(settings)

    return uvloop.run(running())


def _show(windows: "list[MaintenanceWindow]", json: bool, *, single: bool = False) -> None:
    found = [each.model_dump(mode="json", by_alias=True) for each in windows]
    if json:
        print_json(found[0] if single else found)
        return
    rows = [
        (
            each["windowId"],
            each["startsAt"],
            each["endsAt"],
            " ".join([*each["devices"], *(f"site={site}" for site in each["sites"]), *(f"type={name}" for name in each["deviceTypes"])]),
            each["createdBy"],
            each["reason"],
        )
        for each in found
    ]
    print_table(("ID", "FROM", "UNTIL", "FOR", "BY", "REASON"), rows)


def _time(option: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r}: expected an ISO-8601 time such as 2026-01-05T00:00:00Z") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _duration(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS_S or not number.isdecimal() or not 0 < int(number) * _UNITS_S[unit] <= 3650 * 86_400:
        raise UsageError(f"--for {text!r}: expected a whole number of s, m, h or d, such as 90m")
    return timedelta(seconds=int(number) * _UNITS_S[unit])
