"""How dead letters are shown to people, and how a person changes one."""

import base64
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ems_streams.cli.output import console, error_console, print_table
from ems_streams.errors import EmsError, UsageError

if TYPE_CHECKING:
    from ems_streams.dead_letters.planning import Plan
    from ems_streams.dead_letters.purge import PurgePlan
    from ems_streams.domain.letter import LetterId
    from ems_streams.settings import Settings

MESSAGE_CHARS = 80
_HEADINGS = {"error-class": "ERROR", "stage": "STAGE", "device": "DEVICE", "origin": "CAME FROM"}


def epoch_ms(moment: datetime) -> int:
    """A time as the topics have it; nothing in them is older than 1970."""
    from ems_streams.domain.timestamps import to_epoch_ms

    return max(0, to_epoch_ms(moment))


def print_letters(found: Sequence[dict[str, Any]]) -> None:
    """A line for each letter."""
    rows = [
        (
            each["id"],
            each["at"],
            each["key"],
            each["stage"],
            each["errorClass"],
            each["replayCount"],
            each["state"],
            _shortened(each["errorMessage"]),
        )
        for each in found
    ]
    print_table(("ID", "AT", "KEY", "STAGE", "ERROR", "REPLAYS", "STATE", "MESSAGE"), rows, right=("REPLAYS",))


def print_groups(groups: Sequence[dict[str, Any]], by: Sequence[str]) -> None:
    """A line for each group."""
    from ems_streams.dead_letters.groups import FIELDS

    headings = [_HEADINGS[name] for name in by]
    rows = [
        (
            each["topic"],
            *(each[FIELDS[name]] for name in by),
            each["open"],
            each["count"],
            each["firstSeen"],
            each["lastSeen"],
            each["example"],
            _shortened(each["exampleMessage"]),
        )
        for each in groups
    ]
    columns = ("TOPIC", *headings, "OPEN", "ALL", "FIRST", "LAST", "EXAMPLE", "MESSAGE")
    print_table(columns, rows, right=("OPEN", "ALL"))


def print_letter(found: dict[str, Any]) -> None:
    """All of a letter."""
    from ems_streams.dead_letters.views import hex_dump

    target = console()
    original = found["original"] or {}
    place = original.get("topic") or "it does not say"
    if original.get("partition") is not None:
        place += f" partition {original['partition']} offset {original['offset']}"
    done = found["done"]
    redrive = found["redrive"]
    lines = [
        ("letter", found["id"]),
        ("put aside", f"{found['at']} by {found['stage'] or '?'}" + (f", channel {found['channel']}" if found["channel"] else "")),
        ("reason", f"{found['errorClass'] or '?'}: {found['errorMessage'] or '?'}"),
        ("came from", place + (f" at {original['timestamp']}" if original.get("timestamp") else "")),
        ("attempts", f"{found['attempts'] or '?'}, first failed at {found['firstFailedAt'] or '?'}"),
        ("replays", found["replayCount"]),
        ("state", found["state"] + (f", {done['outcome']} by {done['redriveId']} at {done['at']}" if done else "")),
        ("redrive", _redrive_words(redrive)),
        ("key", found["key"]),
    ]
    for name, text in lines:
        target.print(f"{name:<10} {text}", markup=False, soft_wrap=True)
    target.print("\nheaders", style="bold")
    for header in found["headers"]:
        shown = header["text"] if header["text"] is not None else f"0x{base64.b64decode(header['base64']).hex()}"
        target.print(f"  {header['name']}={shown}", markup=False, soft_wrap=True)
    value = None if found["valueBase64"] is None else base64.b64decode(found["valueBase64"])
    cut = f", the beginning of {found['cutFromBytes']}" if found["cutFromBytes"] else ""
    target.print("\nno value" if value is None else f"\nvalue, {len(value)} bytes{cut}", style="bold")
    if found["valueText"]:
        target.print(found["valueText"][:8192], markup=False, soft_wrap=True)
    for line in hex_dump(value or b""):
        target.print(line, style="dim", markup=False, soft_wrap=True)
    if found["stackTrace"]:
        target.print("\nstack trace", style="bold")
        target.print(found["stackTrace"], markup=False, soft_wrap=True)


def _redrive_words(redrive: dict[str, Any]) -> str:
    if redrive["outcome"] == "sent":
        return f"goes to {redrive['target']}" + (f", where it is malformed still: {redrive['detail']}" if redrive["detail"] else "")
    if redrive["outcome"] == "failedAgain":
        return f"is malformed still, and would be a dead letter again: {redrive['detail']}"
    return f"{redrive['outcome']}: {redrive['detail']}"


