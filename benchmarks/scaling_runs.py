"""The runs of `make bench-scaling` that are runs of our worker like those of `make bench`: with more workers, and with more devices."""

import asyncio
import dataclasses
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from rich.progress import Progress

from benchmarks.check import Verdict
from benchmarks.dataset import TELEMETRY_TOPIC, Dataset, Shape, load
from benchmarks.environments import Environments
from benchmarks.measure import Figures, PeerFailedError
from benchmarks.peers import EXTRA_PEERS, PEERS_BY_NAME, Peer
from benchmarks.run import PAUSE_S, Bench
from ems_streams.dev.ports import Ports
from ems_streams.dev.stack import EmbeddedStack

ALONE = "ours-aggregates"
WORKER_DEVICES = 10_000
WORKERS = (1, 2, 4)
EVENTS_PER_S_MAX = 240_000
"""Of one worker: so much is loaded for each second that is measured, or the topic would end before the time."""
SLOW_EVENTS_PER_S = 25_000
"""At least this fast are devices that are mostly new; a run is long enough to have seen each at such a rate."""
REPORTS_OF_EACH = 3

FAILURES = (PeerFailedError, subprocess.TimeoutExpired, KeyError, ValueError, RuntimeError, KafkaException)
"""What makes a run one that was not measured; the others go on."""


@dataclasses.dataclass(slots=True)
class Session:
    """What all parts share."""

    bar: Progress
    environments: Environments
    cache: Path
    logs: Path
    lines: Path
    rounds: int
    seconds: float

    @contextmanager
    def loaded(self, shape: Shape) -> Iterator[Bench]:
        """A broker of its own with the events of `shape` in it; gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="run-", dir=self.cache) as name:
            directory = Path(name)
            stack = EmbeddedStack(directory / "stack", Ports.free(), servers=frozenset({"kafka"}))
            asyncio.run(stack.start())
            try:
                dataset = Dataset(shape)
                task = self.bar.add_task(f"loading {shape.devices:,} devices", total=shape.events, said="")
                load(dataset, stack.kafka_bootstrap, TELEMETRY_TOPIC, lambda done: self.bar.update(task, completed=done, said=f"{done:,}"))
                self.bar.update(task, visible=False)
                yield Bench(stack, self.environments, dataset, dataset, directory, self.seconds, self.bar, self.logs)
            finally:
                asyncio.run(stack.stop())

    def note(self, part: str, size: int, number: int, **figures: Any) -> None:
        """Write a round down."""
        with self.lines.open("a") as file:
            file.write(json.dumps({"part": part, "size": size, "round": number, **figures}) + "\n")

    def say(self, text: str, *, bad: bool = False) -> None:
        """One line while it runs."""
        self.bar.console.print(text, style="bold red" if bad else None, markup=False, highlight=False)


@dataclasses.dataclass(slots=True)
class Size:
    """All rounds with so many workers, or devices."""

    size: int
    events: int
    rounds: list[Figures] = dataclasses.field(default_factory=list)
    verdicts: list[Verdict] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)

    @property
    def good(self) -> bool:
        return bool(self.rounds) and not self.problems and all(verdict.right for verdict in self.verdicts)


def measure_workers(session: Session) -> list[Size]:
    """One worker and more of them on the same topic, in turned order."""
    counts = [count for count in WORKERS if count <= max(os.cpu_count() or 1, 2)]
    events = int(EVENTS_PER_S_MAX * session.seconds * (1 if max(counts) == 1 else max(counts) * 0.9))
    sizes = {count: Size(count, events) for count in counts}
    with session.loaded(Shape(events, WORKER_DEVICES)) as bench:
        for number in range(1, session.rounds + 1):
            for count in counts if number % 2 else reversed(counts):
                _round(session, bench, "workers", sizes[count], _workers(count), number)
    return list(sizes.values())


def measure_devices(session: Session, counts: Sequence[int]) -> list[Size]:
    """One worker with so many devices, each number in a broker of its own."""
    sizes = []
    for count in counts:
        seconds = max(session.seconds, count * REPORTS_OF_EACH / SLOW_EVENTS_PER_S)
        size = Size(count, max(int(EVENTS_PER_S_MAX * session.seconds), count * REPORTS_OF_EACH))
        sizes.append(size)
        with session.loaded(Shape(size.events, count)) as bench:
            bench.seconds = seconds
            for number in range(1, session.rounds + 1):
                _round(session, bench, "devices", size, _workers(1), number)
    return sizes


def _workers(count: int) -> Peer:
    """The worker with the aggregates alone, so many times."""
    extra = EXTRA_PEERS.get(f"{ALONE}-{count}-workers")
    return extra or dataclasses.replace(PEERS_BY_NAME[ALONE], instances=count)


def _round(session: Session, bench: Bench, part: str, size: Size, peer: Peer, number: int) -> None:
    title = f"{part} {size.size:,}, round {number}"
    try:
        figures, verdict, problem = bench.measure(peer, title)
    except FAILURES as error:
        problem = f"{type(error).__name__}: {error}"
        size.problems.append(f"round {number}: {problem}")
        session.note(part, size.size, number, problem=problem)
        session.say(f"NOT MEASURED  {title}: {problem}", bad=True)
        return
    size.rounds.append(figures)
    if verdict is not None:
        size.verdicts.append(verdict)
    if problem is not None:
        size.problems.append(f"round {number}: {problem}")
    detail = verdict.detail if verdict else problem
    session.note(part, size.size, number, **dataclasses.asdict(figures), result=detail, problem=problem)
    session.say(f"{title}: {figures.events_per_s:,.0f} events/s, {figures.cpu_us_per_event:,.1f} us, {figures.peak_mib:,} MiB; {detail}")
    time.sleep(PAUSE_S)


def empty(directory: Path) -> None:
    """Make it a directory with nothing in it."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
