"""What people read of `make bench-scaling`: a table for each part, for the terminal and in Markdown, and what has to stand below them."""

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Figures
from benchmarks.report import BUSY_CORES
from benchmarks.scaling_recovery import Recoveries, Recovery
from benchmarks.scaling_runs import WORKERS, Size

WORKERS_GOAL = 1.7
RECOVERY_GOAL = 5.0
NOT_MEASURED = "NOT MEASURED"
TITLES = {"workers": "Workers", "devices": "Devices, one worker", "recovery": "Recovery from the changelog, empty state directory"}

_WORKER_COLUMNS = ("workers", "events/s", "min to max", "to one worker", "CPU us/event", "broker us/event", "peak MiB", "cores", "result")
_DEVICE_COLUMNS = ("devices", "events/s", "min to max", "CPU us/event", "broker us/event", "peak MiB", "cores", "result")
_RECOVERY_COLUMNS = (
    "devices", "peer", "keys", "records", "recovery s", "keys/s", "devices/s", "to ready s", "from start s", "CPU s", "peak MiB", "ours to it", "result",
)  # fmt: skip
_RECOVERY_NOTES = (
    (
        "Recovery: by each one's own log, from where it begins to where all is in the store (recovery s), and to where events are taken again "
        "(to ready s); ours includes opening the stores and fencing former owners, Faust's begins behind that."
    ),
    (
        "Keys: ours has one for each device, with its windows within; Faust has one for each device and one for each window. One report of each "
        "device makes one changelog record of each key, which is the fewest that either can have. More reports make one more of each in Faust, "
        "and in ours one for all that come within two seconds."
    ),
)
_TEXT = frozenset({"peer", "result"})


@dataclass(slots=True)
class Outcome:
    """All that was measured; a part that was not asked for is empty."""

    workers: list[Size] = field(default_factory=list)
    devices: list[Size] = field(default_factory=list)
    recovery: list[Recoveries] = field(default_factory=list)

    @property
    def good(self) -> bool:
        measured: Sequence[Size | Recoveries] = (*self.workers, *self.devices, *self.recovery)
        return all(each.good for each in measured)


Section = tuple[str, Sequence[str], list[tuple[str, ...]]]


def sections(outcome: Outcome) -> list[Section]:
    """Title, columns and cells of the parts that were asked for."""
    found: list[Section] = []
    if outcome.workers:
        one = _rate(outcome.workers[0]) if outcome.workers[0].size == 1 else 0.0
        found.append((TITLES["workers"], _WORKER_COLUMNS, [_worker_row(each, one) for each in outcome.workers]))
    if outcome.devices:
        found.append((TITLES["devices"], _DEVICE_COLUMNS, [_size_row(each) for each in outcome.devices]))
    if outcome.recovery:
        found.append((TITLES["recovery"], _RECOVERY_COLUMNS, [_recovery_row(each, outcome) for each in outcome.recovery]))
    return found


def _rate(size: Size) -> float:
    return statistics.median(each.events_per_s for each in size.rounds) if size.rounds else 0.0


def _worker_row(size: Size, one: float) -> tuple[str, ...]:
    row = _size_row(size)
    ratio = f"{_rate(size) / one:.2f}" if one and size.rounds else ""
    return (*row[:3], ratio, *row[3:])


def _size_row(size: Size) -> tuple[str, ...]:
    if not size.rounds:
        return (f"{size.size:,}", NOT_MEASURED, "", "", "", "", "", size.problems[0] if size.problems else "not run")
    rates = [each.events_per_s for each in size.rounds]

    def middle(of: Callable[[Figures], float]) -> float:
        return statistics.median(of(each) for each in size.rounds)

    return (
        f"{size.size:,}" + (" !" if _disturbed(size) else ""),
        f"{_rate(size):,.0f}",
        f"{min(rates):,.0f} to {max(rates):,.0f}",
        f"{middle(lambda each: each.cpu_us_per_event):,.1f}",
        f"{middle(lambda each: each.broker_us_per_event):,.1f}",
        f"{max(each.peak_mib for each in size.rounds):,}",
        f"{middle(lambda each: each.cores):.2f}",
        _result(size),
    )


def _disturbed(measured: Size | Recoveries) -> bool:
    return any(each.other_cores > BUSY_CORES for each in measured.rounds)


def _result(measured: Size | Recoveries) -> str:
    wrong = [verdict.detail for verdict in measured.verdicts if not verdict.right]
    if wrong:
        return wrong[0]
    return measured.verdicts[-1].detail if measured.verdicts else "not checked"


