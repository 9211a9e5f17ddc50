"""What `ems-streams devices import` does, step by step, and what it says."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import typer

from ems_streams.cli.device_files import STDIN, DeviceFile, format_of
from ems_streams.cli.output import error_console, print_json, print_table
from ems_streams.cli.progress import progress_bar
from ems_streams.cli.running import run_with_settings
from ems_streams.domain.device_rows import FIELDS, LIMIT_PREFIX, devices_of, field_of
from ems_streams.domain.registry_import import RegistryImport, compare
from ems_streams.errors import UsageError
from ems_streams.kafka.device_registry import read_registry, write_registry

SHOWN_MAX = 20
_PROGRESS_EVERY = 1000

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """The options of the command."""

    file: Path
    format: str | None = None
    renames: tuple[str, ...] = ()
    rejected: Path | None = None
    dry_run: bool = False
    delete_missing: bool = False
    confirmed: bool = False
    json: bool = False


def run_import(request: ImportRequest) -> None:
    """Do it; ends with exit code 1 when rows are bad, and raises `UsageError` and `DependencyError` before anything is written."""
    file = DeviceFile(request.file, format_of(request.file, request.format), _renamed(request.renames))
    _check_files(request)
    with progress_bar("reading the registry", None, shown=not request.json) as on_progress:
        known = run_with_settings("devices", lambda settings: read_registry(settings, on_progress))
    with progress_bar(f"checking {request.file.name}", None, shown=not request.json) as on_progress:
        rows = _told(file.rows(), on_progress)
        found = compare(devices_of(rows, known.get, file.renamed, texts=file.format == "csv"), known)
    if request.rejected is not None:
        file.write_rejected(request.rejected, found.bad)
    removed = _to_be_removed(request, found, len(known))
    if not request.dry_run:
        with progress_bar("writing", None, shown=not request.json) as on_progress:
            run_with_settings("devices", lambda settings: write_registry(settings, found.written, removed, on_progress))
    if request.json:
        print_json(_as_json(request, file, found, removed))
    else:
        _print(request, file, found, removed)
    if found.bad:
        raise typer.Exit(1)


def _renamed(renames: Iterable[str]) -> dict[str, str]:
    renamed: dict[str, str] = {}
    for text in renames:
        column, _, name = (part.strip() for part in text.rpartition("="))
        if not column or field_of(name, {}) is None:
            raise UsageError(f"--map {text!r}: expected COLUMN=FIELD, with a field of {', '.join(FIELDS)}, {LIMIT_PREFIX}NAME")
        if column in renamed:
            raise UsageError(f"--map {text!r}: expected each column once")
        renamed[column] = name
    return renamed


def _check_files(request: ImportRequest) -> None:
    if request.file != STDIN and not request.file.is_file():
        raise UsageError(f"{request.file}: expected a file of devices; there is none")
    if request.rejected is not None and request.rejected.resolve() == request.file.resolve():
        raise UsageError(f"--rejected {request.rejected}: expected another file than the one that is imported")


def _told(rows: Iterable[T], on_progress: Any) -> Iterator[T]:
    for number, row in enumerate(rows, 1):
        if number % _PROGRESS_EVERY == 0:
            on_progress(number)
        yield row


def _to_be_removed(request: ImportRequest, found: RegistryImport, known: int) -> list[str]:
    """Serial numbers that go, after whoever runs the command has said so; raises `UsageError` when nobody has."""
    if not request.delete_missing or not found.missing:
        return []
    if found.bad:
        error_console().print(
            "nothing is removed: as long as rows are bad, nobody can tell which devices the file does not have", markup=False
        )
        return []
    if not found.good:
        raise UsageError(f"--delete-missing: {request.file} has no device, and all {known} would be removed; expected a file with devices")
    serials = [each.serial_number for each in found.missing]
    if not (request.confirmed or request.dry_run):
        _confirm(serials, known)
    return serials


def _confirm(serials: list[str], known: int) -> None:
    some = ", ".join(serials[:5]) + (", ..." if len(serials) > 5 else "")
    if not sys.stdin.isatty():
        raise UsageError(
            f"--delete-missing would remove {len(serials)} of {known} devices ({some}); expected --yes where nobody can be asked"
        )
    typer.echo(f"{len(serials)} of {known} devices are not in the file and are removed: {some}", err=True)
    said = typer.prompt("Type the number of devices to remove", err=True, default="", show_default=False)
    if said.strip() != str(len(serials)):
        raise UsageError(f"--delete-missing: {said!r} is not {len(serials)}; nothing was written")


def _print(request: ImportRequest, file: DeviceFile, found: RegistryImport, removed: list[str]) -> None:
    said = error_console()
    if request.dry_run:
        _print_some(("SERIAL", "CHANGES"), _changes(found, removed))
    problems = [(bad.row.line, each.field, each.value, each.expected) for bad in found.bad for each in bad.problems]
    _print_some(("LINE", "FIELD", "VALUE", "EXPECTED"), problems)
    if file.ignored:
        said.print(f"columns that are no fields, not looked at: {', '.join(file.ignored)} (--map COLUMN=FIELD)", markup=False)
    would = "would be " if request.dry_run else ""
    gone = f", {len(removed)} {would}removed" if request.delete_missing else ""
    kept = f"; bad rows are in {request.rejected}" if request.rejected is not None and found.bad else ""
    said.print(
        f"{found.good} good rows: {len(found.new)} {would}new, {len(found.changed)} {would}changed, {found.unchanged} as they are{gone}; "
        f"{len(found.bad)} bad{kept}",
        markup=False,
    )


def _changes(found: RegistryImport, removed: list[str]) -> list[tuple[str, str]]:
    told = [(each.serial_number, f"new: site {each.site_id}, {each.device_type}, id {each.device_id}") for each in found.new]
    for change in found.changed:
        differences = ", ".join(f"{name} {before!r} -> {after!r}" for name, (before, after) in change.differences.items())
        told.append((change.after.serial_number, differences))
    return told + [(serial, "removed") for serial in removed]


def _print_some(columns: tuple[str, ...], rows: list[Any]) -> None:
    if rows:
        print_table(columns, rows[:SHOWN_MAX], right=("LINE",))
    if len(rows) > SHOWN_MAX:
        error_console().print(f"... and {len(rows) - SHOWN_MAX} more; --json shows them", markup=False)


def _as_json(request: ImportRequest, file: DeviceFile, found: RegistryImport, removed: list[str]) -> Mapping[str, Any]:
    return {
        "file": str(request.file),
        "dryRun": request.dry_run,
        "good": found.good,
        "new": [each.serial_number for each in found.new],
        "changed": [{"serialNumber": each.after.serial_number, "changes": _differences(each.differences)} for each in found.changed],
        "unchanged": found.unchanged,
        "removed": removed,
        "bad": [
            {
                "line": bad.row.line,
                "problems": [{"field": each.field, "value": each.value, "expected": each.expected} for each in bad.problems],
            }
            for bad in found.bad
        ],
        "ignoredColumns": file.ignored,
        "rejected": None if request.rejected is None else str(request.rejected),
    }


def _differences(differences: Mapping[str, tuple[Any, Any]]) -> dict[str, dict[str, Any]]:
    return {name: {"before": before, "after": after} for name, (before, after) in differences.items()}
