"""`ems-streams dlt`: dead letters, grouped, looked at, sent back and deleted."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ems_streams.cli import dlt_output as output
from ems_streams.cli import dlt_redrive as redriving
from ems_streams.cli.output import JsonOption, error_console, print_json
from ems_streams.cli.progress import progress_bar
from ems_streams.cli.running import run_with_settings
from ems_streams.cli.times import time_of
from ems_streams.errors import EmsError, UsageError

if TYPE_CHECKING:
    from ems_streams.domain.letter_filter import LetterFilter
    from ems_streams.settings import Settings

app = typer.Typer(
    help="Dead letters: records that could not be processed, with their own bytes and the reason.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

TopicArgument = Annotated[str, typer.Argument(metavar="TOPIC", help="Topic of dead letters, such as device-telemetry-dlt.")]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="FIELD=VALUE,...",
        help="Only letters with these: error-class, stage, serial, origin, channel, message (a part of it), replays; may be repeated.",
    ),
]
SinceOption = Annotated[str | None, typer.Option("--since", metavar="TIME", help="Put aside at this time or later.")]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Put aside before this time.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Set a field of the JSON, such as telemetryData.powerKw=45.2.")
]
EditOption = Annotated[
    Path | None, typer.Option("--edit", metavar="FILE", help="Send the bytes of this file instead; - is stdin. For one --id.")
]
MqttTopicOption = Annotated[
    str | None, typer.Option("--mqtt-topic", metavar="TOPIC", help="Another MQTT topic, for what came over MQTT. For one --id.")
]


@app.command(name="list")
def list_(
    topic: Annotated[str | None, typer.Argument(metavar="[TOPIC]", help="Only this topic; without it all of them.")] = None,
    group_by: Annotated[
        str | None, typer.Option("--group-by", metavar="FIELD,...", help="Count letters by error-class, stage, device or origin.")
    ] = None,
    where: WhereOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    every: Annotated[bool, typer.Option("--all", help="Also letters that were redriven or are in the quarantine.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="Most letters, or groups, that are listed.")] = 50,
    json: JsonOption = False,
) -> None:
    """List dead letters, the newest first; or how many there are of which kind, since when and until when."""
    from ems_streams.dead_letters.listing import group_topics, list_letters

    chosen = _filter(where, since, until)
    grouping = _grouping(group_by)
    if topic is not None and grouping is None:
        found = run_with_settings("dlt", lambda settings: list_letters(settings, topic, chosen, limit, only_open=not every))
        print_json({"topic": topic, "letters": found}) if json else output.print_letters(found)
        return
    by = grouping or ("error-class", "stage")

    async def counting(settings: "Settings") -> list[dict[str, Any]]:
        with progress_bar("letters", 0, shown=not json) as on_progress:
            return await group_topics(settings, topic, by, chosen, limit, only_open=not every, on_progress=on_progress)

    groups = run_with_settings("dlt", counting)
    print_json({"groupBy": by, "groups": groups}) if json else output.print_groups(groups, by)


@app.command()
def show(
    topic: Annotated[str, typer.Argument(metavar="ID|TOPIC", help="topic/partition/offset, or the topic.")],
    partition: Annotated[int | None, typer.Argument(metavar="PARTITION", help="With a topic.")] = None,
    offset: Annotated[int | None, typer.Argument(metavar="OFFSET", help="With a topic.")] = None,
    json: JsonOption = False,
) -> None:
    """Show a letter: its bytes as text and in hex, its headers, why it is there, and what a redrive would do with it."""
    from ems_streams.dead_letters.listing import show_letter
    from ems_streams.domain.letter import LetterId

    if (partition is None) != (offset is None):
        raise UsageError("expected topic/partition/offset, or TOPIC PARTITION OFFSET")
    letter_id = LetterId.parse(topic if partition is None else f"{topic}/{partition}/{offset}")
    found = run_with_settings("dlt", lambda settings: show_letter(settings, letter_id))
    print_json(found) if json else output.print_letter(found)


@app.command()
def redrive(
    topic: Annotated[str | None, typer.Argument(metavar="[TOPIC]", help="Topic of dead letters; with --id or --resume not needed.")] = None,
    where: WhereOption = None,
    ids: Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="Only this letter; may be repeated.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    sets: SetOption = None,
    unsets: Annotated[list[str] | None, typer.Option("--unset", metavar="PATH", help="Take a field out of the JSON.")] = None,
    edit: EditOption = None,
    editor: Annotated[bool, typer.Option("--editor", help="Change the value in $VISUAL or $EDITOR. For one --id.")] = False,
    key: Annotated[str | None, typer.Option("--key", metavar="TEXT", help="Another key. For one --id.")] = None,
    mqtt_topic: MqttTopicOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would become of each letter; write nothing.")] = False,
    rate: Annotated[str | None, typer.Option("--rate", metavar="N[/s]", help="At most so many letters a second.")] = None,
    max_replays: Annotated[
        int | None,
        typer.Option("--max-replays", min=1, max=1000, show_default="3", help="Letters that were redriven so often go to the quarantine."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also letters that were redriven before.")] = False,
    resume: Annotated[str | None, typer.Option("--resume", metavar="ID", help="Go on with a redrive that was interrupted.")] = None,
    json: JsonOption = False,
) -> None:
    """Send letters back to where they came from, each once. Exit 1 when any of them is refused."""
    if resume is not None:
        others = (topic, ids, where, sets, unsets, edit, editor, key, mqtt_topic, dry_run, since, until, again, rate, max_replays)
        if any(others):
            raise UsageError("--resume goes on with what was asked for then: expected nothing else with it")
        redriving.resume(resume, json=json)
        return
    topic, letter_ids = redriving.chosen_ids(topic, ids)
    whole_value = edit is not None or editor or key is not None or mqtt_topic is not None
    if whole_value and (letter_ids is None or len(letter_ids) != 1):
        raise UsageError("--edit, --editor, --key and --mqtt-topic: expected exactly one --id with them")
    asked = redriving.Asked(
        topic,
        letter_ids,
        _filter(where, since, until),
        redriving.edit_of(sets, unsets, key, mqtt_topic),
        file=edit,
        editor=editor,
        max_replays=max_replays,
        rate_per_s=None if rate is None else redriving.rate_of(rate),
        again=again,
    )
    if dry_run:
        redriving.dry_run(asked, json=json)
    else:
        redriving.redrive(asked, json=json)


@app.command()
def status(
    redrive_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Of a redrive; without it all are listed.")] = None,
    json: JsonOption = False,
) -> None:
    """Show redrives, and how far each is; those of the last 91 days are known."""
    from ems_streams.dead_letters.state import read_state
    from ems_streams.dead_letters.views import redrive_view

    state = run_with_settings("dlt", read_state)
    if redrive_id is not None:
        found = redrive_view(state.redrive(redrive_id))
        print_json(found) if json else output.print_redrives([found])
        return
    every = [redrive_view(each) for each in state.redrives.values()]
    print_json({"redrives": every}) if json else output.print_redrives(every)


@app.command()
def purge(
    topic: TopicArgument,
    before: Annotated[str, typer.Option("--before", metavar="OFFSET|TIME", help="Delete what lies before; not this one itself.")],
    partition: Annotated[int | None, typer.Option("--partition", min=0, help="Only this partition; needed with an offset.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted; delete nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Delete the oldest letters of a topic for good, open ones too. Says what it deletes, and asks first."""
    from ems_streams.dead_letters.purge import plan_purge
    from ems_streams.dead_letters.purge import purge as delete

    offset = int(before) if before.isdecimal() else None
    before_ms = None if offset is not None else output.epoch_ms(time_of("--before", before, "an offset or "))
    planned = run_with_settings(
        "dlt", lambda settings: plan_purge(settings, topic, before_ms=before_ms, before_offset=offset, partition=partition)
    )
    wanted = bool(planned.ranges) and not dry_run
    if not json:
        output.print_purge(planned)
    if wanted and not yes:
        if json or not error_console().is_terminal:
            raise UsageError("nothing is deleted without a confirmation: expected --yes where nobody can be asked")
        wanted = typer.confirm(f"Delete {planned.letters} letters of {topic} for good?", err=True)
        if not wanted:
            raise EmsError("nothing was deleted")
    if wanted:
        run_with_settings("dlt", lambda settings: delete(settings, planned))
    if json:
        print_json(output.purge_json(planned, deleted=wanted))
    elif wanted:
        error_console().print(f"{planned.letters} letters of {topic} deleted", markup=False)


def _filter(where: list[str] | None, since: str | None, until: str | None) -> "LetterFilter":
    from ems_streams.domain.letter_filter import LetterFilter, parse_where

    since_ms, until_ms = (
        None if text is None else output.epoch_ms(time_of(name, text)) for name, text in (("--since", since), ("--until", until))
    )
    return LetterFilter(where=parse_where(where or []), since_ms=since_ms, until_ms=until_ms)


def _grouping(text: str | None) -> tuple[str, ...] | None:
    from ems_streams.domain.letter_filter import GROUPINGS

    if text is None:
        return None
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    wrong = [name for name in names if name not in GROUPINGS]
    if wrong or not names:
        raise UsageError(f"--group-by {text!r}: expected some of {', '.join(GROUPINGS)}")
    return tuple(dict.fromkeys(names))
