"""`ems-streams channels`: where notifications are sent."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ems_streams.cli.output import JsonOption, console, print_json, print_table
from ems_streams.errors import DependencyError, EmsError, SettingError, UsageError

if TYPE_CHECKING:
    from ems_streams.domain.channel_config import ChannelsConfig
    from ems_streams.settings import Settings

app = typer.Typer(help="Channels: webhooks and e-mail that notifications go to.", no_args_is_help=True, rich_markup_mode=None)

FileOption = Annotated[Path | None, typer.Option("--file", metavar="FILE", help="Instead of that of EMS_CHANNELS_FILE.")]


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File of channels.")],
    secrets: Annotated[bool, typer.Option("--secrets/--no-secrets", help="Whether variables with secrets must be there as well.")] = True,
    json: JsonOption = False,
) -> None:
    """Say what is wrong with a file of channels, all of it, with line, place, value and what is expected. Exit 1 when anything is."""
    from ems_streams.channels.config_file import ChannelsFileError, load_channels
    from ems_streams.channels.secrets import environment

    try:
        config = load_channels(file, environment() if secrets else None)
    except ChannelsFileError as error:
        if json:
            found = [{"line": each.line, "place": each.place, "problem": each.said} for each in error.problems]
            print_json({"file": str(file), "problems": found})
        else:
            console().print(str(error), markup=False)
        raise typer.Exit(1) from None
    if json:
        print_json({"file": str(file), "problems": [], "channels": list(config.channels), "routes": len(config.routes)})
    else:
        console().print(f"{file}: {len(config.channels)} channels, {len(config.routes)} routes, nothing wrong", markup=False)


@app.command(name="test")
def try_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the channel.")],
    file: FileOption = None,
    json: JsonOption = False,
) -> None:
    """Send one test message by a channel, at once and once. Exit 1 when it is refused, 3 when nobody answers."""
    from ems_streams.channels.secrets import environment
    from ems_streams.channels.trial import send_test

    config = _config(file)
    if name not in config.channels:
        raise UsageError(f"channel {name!r}: expected one of {', '.join(config.channels)}")
    message_id, outcome, took_s = _run(lambda: send_test(name, config, environment(), time.time()))
    if json:
        print_json(
            {"channel": name, "messageId": message_id, "delivered": outcome.delivered, "error": outcome.error, "seconds": round(took_s, 3)}
        )
    elif outcome.delivered:
        console().print(f"{name}: delivered {message_id} in {took_s:.2f} s", markup=False)
    if outcome.delivered:
        return
    answered = outcome.error_class.startswith(("http_", "smtp_", "recipients_", "SMTPAuthentication"))
    kind = EmsError if answered else DependencyError
    raise kind(f"{name}: not delivered: {outcome.error}")


@app.command()
def status(file: FileOption = None, json: JsonOption = False) -> None:
    """Show of each channel how far it is, what it still has to deliver, and whether its receiver takes messages, as of its last commit."""
    from ems_streams.channels.status import channels_status
    from ems_streams.ops.logs import configure_logging
    from ems_streams.settings import Settings

    settings = Settings.load()
    configure_logging(settings, "channels")
    config = _config(file, settings)
    found = _run(lambda: channels_status(settings, config))
    if json:
        print_json({"notifiers": found.notifiers, "channels": found.channels})
        return
    console().print(f"{found.notifiers} notifiers run")
    columns = ("CHANNEL", "TYPE", "LAG", "OPEN", "RETRYING", "OLDEST S", "DELIVERED", "DEAD", "BREAKER", "SINCE", "LAST ERROR")
    fields = (
        "channel", "type", "lag", "open", "retrying", "oldestOpenS", "deliveredLately", "deadLetteredLately", "breaker", "breakerSince", "lastError",
    )  # fmt: skip
    print_table(columns, [[each[name] for name in fields] for each in found.channels], right=columns[2:8])


def _config(file: Path | None, settings: "Settings | None" = None) -> "ChannelsConfig":
    from ems_streams.channels.config_file import load_channels
    from ems_streams.channels.secrets import environment
    from ems_streams.settings import Settings

    path = file or (settings or Settings.load()).channels_file
    if path is None:
        raise SettingError("EMS_CHANNELS_FILE", "", "is not set; must be a file of channels, or be given as --file")
    return load_channels(path, environment() if settings is None else None)


def _run(work: Callable[[], Awaitable[Any]]) -> Any:
    import asyncio

    async def running() -> Any:
        return await work()

    return asyncio.run(running())