def plan_json(topic: str, found: "Plan") -> dict[str, Any]:
    """What a redrive would do, as JSON."""
    from ems_streams.dead_letters.listing import plan_view

    return plan_view(topic, found)


def print_plan(topic: str, found: "Plan") -> None:
    """What a redrive would do."""
    rows = [
        (letter_id, verdict.outcome, verdict.target, verdict.reason, _shortened(verdict.detail)) for letter_id, verdict in found.examples
    ]
    print_table(("ID", "WOULD BE", "TO", "REASON", "DETAIL"), rows)
    said = error_console()
    counted = ", ".join(f"{count} {outcome}" for outcome, count in sorted(found.outcomes.items())) or "no letters"
    said.print(f"dry run of {topic}: {counted}; nothing was written", markup=False)
    if found.still_malformed:
        said.print(f"{found.still_malformed} of those sent would be malformed still, and come back", markup=False)


def print_redrives(found: Sequence[dict[str, Any]]) -> None:
    """A line for each redrive."""
    rows = [
        (
            each["redriveId"],
            each["topic"],
            each["createdAt"],
            "finished" if each["finished"] else "unfinished",
            f"{each['offsetsDone']}/{each['offsetsTotal']}",
            *(each["outcomes"][name] for name in ("sent", "failedAgain", "quarantined", "refused")),
        )
        for each in found
    ]
    columns = ("ID", "TOPIC", "BEGAN", "STATE", "READ", "SENT", "FAILED AGAIN", "QUARANTINED", "REFUSED")
    print_table(columns, rows, right=columns[4:])


def print_outcome(found: dict[str, Any]) -> None:
    """What became of the letters of a redrive."""
    print_redrives([found])
    said = error_console()
    if found["outcomes"]["doneBefore"]:
        said.print(f"{found['outcomes']['doneBefore']} had been dealt with before; --again sends them again", markup=False)
    for reason, count in found["refusals"].items():
        said.print(f"{count} refused: {reason}; `ems-streams dlt show ID` says more", markup=False)


def print_purge(planned: "PurgePlan") -> None:
    """What would be deleted."""
    print_table(
        ("PARTITION", "FIRST", "BEFORE"),
        [(number, start, end) for number, (start, end) in sorted(planned.ranges.items())],
        right=("PARTITION", "FIRST", "BEFORE"),
    )
    print_table(
        ("ERROR", "LETTERS", "OPEN"),
        [(each.names[0], each.count, each.open) for each in planned.groups.largest()],
        right=("LETTERS", "OPEN"),
    )
    error_console().print(f"{planned.letters} letters of {planned.topic}, {planned.open_letters} of them open", markup=False)


def purge_json(planned: "PurgePlan", *, deleted: bool) -> dict[str, Any]:
    """What was, or would be deleted, as JSON."""
    return {
        "topic": planned.topic,
        "deleted": deleted,
        "letters": planned.letters,
        "open": planned.open_letters,
        "partitions": [{"partition": number, "from": start, "before": end} for number, (start, end) in sorted(planned.ranges.items())],
    }


async def new_value(settings: "Settings", letter_id: "LetterId", file: Path | None) -> str:
    """The new value as base64: of a file, of stdin for `-`, or of what an editor makes of the old one."""
    from ems_streams.dead_letters.reader import letter_at
    from ems_streams.kafka.range_reader import positioned_consumer

    if file is not None:
        content = sys.stdin.buffer.read() if str(file) == "-" else _read(file)
    else:
        async with positioned_consumer(settings) as consumer:
            letter = await letter_at(consumer, letter_id)
        content = _edited(letter.value or b"")
        if content == letter.value:
            raise EmsError("nothing was changed in the editor, so nothing is redriven")
    return base64.b64encode(content).decode()


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"--edit {str(file)!r}: cannot be read ({error.strerror})") from None


def _edited(value: bytes) -> bytes:
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory(prefix="ems-dlt-") as directory:
        path = Path(directory) / "value.json"
        path.write_bytes(value)
        try:
            ended = subprocess.run([*command, str(path)], check=False)  # noqa: S603 - the user's own editor
        except OSError as error:
            raise EmsError(f"the editor {command[0]!r} cannot be started ({error.strerror}); $EDITOR says which one") from None
        if ended.returncode != 0:
            raise EmsError(f"the editor {command[0]!r} ended with {ended.returncode}, so nothing is redriven")
        changed = path.read_bytes()
    # Editors end a file with a line feed; the value had none.
    return changed.removesuffix(b"\n") if not value.endswith(b"\n") else changed


def _shortened(text: str | None) -> str | None:
    return text if text is None or len(text) <= MESSAGE_CHARS else text[: MESSAGE_CHARS - 3] + "..."
