"""`ems-streams backfill`: telemetry of a file, onto `device-telemetry` or into a replay."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ems_streams.cli.output import JsonOption, error_console, print_json, print_table
from ems_streams.cli.progress import progress_bar
from ems_streams.errors import UsageError

if TYPE_CHECKING:
    from ems_streams.replay.backfill import Backfill

_SHOWN_MAX = 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(backfill)


def backfill(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rows of telemetry.", exists=True, dir_okay=False, readable=True)],
    format_: Annotated[str | None, typer.Option("--format", metavar="csv|jsonl", help="Default: by the name of the file.")] = None,
    into: Annotated[str | None, typer.Option("--into", metavar="NAME", help="For this replay alone, before it is started.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the rows, send nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Send the rows of a file as telemetry, each once. Exit 1 when some rows are bad; the good ones are sent all the same."""
    import uvloop

    from ems_streams.ops.logs import configure_logging
    from ems_streams.replay.backfill import backfill as fill
    from ems_streams.settings import Settings

    settings = Settings.load()
    configure_logging(settings, "backfill")
    file_format = format_ or file.suffix.removeprefix(".")
    if file_format not in {"csv", "jsonl"}:
        raise UsageError(f"--format {file_format!r}: expected csv or jsonl")
    with progress_bar(file.name, 0, shown=not json) as on_progress:
        found = uvloop.run(fill(settings, file, file_format, into=into, dry_run=dry_run, on_progress=on_progress))
    if json:
        print_json(_as_json(file, found, dry_run=dry_run))
    else:
        _print(found, dry_run=dry_run)
    if found.bad:
        raise typer.Exit(1)


def _print(found: "Backfill", *, dry_run: bool) -> None:
    if found.bad:
        print_table(("LINE", "REASON"), [(row.line, row.reason) for row in found.bad[:_SHOWN_MAX]], right=("LINE",))
    said = error_console()
    if len(found.bad) > _SHOWN_MAX:
        said.print(f"... and {len(found.bad) - _SHOWN_MAX} more; --json shows them", markup=False)
    done = "nothing sent" if dry_run else f"{found.sent} sent to {found.topic}, {found.good - found.sent} had been sent before"
    said.print(f"{found.good} good rows of {len(found.devices)} devices, {len(found.bad)} bad; {done}", markup=False)


def _as_json(file: Path, found: "Backfill", *, dry_run: bool) -> dict[str, Any]:
    return {
        "file": str(file),
        "topic": found.topic,
        "dryRun": dry_run,
        "good": found.good,
        "sent": found.sent,
        "devices": len(found.devices),
        "bad": [{"line": row.line, "reason": row.reason} for row in found.bad],
    }
