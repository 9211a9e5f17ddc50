"""What people read of `make bench-latency`: a table for the terminal and one in Markdown, and a plot."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.latency_load import LoadResult
from benchmarks.latency_probes import POLL_INTERVAL_S, POLLS_PER_S_MAX, Outcome
from benchmarks.latency_stages import Stage, percentile
from benchmarks.report import BUSY_CORES, machine_facts

REACHED_SHARE = 0.99
WAITING_S, BEHIND_S = 0.5, 4.0
"""Backlogs that are this much of the load greater at the end than at the beginning have grown: before Kafka, and in it. In Kafka less may be
how the group's offsets follow what is durable, by 2.8 s, and what is durable follows what is folded, by a second or two."""
GROWTH_FACTOR, GROWTH_MS = 2.0, 250.0
"""So much greater a median in the last third than in the first one is a backlog that grows, too."""
PERCENTS = (50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 100.0)
GOALS_MS = {"live table": 250, "WebSocket": 300}
GOAL_RATE = 5000

COLUMNS = ("msg/s", "to", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "samples", "lost", "postponed", "unmatched", "reached")
COST_COLUMNS = ("msg/s", "ingress", "worker", "gateway", "MQTT broker", "Kafka", "load", "probes", "cores in all", "of others")

_NOTES = (
    "Latency is from just before the publish to when the probe has it in hand; the load, the probes and everything measured share the machine.",
    (
        f"The live table is looked at {POLL_INTERVAL_S * 1000:.0f} ms after each answer, for every probe on the way, at most "
        f"{POLLS_PER_S_MAX:.0f} times a second in all; latencies are too great by at most the time between two looks, never too small."
    ),
    (
        "lost: sent and not seen, or a request for it failed. postponed: not sent, as the one before it was still on the way; with many of "
        "these the percentiles are too good. unmatched: a notification of a probe's device that no probe waited for."
    ),
    "p99.9 of about a thousand samples is the greatest but one.",
)

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 900, 420, 70, 50, 200, 50
_COLOURS = ("#1f7a4d", "#5b7fa6", "#b5651d", "#7a3b8f", "#666666")
_STEPS_MS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000)


@dataclass(frozen=True, slots=True)
class Flow:
    """What went through within the stretch that is measured.

    Attributes:
        seconds: Its length.
        published: Messages of the load that the MQTT broker acknowledged.
        ingested: Telemetry that reached Kafka, that of the probes included.
        folded: Telemetry that the worker is durably done with.
        mqtt_before: Waiting between MQTT and Kafka at the beginning; `mqtt_after` at the end.
        kafka_before: Not durably done with at the beginning; `kafka_after` at the end.
    """

    seconds: float
    published: int
    ingested: int
    folded: int
    mqtt_before: int
    kafka_before: int
    mqtt_after: int
    kafka_after: int


@dataclass(slots=True)
class Cost:
    """CPU seconds by process within that stretch, of the whole machine, and what the looks at the table took."""

    cpu_s: dict[str, float]
    machine_s: float
    polls_per_s: float
    poll_us: float = 0.0


@dataclass(frozen=True, slots=True)
class Latencies:
    """Of one kind of probe."""

    percentiles_ms: dict[str, float]
    samples: int
    sent: int
    lost: int
    failed: int
    postponed: int
    unmatched: int
    resolution_ms: float
    first_third_p50_ms: float = 0.0
    last_third_p50_ms: float = 0.0
    stages: list[Stage] = field(default_factory=list)


def latencies(outcome: Outcome, stages: list[Stage]) -> Latencies:
    """Counts and percentiles; no probe is left out."""
    values = [each.latency_ms for each in outcome.seen]
    return Latencies(
        {f"{percent:g}": round(percentile(values, percent), 2) for percent in PERCENTS} if values else {},
        len(values),
        outcome.sent,
        outcome.lost,
        outcome.failed,
        outcome.postponed,
        outcome.unmatched,
        round(percentile(outcome.gaps_ms, 99), 2) if outcome.gaps_ms else 0.0,
        *_thirds(outcome),
        stages,
    )


