"""What people read: a table for the terminal and one in Markdown, a plot, and the machine that it was measured on."""

import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.check import Verdict
from benchmarks.measure import Figures
from benchmarks.peers import Peer

BUSY_CORES = 0.2
"""More than this taken by others, and a run does not count as undisturbed."""

_WIDTH, _LABEL, _BAR, _ROW = 900, 330, 420, 26
_OURS, _PEER, _FLOOR = "#1f7a4d", "#5b7fa6", "#b8b8b8"


@dataclass
class Result:
    """All rounds of one peer."""

    peer: Peer
    rounds: list[Figures] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Median of the events per second; 0 when it was never measured."""
        return statistics.median(each.events_per_s for each in self.rounds) if self.rounds else 0.0

    def median(self, name: str) -> float:
        return statistics.median(getattr(each, name) for each in self.rounds)

    @property
    def range(self) -> str:
        rates = [each.events_per_s for each in self.rounds]
        return f"{min(rates):,.0f} to {max(rates):,.0f}"

    @property
    def disturbed(self) -> bool:
        """Whether something else used the machine in any round."""
        return any(each.other_cores > BUSY_CORES for each in self.rounds)

    @property
    def good(self) -> bool:
        """Whether it was measured, and nothing that is known of its results is wrong."""
        return bool(self.rounds) and all(verdict.right for verdict in self.verdicts)

    @property
    def checked(self) -> str:
        """What is known of the results."""
        wrong = [verdict.detail for verdict in self.verdicts if not verdict.right]
        if wrong:
            return wrong[0]
        return self.verdicts[-1].detail if self.verdicts else "not checked"


COLUMNS = ("peer", "events/s", "min to max", "CPU us/event", "broker us/event", "peak MiB", "cores", "result")


def sort_results(results: Sequence[Result]) -> list[Result]:
    """Fastest first; those without a figure last."""
    return sorted(results, key=lambda each: -each.rate)


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Cells of the table; a peer that was not measured is a row that says so."""
    table = []
    for each in sort_results(results):
        title = each.peer.title + ("" if each.peer.same_work else " *") + (" !" if each.disturbed else "")
        if not each.rounds:
            table.append((title, "NOT MEASURED", "", "", "", "", "", each.problems[0] if each.problems else "not run"))
            continue
        table.append(
            (
                title,
                f"{each.rate:,.0f}",
                each.range,
                f"{each.median('cpu_us_per_event'):,.1f}",
                f"{each.median('broker_us_per_event'):,.1f}",
                f"{max(figures.peak_mib for figures in each.rounds):,}",
                f"{each.median('cores'):.2f}",
                each.checked,
            )
        )
    return table


def show(console: Console, results: Sequence[Result], title: str) -> None:
    """Print the table and what has to stand below it."""
    console.print(terminal_table(results, title))
    for note in notes(results):
        console.print(f"- {note}", markup=False)


def write(directory: Path, results: Sequence[Result], facts: dict[str, str], title: str) -> None:
    """Write `table.md` and `plot.svg`."""
    (directory / "table.md").write_text(markdown(results, facts, title))
    (directory / "plot.svg").write_text(plot(results))


def terminal_table(results: Sequence[Result], title: str) -> Table:
    """For rich."""
    table = Table(title=title)
    for name in COLUMNS:
        text = name in {"peer", "result"}
        table.add_column(name, justify="left" if text else "right", no_wrap=not text)
    for row in rows(results):
        style = "red" if row[1] == "NOT MEASURED" or row[-1].startswith("WRONG") else "green" if row[0].startswith("EMS") else None
        table.add_row(*row, style=style)
    return table


def notes(results: Sequence[Result]) -> list[str]:
    """What has to stand below the table."""
    said = ["Median of the rounds; CPU is user and system time of all threads and processes of the peer."]
    if any(not each.peer.same_work for each in results):
        said.append("\\* does more or less than the work of the others; its setup says what.")
    if any(each.disturbed for each in results):
        said.append(f"! DISTURBED: something else took more than {BUSY_CORES} cores in a round; these figures are not valid.")
    for each in results:
        said.extend(f"{each.peer.title}: {problem}" for problem in each.problems)
    return said


def markdown(results: Sequence[Result], facts: dict[str, str], title: str) -> str:
    """The whole report."""
    lines = [f"# {title}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts.items()]
    lines += ["", f"| {' | '.join(COLUMNS)} |", "|---|" + "---:|" * (len(COLUMNS) - 2) + "---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows(results)]
    lines += ["", "![events per second](plot.svg)", "", "## Notes", ""]
    lines += [f"- {note}" for note in notes(results)]
    lines += ["", "## Setups", ""]
    lines += [f"- **{each.peer.title}** (`{each.peer.name}`, {each.peer.versions}): {each.peer.setup}" for each in results]
    return "\n".join(lines) + "\n"


def plot(results: Sequence[Result]) -> str:
    """Bars of the medians with the range of the rounds, as SVG."""
    shown = [each for each in sort_results(results) if each.rounds]
    # The floor is so far off that the rest could not be told apart: its bar is cut.
    most = max((figures.events_per_s for each in shown for figures in each.rounds if each.peer.name != "floor"), default=1.0)
    height = 60 + _ROW * len(shown)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        '<text x="16" y="26" font-size="16">Events per second (median; line: all rounds) and CPU per event</text>',
    ]
    for place, each in enumerate(shown):
        parts.append(_bar(each, 44 + place * _ROW, _BAR / most))
    return "\n".join((*parts, "</svg>")) + "\n"


def _bar(result: Result, top: int, scale: float) -> str:
    name = result.peer.name
    colour = _OURS if name.startswith("ours") else _FLOOR if name == "floor" else _PEER
    rates = [each.events_per_s for each in result.rounds]
    middle = top + _ROW // 2 - 3
    ends = [_LABEL + min(rate * scale, _BAR) for rate in (min(rates), max(rates))]
    text = f"{result.rate:,.0f}/s, {result.median('cpu_us_per_event'):,.1f} us"
    return (
        f'<text x="{_LABEL - 8}" y="{middle + 5}" text-anchor="end">{escape(result.peer.title)}</text>'
        f'<rect x="{_LABEL}" y="{top}" width="{min(result.rate * scale, _BAR):.1f}" height="{_ROW - 6}" fill="{colour}"/>'
        f'<line x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{middle}" y2="{middle}" stroke="black"/>'
        f'<text x="{max(ends) + 8:.1f}" y="{middle + 5}">{text}</text>'
    )


def machine_facts(java: str) -> dict[str, str]:
    """Where it ran."""
    memory_gib = psutil.virtual_memory().total / 2**30
    return {
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores",
        "memory": f"{memory_gib:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Java of the peers": _java_version(java),
        "commit": _commit(),
    }


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor() or "unknown")


def _java_version(java: str) -> str:
    said = _said([java, "-version"])
    return said.splitlines()[0] if said else "none"


def _commit() -> str:
    commit = _said(["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]).strip()
    changed = _said(["git", "-C", str(Path(__file__).parent), "status", "--porcelain", "--untracked-files=no"]).strip()
    return (commit or "unknown") + (" with changes" if changed else "")


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr if done.returncode == 0 else ""
