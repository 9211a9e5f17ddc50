"""An explanation for people: what it comes to first, then the records that it rests on."""

import sys
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ems_streams.cli.output import console
from ems_streams.domain.events import format_time
from ems_streams.domain.explanation import Explanation, TimelineEntry

_STATUS_STYLES: Final = {"ONLINE": "bold green", "OFFLINE": "bold red", "ERROR": "bold red", "MAINTENANCE": "bold yellow"}
_DROPPED_STYLES: Final = {"duplicate": "yellow", "late": "yellow", "malformed": "red"}
_COLUMNS: Final = ("ARRIVED", "ITS TIME", "RECORD", "WHAT", "SAYS")


def print_explanation(found: Explanation) -> None:
    """Narrative, what comes next, and the table of records; everything on stdout."""
    target = console()
    _print_narrative(target, found)
    if found.next_changes:
        target.print(Text("\nWhat changes it next", style="bold"))
        for each in found.next_changes:
            target.print(Text(f"  {each}"), soft_wrap=True)
    target.print(Text(f"\nIts records since {format_time(found.since.replace(microsecond=0))}", style="bold"))
    if found.timeline:
        with target.capture() as printed:
            target.print(_table(target, found.timeline), soft_wrap=not target.is_terminal)
        sys.stdout.write("".join(f"{line.rstrip()}\n" for line in printed.get().splitlines()))
    else:
        target.print("  none was found")


def _print_narrative(target: Console, found: Explanation) -> None:
    headline, *rest = found.narrative
    where = f"partition {found.partition if found.partition is not None else '?'}, {found.owner or 'no worker is known to have it'}"
    target.print(Text(headline, style=_STATUS_STYLES.get(found.status or "", "bold")), soft_wrap=True)
    target.print(Text(f"  {where}", style="dim"), soft_wrap=True)
    for each in rest:
        style = "red" if each.startswith("Not known: ") else ""
        target.print(Text(f"  {each}", style=style), soft_wrap=True)


def _table(target: Console, entries: tuple[TimelineEntry, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD if target.is_terminal else None, pad_edge=False, header_style="bold")
    for column in _COLUMNS:
        # Places are looked for and copied: they are never broken.
        table.add_column(column, overflow="fold", no_wrap=column in {"ARRIVED", "ITS TIME", "RECORD"})
    for each in entries:
        style = _DROPPED_STYLES.get(each.dropped or "", "")
        what = f"{each.what}, {each.dropped}" if each.dropped not in {None, "malformed"} and each.what == "telemetry" else each.what
        table.add_row(
            Text(format_time(each.at), style="dim"),
            Text("" if each.event_at is None else format_time(each.event_at), style="dim"),
            Text(str(each.place), style="cyan"),
            Text(what, style=style or _style_of(each)),
            Text(_said(each), style=style),
        )
    return table


def _style_of(entry: TimelineEntry) -> str:
    return {"transition": "bold", "alarm": "bold magenta", "malformed": "red"}.get(entry.what, "")


def _said(entry: TimelineEntry) -> str:
    parts = [entry.said]
    if entry.message_id:
        parts.append(f"[{entry.message_id}]")
    if entry.because:
        parts.append(f"- {entry.because}")
    if entry.origin and entry.dropped != "duplicate":
        parts.append(f"(was {entry.origin})")
    if entry.folded is False:
        parts.append("- not taken in by the worker yet")
    return " ".join(parts)
