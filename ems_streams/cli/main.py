"""The command line: puts the command groups together and turns errors into one line and an exit code.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a dependency is unreachable, 130 interrupted. Modules of this package import
nothing heavy at their top, so that `--help` answers at once.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ems_streams import __version__
from ems_streams.cli import (
    acls,
    backfill,
    channels,
    command,
    config,
    db,
    dev,
    devices,
    dlt,
    doctor,
    explain,
    health,
    maintenance,
    processes,
    replay,
    rules,
    schema,
    simulate,
    tokens,
    topics,
)
from ems_streams.errors import EmsError, UsageError

app = typer.Typer(
    name="ems-streams",
    help="Event backbone of an energy management system: devices on MQTT, events on Kafka, live state per device.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ems-streams {__version__}")
        raise typer.Exit


def _use_env_file(path: Path | None) -> None:
    if path is None:
        return
    from dotenv import dotenv_values

    try:
        with path.open(encoding="utf-8") as file:
            found = dotenv_values(stream=file, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--env-file {str(path)!r}: must be a readable file ({error})") from None
    for name, value in found.items():
        if value is not None:
            os.environ.setdefault(name, value)


@app.callback()
def _main(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    _env_file: Annotated[
        Path | None,
        typer.Option(
            "--env-file",
            metavar="FILE",
            callback=_use_env_file,
            help="Settings as NAME=value lines; what the environment has already stays.",
        ),
    ] = None,
) -> None:
    pass


dev.register(app)
processes.register(app)
simulate.register(app)
backfill.register(app)
doctor.register(app)
explain.register(app)
health.register(app)
app.add_typer(topics.app, name="topics")
app.add_typer(acls.app, name="acls")
app.add_typer(devices.app, name="devices")
app.add_typer(db.app, name="db")
app.add_typer(replay.app, name="replay")
app.add_typer(dlt.app, name="dlt")
app.add_typer(maintenance.app, name="maintenance")
app.add_typer(rules.app, name="rules")
app.add_typer(channels.app, name="channels")
app.add_typer(command.app, name="command")
app.add_typer(tokens.app, name="tokens")
app.add_typer(schema.app, name="schema")
app.add_typer(config.app, name="config")


def run() -> None:
    """Entry point of `ems-streams`; always ends the process with an exit code, never with a traceback for an `EmsError`."""
    try:
        app()
    except EmsError as error:
        sys.stderr.write(f"ems-streams: {error}\n")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); nothing can be written any more, not even by the interpreter's exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