def _recovery_row(each: Recoveries, outcome: Outcome) -> tuple[str, ...]:
    cells = [f"{each.size:,}", each.subject.title]
    if not each.rounds:
        reason = each.left_out or (each.problems[0] if each.problems else "not run")
        return (*cells, "left out" if each.left_out else NOT_MEASURED, *[""] * (len(_RECOVERY_COLUMNS) - 4), reason)

    def middle(of: Callable[[Recovery], float]) -> float:
        return statistics.median(of(round_) for round_ in each.rounds)

    last = each.rounds[-1]
    if _disturbed(each):
        cells[0] += " !"
    return (
        *cells,
        f"{last.keys:,}",
        f"{last.records:,}",
        f"{middle(lambda one: one.recovery_s):.2f}",
        f"{each.keys_per_s:,.0f}",
        f"{each.devices_per_s:,.0f}",
        f"{middle(lambda one: one.to_ready_s):.2f}",
        f"{middle(lambda one: one.from_start_s):.2f}",
        f"{middle(lambda one: one.cpu_s):.1f}",
        f"{max(one.peak_mib for one in each.rounds):,}",
        _ratio(each, outcome),
        _result(each),
    )


def _ours(size: int, outcome: Outcome) -> Recoveries | None:
    return next((each for each in outcome.recovery if each.size == size and each.subject.name == "ours" and each.rounds), None)


def _ratio(each: Recoveries, outcome: Outcome) -> str:
    ours = _ours(each.size, outcome)
    if each.subject.name == "ours" or ours is None:
        return ""
    return f"{ours.keys_per_s / each.keys_per_s:.1f} by keys, {ours.devices_per_s / each.devices_per_s:.1f} by devices"


def notes(outcome: Outcome) -> list[str]:
    """What has to stand below the tables."""
    said = [
        "Median of the rounds; CPU is user and system time of all threads and processes of the peer, peak MiB the sum over its processes."
    ]
    measured: Sequence[Size | Recoveries] = (*outcome.workers, *outcome.devices, *outcome.recovery)
    if any(map(_disturbed, measured)):
        said.append(f"! DISTURBED: something else took more than {BUSY_CORES} cores in a round; these figures are not valid.")
    said += _worker_notes(outcome.workers) if outcome.workers else []
    if outcome.devices:
        said.append(
            "Devices: a round is long enough to see every device; where there are a million most events of it are a device's first ones, and each "
            "commit writes as many states as there were events. Events per device in the topic: "
            + ", ".join(f"{each.events // each.size:,} of {each.size:,}" for each in outcome.devices)
            + "."
        )
    said += _recovery_notes(outcome) if outcome.recovery else []
    said += [f"{each.size:,}: {problem}" for each in measured for problem in each.problems]
    return said


def _worker_notes(sizes: Sequence[Size]) -> list[str]:
    left_out = [count for count in WORKERS if count not in {each.size for each in sizes}]
    said = [f"{count} workers are not measured: there are {os.cpu_count()} cores." for count in left_out]
    by_size = {each.size: _rate(each) for each in sizes}
    if by_size.get(1) and by_size.get(2):
        ratio = by_size[2] / by_size[1]
        said.append(f"Goal: two workers at least {WORKERS_GOAL} times one: {_met(ratio, WORKERS_GOAL)} ({ratio:.2f}).")
    if (os.cpu_count() or 1) <= max(by_size):
        said.append(
            "The broker and the measuring process share the cores with as many workers; their part is missing from what the workers could do."
        )
    return said


def _recovery_notes(outcome: Outcome) -> list[str]:
    said = [*_RECOVERY_NOTES]
    for each in outcome.recovery:
        ours = _ours(each.size, outcome)
        if each.subject.name == "faust" and each.rounds and ours is not None:
            ratio = ours.keys_per_s / each.keys_per_s
            said.append(
                f"Goal with {each.size:,} devices: at least {RECOVERY_GOAL:.0f} times Faust's keys/s: {_met(ratio, RECOVERY_GOAL)} ({ratio:.1f}; "
                f"{ours.devices_per_s / each.devices_per_s:.1f} times its devices/s)."
            )
    return said


def _met(figure: float, goal: float) -> str:
    return "met" if figure >= goal else "NOT MET"


def show(console: Console, outcome: Outcome) -> None:
    """Print the tables and the notes."""
    for title, columns, rows in sections(outcome):
        table = Table(title=title)
        for name in columns:
            table.add_column(name, justify="left" if name in _TEXT else "right")
        for row in rows:
            table.add_row(*row, style="red" if NOT_MEASURED in row or row[-1].startswith("WRONG") else None)
        console.print(table)
    for note in notes(outcome):
        console.print(f"- {note}", markup=False, highlight=False)


def write(directory: Path, outcome: Outcome, facts: dict[str, str]) -> None:
    """Write `table.md`."""
    lines = ["# More workers, more devices, and recovery", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts.items()]
    for title, columns, rows in sections(outcome):
        rule = ["---" if name in _TEXT else "---:" for name in columns]
        lines += ["", f"## {title}", "", *(f"| {' | '.join(row)} |" for row in (columns, rule, *rows))]
    lines += ["", "## Notes", "", *(f"- {note}" for note in notes(outcome))]
    (directory / "table.md").write_text("\n".join(lines) + "\n")