def _thirds(outcome: Outcome) -> tuple[float, float]:
    """Median of the first third of the probes, by when they were published, and of the last."""
    values = [each.latency_ms for each in sorted(outcome.seen, key=lambda each: each.published_at)]
    third = len(values) // 3
    return (round(percentile(values[:third], 50), 2), round(percentile(values[-third:], 50), 2)) if third else (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Round:
    """One rate."""

    rate: int
    flow: Flow
    cost: Cost
    load: LoadResult
    drained_s: float | None
    table: Latencies
    socket: Latencies
    trouble: str | None = None

    @property
    def achieved(self) -> float:
        """Messages of the load per second that the MQTT broker acknowledged."""
        return self.flow.published / self.flow.seconds

    @property
    def other_cores(self) -> float:
        """What the rest of the machine took meanwhile."""
        return (self.cost.machine_s - sum(self.cost.cpu_s.values())) / self.flow.seconds

    @property
    def disturbed(self) -> bool:
        """Whether something else used the machine."""
        return self.other_cores > BUSY_CORES

    @property
    def grown(self) -> int:
        """Messages by which what waits before Kafka, or in it, grew more than it does at a rate that is reached; 0 when it did not."""
        flow = self.flow
        waiting, behind = flow.mqtt_after - flow.mqtt_before, flow.kafka_after - flow.kafka_before
        return sum(grown for grown, allowed_s in ((waiting, WAITING_S), (behind, BEHIND_S)) if grown > allowed_s * self.achieved)

    @property
    def short(self) -> list[str]:
        """Why the rate was not reached; empty when it was."""
        said = []
        if self.achieved < REACHED_SHARE * self.rate:
            said.append(f"the load reached {self.achieved:,.0f} msg/s only")
        if self.grown:
            flow = self.flow
            said.append(
                f"the backlog grew by {self.grown:,}: {flow.ingested / flow.seconds:,.0f} msg/s got into Kafka, "
                f"{flow.folded / flow.seconds:,.0f} through the worker"
            )
        said += [
            f"latency to the {name} grew: p50 {each.first_third_p50_ms:,.0f} ms in the first third, {each.last_third_p50_ms:,.0f} ms in the last"
            for name, each in self.ways
            if each.last_third_p50_ms > GROWTH_FACTOR * each.first_third_p50_ms + GROWTH_MS
        ]
        return said

    @property
    def complete(self) -> bool:
        """Whether every probe that was sent was seen, and nothing broke."""
        return self.trouble is None and all(each.samples and not each.lost and not each.failed for each in (self.table, self.socket))

    @property
    def ways(self) -> tuple[tuple[str, Latencies], tuple[str, Latencies]]:
        return ("live table", self.table), ("WebSocket", self.socket)


def facts() -> dict[str, str]:
    """Where it ran."""
    return {name: value for name, value in machine_facts("java").items() if "Java" not in name}


def line(measured: Round) -> str:
    """One line while it runs."""
    parts = [
        f"{name} p50 {_ms(each, '50')} p99 {_ms(each, '99')} max {_ms(each, '100')} ms ({each.samples} of {each.sent})"
        for name, each in measured.ways
    ]
    return f"{measured.rate:,} msg/s: {'; '.join([*parts, *measured.short])}"


def rows(rounds: Sequence[Round], wanted: Sequence[int], problem: str) -> list[tuple[str, ...]]:
    """Cells of the table of latencies; a rate that was not measured is a row that says so, and the `problem` that was why."""
    table = []
    for measured in rounds:
        reached = f"yes: {measured.achieved:,.0f}" if not measured.short else "NOT REACHED: " + "; ".join(measured.short)
        reached += "; NOT VALID: disturbed" if measured.disturbed else ""
        for name, each in measured.ways:
            figures = [_ms(each, percent) for percent in ("50", "99", "99.9", "100")]
            counts = [f"{number:,}" for number in (each.samples, each.lost + each.failed, each.postponed, each.unmatched)]
            table.append((f"{measured.rate:,}", name, *figures, *counts, reached))
    table += [(f"{rate:,}", "NOT MEASURED", *[""] * (len(COLUMNS) - 3), problem) for rate in wanted[len(rounds) :]]
    return table


def cost_rows(rounds: Sequence[Round]) -> list[tuple[str, ...]]:
    """CPU microseconds per message of the load, by process."""
    table = []
    for measured in rounds:
        messages = max(measured.flow.published, 1)
        costs = [f"{measured.cost.cpu_s[name] / messages * 1e6:,.1f}" for name in COST_COLUMNS[1:8]]
        cores = measured.cost.machine_s / measured.flow.seconds
        table.append((f"{measured.rate:,}", *costs, f"{cores:.2f}", f"{measured.other_cores:.2f}"))
    return table


def notes(rounds: Sequence[Round]) -> list[str]:
    """What has to stand below the tables."""
    said = [*_NOTES]
    for measured in rounds:
        rate, flow, cost = f"{measured.rate:,} msg/s", measured.flow, measured.cost
        cores = cost.polls_per_s * cost.poll_us / 1e6
        said.append(
            f"{rate}: {measured.achieved:,.0f} msg/s acknowledged, the latest message sent {measured.load.latest_ms:,.0f} ms after it was due; "
            f"at the end {flow.mqtt_after:,} messages waited before Kafka and {flow.kafka_after:,} were not in the group's offsets, which are "
            f"written every 2.8 s (at the beginning {flow.mqtt_before:,} and {flow.kafka_before:,}); p50 to the live table was "
            f"{measured.table.first_third_p50_ms:,.0f} ms in the first third and {measured.table.last_third_p50_ms:,.0f} ms in the last; "
            f"{_drained(measured)}."
        )
        said.append(
            f"{rate}: {cost.polls_per_s:,.0f} looks a second at {cost.poll_us:,.0f} us took {cores:.3f} cores of the worker, "
            f"which is in its figure; 99 % of the latencies to the live table are at most {measured.table.resolution_ms:.1f} ms too great."
        )
        if measured.disturbed:
            said.append(f"{rate}: DISTURBED: something else took {measured.other_cores:.2f} cores; these figures are not valid.")
        if measured.trouble:
            said.append(f"{rate}: {measured.trouble}.")
        if measured.rate == GOAL_RATE:
            said += [_goal(name, each, measured) for name, each in measured.ways]
    return said


def _drained(measured: Round) -> str:
    return "not worked off in time" if measured.drained_s is None else f"all done {measured.drained_s:.1f} s after the last probe"


def _goal(name: str, each: Latencies, measured: Round) -> str:
    goal_ms = GOALS_MS[name]
    if measured.disturbed:
        return f"Goal at {GOAL_RATE:,} msg/s to the {name}: p99 below {goal_ms} ms: cannot be told from a run that was disturbed."
    met = bool(each.percentiles_ms) and each.percentiles_ms["99"] < goal_ms and not measured.short and not each.lost
    return f"Goal at {GOAL_RATE:,} msg/s to the {name}: p99 below {goal_ms} ms: {'met' if met else 'NOT MET'} ({_ms(each, '99')} ms)."


def _ms(each: Latencies, percent: str) -> str:
    value = each.percentiles_ms.get(percent)
    return "none" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"


def stage_rows(rounds: Sequence[Round]) -> list[tuple[str, ...]]:
    """Parts of the way, by the times in the records of the probes."""
    return [
        (f"{measured.rate:,}", name, stage.name, f"{stage.p50_ms:,.1f}", f"{stage.p99_ms:,.1f}", f"{stage.samples:,}")
        for measured in rounds
        for name, each in measured.ways
        for stage in each.stages
    ]


STAGE_COLUMNS = ("msg/s", "to", "part of the way", "p50 ms", "p99 ms", "samples")


def show(console: Console, rounds: Sequence[Round], wanted: Sequence[int], problem: str) -> None:
    """Print the tables and what has to stand below them."""
    console.print(_terminal("From an MQTT publish, in milliseconds", COLUMNS, rows(rounds, wanted, problem)))
    console.print(_terminal("CPU us per message", COST_COLUMNS, cost_rows(rounds)))
    console.print(_terminal("Where the time went", STAGE_COLUMNS, stage_rows(rounds)))
    for note in notes(rounds):
        console.print(f"- {note}", markup=False, highlight=False)


def _terminal(title: str, columns: Sequence[str], cells: Sequence[tuple[str, ...]]) -> Table:
    table = Table(title=title)
    for name in columns:
        table.add_column(name, justify="left" if name in {"to", "reached", "part of the way"} else "right")
    for row in cells:
        table.add_row(*row, style="red" if any("NOT " in cell for cell in row) else None)
    return table


def write(directory: Path, rounds: Sequence[Round], wanted: Sequence[int], problem: str, told: dict[str, str]) -> None:
    """Write `table.md` and `plot.svg`."""
    lines = ["# From MQTT to the live table and the WebSocket", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in told.items()]
    lines += ["", *_markdown(COLUMNS, rows(rounds, wanted, problem))]
    lines += ["", "![latency by percentile](plot.svg)", "", "## CPU us per message", "", *_markdown(COST_COLUMNS, cost_rows(rounds))]
    lines += ["", "## Where the time went", "", *_markdown(STAGE_COLUMNS, stage_rows(rounds))]
    lines += ["", "## Notes", "", *(f"- {note}" for note in notes(rounds))]
    (directory / "table.md").write_text("\n".join(lines) + "\n")
    (directory / "plot.svg").write_text(plot(rounds))


def _markdown(columns: Sequence[str], cells: Sequence[tuple[str, ...]]) -> list[str]:
    rule = ["---" if name in {"to", "reached", "part of the way"} else "---:" for name in columns]
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (columns, rule, *cells)]
    return [f"| {' | '.join(row)} |" for row in escaped]


