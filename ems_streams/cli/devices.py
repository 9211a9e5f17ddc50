"""`ems-streams devices`: the registry of devices; import, list, show, export, remove."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ems_streams.cli.output import JsonOption, console, error_console, print_json, print_table
from ems_streams.cli.running import run_with_settings
from ems_streams.errors import EmsError, UsageError

if TYPE_CHECKING:
    from ems_streams.domain.registry import RegistryEntry

app = typer.Typer(
    help="The registry of devices: what is known of a serial number beyond what the device says of itself.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

SerialsArgument = Annotated[list[str], typer.Argument(metavar="SERIAL...", help="Serial numbers.")]
SiteOption = Annotated[int | None, typer.Option("--site", metavar="ID", min=0, help="Only devices of this site.")]
TypeOption = Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only devices of this type, such as BATTERY.")]
FormatOption = Annotated[str | None, typer.Option("--format", metavar="csv|json|jsonl", help="Default: by the name of the file.")]


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Devices, one a row; - for standard input.")],
    format_: FormatOption = None,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=FIELD", help="A column that is called otherwise than its field; may be repeated."),
    ] = None,
    rejected: Annotated[
        Path | None,
        typer.Option("--rejected", metavar="FILE", help="Write bad rows into this file, with the reason, to be mended and imported."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")] = False,
    delete_missing: Annotated[
        bool, typer.Option("--delete-missing", help="Remove every device that the file does not have; asks before, unless --yes.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: JsonOption = False,
) -> None:
    """Register the devices of a CSV or JSON file, and change those that are registered otherwise; what is the same is not written again.

    Columns are fields of the registry: serialNumber (always), siteId (for new devices), deviceType, deviceId, name, limits as JSON or limits.NAME, provisioned. What
    a row does not say stays as it is. Exit 1 when some rows are bad; the good ones are imported all the same.
    """
    from ems_streams.cli.device_import import ImportRequest, run_import

    run_import(
        ImportRequest(
            file=file, format=format_, renames=tuple(map_ or ()), rejected=rejected, dry_run=dry_run,
            delete_missing=delete_missing, confirmed=yes, json=json,
        )
    )  # fmt: skip


@app.command(name="list")
def list_(
    site: SiteOption = None,
    type_: TypeOption = None,
    search: Annotated[str | None, typer.Option("--search", metavar="TEXT", help="Only devices with this in serial number or name.")] = None,
    provisioned: Annotated[bool, typer.Option("--provisioned", help="Only devices that nobody has registered.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many.")] = None,
    json: JsonOption = False,
) -> None:
    """List the devices that are known, in the order of their serial numbers."""
    known = _registry()
    found = [each for each in _matching(known, site, type_, search) if each.provisioned or not provisioned]
    shown = found[:limit]
    if json:
        print_json([_view(each) for each in shown])
        return
    print_table(
        ("SERIAL", "SITE", "TYPE", "ID", "NAME", "LIMITS", "BY"),
        [
            (each.serial_number, each.site_id, each.device_type, each.device_id, each.name, _limits(each), _by(each.provisioned))
            for each in shown
        ],
        right=("SITE", "ID"),
    )
    more = f", {len(shown)} shown" if len(shown) < len(found) else ""
    error_console().print(f"{len(found)} of {len(known)} devices{more}", markup=False)


@app.command()
def show(serial: Annotated[str, typer.Argument(metavar="SERIAL", help="Serial number.")], json: JsonOption = False) -> None:
    """Show what is known of a device. Exit 1 when nothing is."""
    entry = _entry(_registry(), serial)
    if json:
        print_json(_view(entry))
        return
    for name, value in _view(entry).items():
        shown = _limits(entry) if name == "limits" else value
        console().print(f"{name}: {'-' if shown in (None, '') else shown}", markup=False)


@app.command()
def export(
    format_: Annotated[
        str | None, typer.Option("--format", metavar="csv|json|jsonl", help="Default: by the name of the file, or csv.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: standard output.")] = None,
    site: SiteOption = None,
    type_: TypeOption = None,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Write the registry as a file; importing it changes nothing."""
    from ems_streams.cli.device_files import export as write
    from ems_streams.cli.device_files import format_of

    if json and format_ not in {None, "json"}:
        raise UsageError(f"--format {format_!r}: --json is --format json; expected one of them")
    wanted = format_of(output or Path("-"), "json" if json else format_ or ("csv" if output is None else None))
    found = list(_matching(_registry(), site, type_, None))
    if output is None:
        write(found, wanted, sys.stdout)
        return
    try:
        with output.open("w", encoding="utf-8", newline="") as file:
            write(found, wanted, file)
    except OSError as error:
        raise UsageError(f"--output {output}: must be a file that can be written ({error.strerror})") from None
    error_console().print(f"{len(found)} devices in {output}", markup=False)


@app.command()
def remove(serials: SerialsArgument, json: JsonOption = False) -> None:
    """Forget devices, with their own limits; their history stays. Exit 1, and nothing is done, when one of them is not known.

    One that goes on sending comes back by itself, unless EMS_UNKNOWN_DEVICES=reject.
    """
    from ems_streams.kafka.device_registry import write_registry

    known = _registry()
    removed = [_entry(known, serial).serial_number for serial in dict.fromkeys(serials)]
    run_with_settings("devices", lambda settings: write_registry(settings, (), removed))
    if json:
        print_json({"removed": removed})
    else:
        console().print(f"removed {', '.join(removed)}", markup=False)


def _registry() -> "dict[str, RegistryEntry]":
    from ems_streams.cli.progress import progress_bar
    from ems_streams.kafka.device_registry import read_registry

    with progress_bar("reading the registry", None) as on_progress:
        return run_with_settings("devices", lambda settings: read_registry(settings, on_progress))


def _matching(known: "dict[str, RegistryEntry]", site: int | None, type_: str | None, search: str | None) -> "Iterable[RegistryEntry]":
    text = (search or "").casefold()
    for _, each in sorted(known.items()):
        if site not in {None, each.site_id} or type_ not in {None, each.device_type}:
            continue
        if text in each.serial_number.casefold() or text in (each.name or "").casefold():
            yield each


def _entry(known: "dict[str, RegistryEntry]", serial: str) -> "RegistryEntry":
    from difflib import get_close_matches

    if serial in known:
        return known[serial]
    near = get_close_matches(serial, list(known)[:20_000], n=3)
    hint = f"; there is {', '.join(near)}" if near else f"; {len(known)} devices are known, `ems-streams devices list` shows them"
    raise EmsError(f"device {serial!r} is not in the registry{hint}")


def _view(entry: "RegistryEntry") -> dict[str, Any]:
    return entry.model_dump(mode="json", by_alias=True)


def _limits(entry: "RegistryEntry") -> str:
    import orjson

    return " ".join(f"{name}={orjson.dumps(value).decode()}" for name, value in sorted(entry.limits.items()))


def _by(provisioned: bool) -> str:
    return "itself" if provisioned else "registered"
