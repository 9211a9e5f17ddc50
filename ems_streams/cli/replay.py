"""`ems-streams replay`: a range of telemetry again into a shadow, compared with live, and made live when told to."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ems_streams.cli import replay_output as output
from ems_streams.cli.output import JsonOption, console, print_json
from ems_streams.cli.progress import progress_bar
from ems_streams.cli.running import run_with_settings
from ems_streams.cli.times import time_of
from ems_streams.errors import UsageError

if TYPE_CHECKING:
    from ems_streams.replay.diff import Diff
    from ems_streams.replay.promote import Promoted
    from ems_streams.replay.registry import Replay
    from ems_streams.settings import Settings

app = typer.Typer(
    help="Telemetry again, into shadow tables and topics; nothing reaches anybody outside.", no_args_is_help=True, rich_markup_mode=None
)

T = TypeVar("T")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the replay.")]


@app.command()
def start(
    into: Annotated[str, typer.Option("--into", metavar="NAME", help="Name of the replay: a-z, 0-9, - and _.")],
    from_: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Begin of the range of event time.")] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="End of the range, not included.")] = None,
    topic: Annotated[str, typer.Option("--topic", help="Topic of telemetry to read.")] = "device-telemetry",
    devices: Annotated[str | None, typer.Option("--devices", metavar="SERIAL,...", help="Only these devices.")] = None,
    sites: Annotated[str | None, typer.Option("--sites", metavar="ID,...", help="Only these sites.")] = None,
    lead_in_s: Annotated[float | None, typer.Option("--lead-in", min=0, help="Seconds of records before the range; default 3600.")] = None,
    lead_out_s: Annotated[
        float | None, typer.Option("--lead-out", min=0, help="Seconds of records behind it; default EMS_CORRECTION_HORIZON_S.")
    ] = None,
    process_count: Annotated[int, typer.Option("--processes", min=1, help="Processes that share the partitions.")] = 1,
    json: JsonOption = False,
) -> None:
    """Begin a replay, or go on with one that was interrupted (then NAME is enough). Ends when everything is read and closed."""
    from ems_streams.replay import start as starting
    from ems_streams.replay.processes import run
    from ems_streams.replay.registry import replay_of

    async def work(settings: "Settings") -> "Replay":
        if from_ is None and to is None:
            replay = await replay_of(settings, into)
        else:
            if from_ is None or to is None:
                raise UsageError("--from and --to belong together; without both, an interrupted replay goes on")
            replay = await starting.defined(
                settings,
                into,
                topic,
                time_of("--from", from_),
                time_of("--to", to),
                now=datetime.now(UTC),
                **({} if lead_in_s is None else {"lead_in_ms": round(lead_in_s * 1000)}),
                lead_out_ms=None if lead_out_s is None else round(lead_out_s * 1000),
                devices=_listed(devices),
                sites=[_number("--sites", each) for each in _listed(sites)],
            )
        with progress_bar(f"replay {into}", replay.definition.events_total, shown=not json) as on_progress:
            on_progress(replay.read)
            await run(settings, replay, process_count, on_progress)
        return await replay_of(settings, into)

    output.show([_run(work)], json, single=True)


@app.command(hidden=True)
def work(name: NameArgument, partitions: Annotated[str, typer.Option("--partitions", metavar="N,...")]) -> None:
    """Run some partitions for `start --processes`."""
    from ems_streams.replay.processes import work as work_on
    from ems_streams.replay.registry import replay_of

    async def part(settings: "Settings") -> None:
        await work_on(settings, await replay_of(settings, name), [_number("--partitions", each) for each in _listed(partitions)])

    _run(part)


@app.command()
def status(name: NameArgument, json: JsonOption = False) -> None:
    """Show what a replay is about, how far it is, and what it kept to itself."""
    from ems_streams.replay.registry import replay_of

    output.show([_run(lambda settings: replay_of(settings, name))], json, single=True)


@app.command(name="list")
def list_(json: JsonOption = False) -> None:
    """List the replays."""
    from ems_streams.replay.registry import replays

    output.show(list(_run(replays).values()), json)


@app.command()
def diff(
    name: NameArgument,
    windows: Annotated[
        str | None, typer.Option("--windows", metavar="KIND,...", help="Only these kinds: 1m, 15m, 1h, 1d, 1d-local.")
    ] = None,
    edges: Annotated[bool, typer.Option("--edges", help="Compare windows that are only partly in the range, too.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Most windows that are listed; --json lists all.")] = 20,
    json: JsonOption = False,
) -> None:
    """Compare the windows of a finished replay with those of live. Exit 0 when they say the same, 1 when not, or when there is nothing to compare."""
    from ems_streams.replay.diff import diff as compare
    from ems_streams.replay.registry import replay_of

    async def comparing(settings: "Settings") -> "tuple[Replay, Diff]":
        replay = await replay_of(settings, name)
        return replay, await compare(settings, replay, _kinds(windows), edges=edges)

    replay, found = _run(comparing)
    if json:
        print_json(output.diff_json(replay, found))
    else:
        output.print_diff(replay, found, limit)
    if not found.identical:
        raise typer.Exit(1)


@app.command()
def promote(
    name: NameArgument,
    windows: Annotated[
        str | None, typer.Option("--windows", metavar="KIND,...", help="Only these kinds: 1m, 15m, 1h, 1d, 1d-local.")
    ] = None,
    devices: Annotated[str | None, typer.Option("--devices", metavar="SERIAL,...", help="Only these devices.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be promoted.")] = False,
    accept_truncated: Annotated[
        bool, typer.Option("--accept-truncated", help="Also when the topic may have lost records of the range.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Make the windows of a finished replay live, as new revisions, all of a device at once; doing it again changes nothing."""
    from ems_streams.replay.promote import promote as hand_over
    from ems_streams.replay.registry import replay_of

    async def promoting(settings: "Settings") -> "Promoted":
        chosen = _listed(devices)
        return await hand_over(
            settings, await replay_of(settings, name), _kinds(windows), devices=chosen, dry_run=dry_run, accept_truncated=accept_truncated
        )

    done = _run(promoting)
    if json:
        print_json(
            {"name": name, "dryRun": dry_run, "devices": done.windows, "windows": sum(done.windows.values()), "missingInShadow": done.left}
        )
        return
    output.print_promoted(done, dry_run=dry_run)


@app.command()
def delete(name: NameArgument, json: JsonOption = False) -> None:
    """Remove a replay with its topics and its local state; live is not touched."""
    from ems_streams.replay.start import delete as remove

    topics = _run(lambda settings: remove(settings, name))
    if json:
        print_json({"name": name, "deletedTopics": topics})
    else:
        console().print(f"replay {name} deleted, with {len(topics)} topics", markup=False)


def _run(work: "Callable[[Settings], Awaitable[T]]") -> T:
    try:
        return run_with_settings("replay", work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _kinds(text: str | None) -> list[str]:
    from ems_streams.domain.windows import LABELS

    kinds = _listed(text) or list(LABELS)
    unknown = sorted(set(kinds) - set(LABELS))
    if unknown:
        raise UsageError(f"--windows {unknown[0]!r}: expected some of {', '.join(LABELS)}")
    return kinds


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _number(option: str, text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"{option} {text!r}: expected whole numbers separated by commas")
    return int(text)