def plot(rounds: Sequence[Round]) -> str:
    """Latency over percentile, both logarithmic, a line per rate and way, as SVG."""
    curves = [
        (f"{measured.rate:,}/s {name}", index, name == "WebSocket", each.percentiles_ms)
        for index, measured in enumerate(rounds)
        for name, each in measured.ways
        if each.percentiles_ms
    ]
    values = [value for *_, points in curves for value in points.values()] or [1.0]
    low = max((step for step in _STEPS_MS if step <= min(values)), default=1)
    high = min((step for step in _STEPS_MS if step >= max(values)), default=_STEPS_MS[-1])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        '<text x="16" y="26" font-size="16">Latency in ms by percentile</text>',
        *(_level(step, low, high) for step in _STEPS_MS if low <= step <= high),
        *(f'<text x="{_x(place)}" y="{_HEIGHT - 24}" text-anchor="middle">{_label(place)}</text>' for place in range(len(PERCENTS))),
        *(_curve(curve, order, low, high) for order, curve in enumerate(curves)),
    ]
    return "\n".join((*parts, "</svg>")) + "\n"


def _label(place: int) -> str:
    return "max" if PERCENTS[place] == 100 else f"{PERCENTS[place]:g}"


def _x(place: int) -> int:
    return _LEFT + place * (_WIDTH - _LEFT - _RIGHT) // (len(PERCENTS) - 1)


def _y(value: float, low: float, high: float) -> float:
    share = math.log(max(value, low) / low) / math.log(high / low) if high > low else 0.0
    return _HEIGHT - _BOTTOM - min(share, 1.0) * (_HEIGHT - _TOP - _BOTTOM)


def _level(step: int, low: float, high: float) -> str:
    y = _y(step, low, high)
    return (
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>'
        f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{step:,}</text>'
    )


def _curve(curve: tuple[str, int, bool, dict[str, float]], order: int, low: float, high: float) -> str:
    title, colour_index, dashed, points = curve
    colour = _COLOURS[colour_index % len(_COLOURS)]
    dash = ' stroke-dasharray="6 4"' if dashed else ""
    path = " ".join(f"{_x(place)},{_y(points[f'{percent:g}'], low, high):.1f}" for place, percent in enumerate(PERCENTS))
    legend_y = _TOP + 10 + order * 20
    legend_x = _WIDTH - _RIGHT + 14
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
        f'<line x1="{legend_x}" x2="{legend_x + 24}" y1="{legend_y}" y2="{legend_y}" stroke="{colour}" stroke-width="2"{dash}/>'
        f'<text x="{legend_x + 30}" y="{legend_y + 4}">{title}</text>'
    )
