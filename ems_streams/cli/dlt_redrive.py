"""What `ems-streams dlt redrive` does with what it was asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ems_streams.cli import dlt_output as output
from ems_streams.cli.output import error_console, print_json
from ems_streams.cli.progress import progress_bar
from ems_streams.cli.running import run_with_settings
from ems_streams.errors import UsageError

if TYPE_CHECKING:
    from ems_streams.domain.letter import LetterId
    from ems_streams.domain.letter_edit import Edit
    from ems_streams.domain.letter_filter import LetterFilter
    from ems_streams.domain.redrives import RedriveDefinition
    from ems_streams.settings import Settings


@dataclass(frozen=True, slots=True)
class Asked:
    """A redrive as it is asked for on the command line; a new value comes from a file, or an editor, when it is made."""

    topic: str
    ids: "list[LetterId] | None"
    chosen: "LetterFilter"
    edit: "Edit"
    file: Path | None
    editor: bool
    max_replays: int | None
    rate_per_s: float | None
    again: bool

    async def definition(self, settings: "Settings") -> "RedriveDefinition":
        """What is to be done; raises `EmsError`."""
        from ems_streams.dead_letters.planning import prepare
        from ems_streams.domain.redrives import REPLAYS_MAX

        edit = self.edit
        if self.file is not None or self.editor:
            assert self.ids is not None
            edit = edit.model_copy(update={"value": await output.new_value(settings, self.ids[0], self.file)})
        return await prepare(
            settings,
            self.topic,
            chosen=self.chosen,
            ids=self.ids,
            edit=edit,
            max_replays=REPLAYS_MAX if self.max_replays is None else self.max_replays,
            rate_per_s=self.rate_per_s,
            again=self.again,
        )


def dry_run(asked: Asked, *, json: bool) -> None:
    """Say what would become of each letter; ends with 1 when any is refused."""
    from ems_streams.dead_letters.planning import plan

    async def planning(settings: "Settings") -> Any:
        definition = await asked.definition(settings)
        with progress_bar(f"dry run of {asked.topic}", definition.offsets_total, shown=not json) as on_progress:
            return await plan(settings, definition, on_progress=on_progress)

    found = run_with_settings("dlt", planning)
    print_json(output.plan_json(asked.topic, found)) if json else output.print_plan(asked.topic, found)
    if found.reasons:
        raise typer.Exit(1)


def redrive(asked: Asked, *, json: bool) -> None:
    """Do it; ends with 1 when any letter is refused."""

    async def redriving(settings: "Settings") -> Any:
        return await _running(settings, await asked.definition(settings), json)

    _finish(run_with_settings("dlt", redriving), json)


def resume(redrive_id: str, *, json: bool) -> None:
    """Go on with one that was interrupted."""
    _finish(run_with_settings("dlt", lambda settings: _resumed(settings, redrive_id, json)), json)


def chosen_ids(topic: str | None, ids: list[str] | None) -> "tuple[str, list[LetterId] | None]":
    """The topic and the ids, of which the topic may be in the ids only; raises `UsageError`."""
    from ems_streams.domain.letter import LetterId

    found = [LetterId.parse(text, topic) for text in ids or []]
    topics = sorted({each.topic for each in found})
    if topic is None and len(topics) != 1:
        raise UsageError(
            "expected a TOPIC, or an --id of one" if not topics else f"--id: of several topics, {', '.join(topics)}; expected one"
        )
    return topic or topics[0], found or None


def edit_of(sets: list[str] | None, unsets: list[str] | None, key: str | None, mqtt_topic: str | None) -> "Edit":
    """What is changed, without a new value; raises `UsageError`."""
    from ems_streams.domain.letter_edit import Edit, parse_path, parse_set

    for text in unsets or []:
        parse_path(text)
    return Edit(sets=dict(parse_set(text) for text in sets or []), unsets=tuple(unsets or ()), key=key, mqtt_topic=mqtt_topic)


def rate_of(text: str) -> float:
    """Letters a second, of `50` or `50/s`; raises `UsageError`."""
    try:
        rate = float(text.removesuffix("/s"))
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise UsageError(f"--rate {text!r}: expected letters a second, such as 50/s")
    return rate


async def _running(settings: "Settings", definition: "RedriveDefinition", json: bool) -> Any:
    from ems_streams.dead_letters.redrive import run
    from ems_streams.domain.redrives import Redrive

    # Before the first letter: whoever is interrupted must know what to go on with.
    if not json:
        error_console().print(f"redrive {definition.redrive_id} of {definition.topic}", markup=False)
    with progress_bar(definition.redrive_id, definition.offsets_total, shown=not json) as on_progress:
        return await run(settings, Redrive(definition), on_progress)


async def _resumed(settings: "Settings", redrive_id: str, json: bool) -> Any:
    from ems_streams.dead_letters.state import read_state

    return await _running(settings, (await read_state(settings)).redrive(redrive_id).definition, json)


def _finish(done: Any, json: bool) -> None:
    from ems_streams.dead_letters.views import redrive_view

    found = redrive_view(done)
    print_json(found) if json else output.print_outcome(found)
    if found["refusals"]:
        raise typer.Exit(1)
