"""`ems-streams doctor`: what is wrong with a set-up, and what to do about it."""

import asyncio
import contextlib
import io
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ems_streams.cli.output import JsonOption, console, error_console, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from ems_streams.ops.doctor.checks import Result
    from ems_streams.ops.doctor.findings import Finding
    from ems_streams.processes.doctor.run import Diagnosis

_STYLES = {"CRITICAL": "bold red", "WARNING": "yellow", "INFO": "cyan"}
_OUTCOMES = {"well": ("well", "green"), "found": ("found", "yellow"), "skipped": ("skipped", "dim")}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="CHECK", help="Only this check and what it needs, such as topics; may be repeated."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check settings, servers, topics, groups, processes and this machine; say what is wrong and what to do. Changes nothing.

    Exit 0 when all is well, 1 when something is to be done, 3 when no server is reached.
    """
    from ems_streams.ops.logs import configure_logging
    from ems_streams.processes.doctor.run import diagnose, selected, wrong_settings
    from ems_streams.settings import Settings

    selected(only or ())
    problems = Settings.problems()
    if problems:
        diagnosis = wrong_settings(problems)
    else:
        # Whatever clients complain of comes back as a finding; in the log it would stand between the findings.
        settings = Settings.load()
        configure_logging(settings, "doctor", stream=io.StringIO())
        with _waiting():
            diagnosis = asyncio.run(diagnose(settings, only or ()))
    if json:
        print_json(diagnosis.view())
    else:
        _print(diagnosis)
    if diagnosis.exit_code:
        raise typer.Exit(diagnosis.exit_code)


@contextlib.contextmanager
def _waiting() -> Iterator[None]:
    said = error_console()
    if not said.is_terminal:
        yield
        return
    with said.status("checking"):
        yield


def _print(diagnosis: "Diagnosis") -> None:
    target = console()
    for each in diagnosis.findings:
        _print_finding(target, each)
    for result in diagnosis.results:
        _print_result(target, result)
    counts = diagnosis.view()["counts"]
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "all is well"
    error_console().print(f"doctor: {said}", markup=False)


def _print_finding(target: "Console", each: "Finding") -> None:
    from rich.text import Text

    style = _STYLES[each.severity]
    target.print(Text.assemble((f"{each.severity:<8}", style), " ", (each.code, "bold"), f": {each.what}"), soft_wrap=True)
    target.print(Text(f"  found:    {each.found}\n  expected: {each.expected}"), soft_wrap=True)
    command = f": {shlex.join(each.command)}" if each.command else ""
    target.print(Text.assemble("  do:       ", each.advice, (command, "bold")), soft_wrap=True)
    target.print()


def _print_result(target: "Console", result: "Result") -> None:
    from rich.text import Text

    word, style = _OUTCOMES[result.outcome]
    said = result.why_skipped or _facts(result.report.facts)
    target.print(Text.assemble((f"{word:<8}", style), f" {result.name:<13} {said}"), soft_wrap=True)


def _facts(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())
