"""What people read of `make soak`: tables in Markdown and for the terminal, and the figures as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.soak_deployment import FAULTS, Options
from benchmarks.soak_ledger import Checked
from benchmarks.soak_plot import plot
from benchmarks.soak_samples import PIPELINE, Series
from benchmarks.soak_verdict import MEMORY_LEAST_S, PERIOD_S, Judged
from benchmarks.soak_visitors import Visitors

COLUMNS = ("who", "what", "median", "highest", "growth", "per hour", "bound", "verdict")


@dataclass(slots=True)
class Soaked:
    """A whole run.

    Attributes:
        gone: Processes that ended or were started again.
        trouble: What kept the run from its end; empty when nothing did.
        simulated: Summary of the simulator.
        orderly: Whether everything stopped when asked to.
    """

    options: Options
    facts: dict[str, str]
    series: Series
    judged: list[Judged]
    checked: list[Checked]
    visitors: Visitors
    ours: Sequence[str]
    gone: list[str]
    trouble: str
    simulated: dict[str, Any]
    orderly: bool = True

    @property
    def failures(self) -> list[str]:
        """Everything that is not as it should be, in words."""
        found = [self.trouble] if self.trouble else []
        found += [
            f"{each.who}: {each.what} grows by {each.growth:,.1f}, bound {each.bound:,.1f}" for each in self.judged if each.ok is False
        ]
        found += [
            f"{each.what}: {each.found:,} instead of {each.expected:,} {'; '.join(each.differences)}"
            for each in self.checked
            if not each.ok
        ]
        found += [f"{name} ended or was started again" for name in self.gone]
        if self.visitors.closed:
            found.append(f"WebSockets were closed {self.visitors.closed} times")
        # A partition that moves to another worker is no failure of a reader, but there is none here that could.
        found += [f"HTTP: {what}, {count} times" for what, count in self.visitors.answers.items() if not what.endswith((" 200", " 202"))]
        if not self.simulated.get("targetReached", False):
            found.append("the simulator did not reach the rate")
        if not self.orderly:
            found.append("something had to be killed in the end")
        return found


def title(options: Options) -> str:
    """Of plot and page."""
    return f"Soak: {options.rate:,} messages/s of {options.devices:,} devices for {options.minutes:g} min, {options.workers} worker(s)"


def write(directory: Path, soaked: Soaked) -> None:
    """Write `result.json`, `samples.json`, `table.md` and `plot.svg`."""
    (directory / "result.json").write_text(json.dumps(_result(soaked), indent=1) + "\n")
    samples = {
        f"{who}: {what}": [[round(at_s, 1), round(value, 3)] for at_s, value in points]
        for (who, what), points in soaked.series.points.items()
    }
    (directory / "samples.json").write_text(json.dumps(samples) + "\n")
    (directory / "table.md").write_text(markdown(soaked))
    (directory / "plot.svg").write_text(plot(soaked.series, soaked.options.duration_s, soaked.ours, title(soaked.options)))


def as_json(soaked: Soaked) -> str:
    """One line."""
    return json.dumps(_result(soaked))


def _result(soaked: Soaked) -> dict[str, Any]:
    return {
        "options": asdict(soaked.options),
        "machine": soaked.facts,
        "simulator": soaked.simulated,
        "judged": [asdict(each) for each in soaked.judged],
        "checked": [asdict(each) for each in soaked.checked],
        "answers": dict(soaked.visitors.answers),
        "notificationsByClient": dict(soaked.visitors.notifications),
        "deliveredRequests": soaked.visitors.delivered,
        "failures": soaked.failures,
        "passed": not soaked.failures,
    }


def rows(soaked: Soaked) -> list[tuple[str, ...]]:
    """What was judged first, then the rest."""
    order = sorted(soaked.judged, key=lambda each: (each.ok is None, each.who == PIPELINE, each.what, each.who))
    return [
        (
            each.who,
            each.what,
            f"{each.median:,.1f}",
            f"{each.highest:,.1f}",
            f"{each.growth:+,.2f}",
            f"{each.per_hour:+,.1f}",
            "" if each.bound is None else f"{each.bound:,.1f}",
            each.verdict,
        )
        for each in order
    ]


def notes(soaked: Soaked) -> list[str]:
    """What has to be known of the table."""
    half_s = soaked.options.duration_s / 2
    period_min = PERIOD_S / 60
    by_period = f" Of memory: the last {2 * period_min:.0f} min, and how much more it is than {period_min:.0f} min before, in the median."
    said = [
        f"Of the second half ({half_s:.0f} s), one look every {soaked.options.interval_s:g} s. growth is the Theil-Sen slope times its length."
        + (by_period if soaked.options.duration_s >= 3 * PERIOD_S else ""),
        f"Faults of the simulated devices: `{FAULTS}`; a command every two seconds; {soaked.options.clients} WebSocket clients; a webhook.",
        "Local stores keep samples for `EMS_CORRECTION_HORIZON_S` (a day), so they grow all the time here: shown only.",
    ]
    if half_s < MEMORY_LEAST_S:
        said.append(f"Memory is not judged: the second half is shorter than {MEMORY_LEAST_S:.0f} s.")
    return said


def markdown(soaked: Soaked) -> str:
    """The whole report."""
    lines = [f"# {title(soaked.options)}", "", *(f"- {name}: {value}" for name, value in soaked.facts.items()), ""]
    lines += ["**passed**" if not soaked.failures else "**NOT PASSED**", *(f"- {each}" for each in soaked.failures), ""]
    lines += ["| compared with the ledger | expected | found | held after |", "|---|---:|---:|---:|"]
    lines += [f"| {each.what} | {each.expected:,} | {each.found:,} | {each.took_s:.1f} s |" for each in soaked.checked]
    lines += ["", f"| {' | '.join(COLUMNS)} |", "|---|---|" + "---:|" * (len(COLUMNS) - 3) + "---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows(soaked)]
    lines += ["", "![all samples](plot.svg)", "", *(f"- {note}" for note in notes(soaked))]
    answers = ", ".join(f"{what}: {count:,}" for what, count in sorted(soaked.visitors.answers.items()))
    told = ", ".join(f"{count:,}" for _, count in sorted(soaked.visitors.notifications.items()))
    lines += [
        f"- HTTP answers: {answers}",
        f"- notifications of each WebSocket client: {told}; requests to the webhook: {soaked.visitors.delivered:,}",
    ]
    return "\n".join(lines) + "\n"


def show(console: Console, soaked: Soaked) -> None:
    """For people at a terminal: what was judged."""
    table = Table(title=title(soaked.options))
    for name in COLUMNS:
        text = name in {"who", "what", "verdict"}
        table.add_column(name, justify="left" if text else "right", no_wrap=True)
    for row in rows(soaked):
        if row[-1] != "shown only":
            table.add_row(*row, style="red" if row[-1] == "GROWS" else None)
    console.print(table)
    for each in soaked.checked:
        style = None if each.ok else "red"
        console.print(f"{each.what}: {each.found:,} of {each.expected:,}", style=style, markup=False, highlight=False)
    for failure in soaked.failures:
        console.print(failure, style="red", markup=False)
    console.print("passed" if not soaked.failures else "NOT PASSED", style="green" if not soaked.failures else "bold red")
