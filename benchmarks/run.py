"""`make bench`: ours and the peers, one after the other in turned order, on one broker and the same events."""

import asyncio
import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import structlog
import typer
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import check, report
from benchmarks.dataset import CHECK_TOPIC, TELEMETRY_TOPIC, Dataset, Shape, load
from benchmarks.environments import Environments, NotInstalledError, default_directory
from benchmarks.measure import Figures, FileProgress, GroupProgress, Instance, PeerFailedError, stop, watch
from benchmarks.peers import EXTRA_PEERS, PEERS_BY_NAME, Launch, Peer
from ems_streams.dev.ports import Ports
from ems_streams.dev.stack import EmbeddedStack

RESULTS = Path(__file__).parent / "results"
CHECK_EVENTS = 100_000
CHECK_DEVICES = 1_000
CHECK_TIMEOUT_S = 180.0
PAUSE_S = 3.0
PREPARE_TIMEOUT_S = 120.0


@dataclasses.dataclass(slots=True)
class Bench:
    """Everything that the runs share."""

    stack: EmbeddedStack
    environments: Environments
    dataset: Dataset
    check_dataset: Dataset
    directory: Path
    seconds: float
    bar: Progress
    log_directory: Path

    def measure(self, peer: Peer, title: str) -> tuple[Figures, check.Verdict | None, str | None]:
        """One measured run: the figures, the verdict on its result where there can be one, and what went wrong besides.

        Raises `NotInstalledError` or `PeerFailedError`.
        """
        with self._launch(peer, TELEMETRY_TOPIC, None) as launch:
            progress = self._progress(peer, launch)
            instances = self._start(peer, launch)
            task = self.bar.add_task(title, total=1.0, said="starting")
            try:
                figures = watch(
                    instances,
                    progress,
                    self.stack.kafka.pid or 0,
                    seconds=self.seconds,
                    events=self.dataset.shape.events,
                    on_sample=lambda events, share: self.bar.update(task, completed=share, said=f"{events:,} events"),
                )
                self.bar.update(task, said="stopping")
            finally:
                orderly = stop(instances)
                progress.close()
                self.bar.update(task, visible=False)
            if not orderly:
                return figures, None, "did not end in time when asked to, so its result was not checked"
            return figures, self._verdict(peer, launch), None

    def verify(self, peer: Peer) -> check.Verdict:
        """A run of its own over the small topic, to its end; raises as `measure`."""
        output = self.log_directory / f"{peer.name}.results"
        output.unlink(missing_ok=True)
        with self._launch(peer, CHECK_TOPIC, output) as launch:
            progress = self._progress(peer, launch)
            instances = self._start(peer, launch)
            try:
                for each in instances:
                    each.wait(CHECK_TIMEOUT_S)
            finally:
                stop(instances)
                progress.close()
            verdict = check.compare(self.check_dataset, check.from_file(output, self.check_dataset), every=10)
        output.unlink()
        return verdict

    @contextmanager
    def _launch(self, peer: Peer, topic: str, output: Path | None) -> Iterator[Launch]:
        run_id = f"bench-{peer.name}-{time.time_ns() // 1_000_000 % 10**8}"
        directory = self.directory / run_id
        (directory / "state").mkdir(parents=True)
        first_port = Ports.free().worker
        ports = range(first_port, first_port + peer.instances)
        launch = Launch(run_id, self.stack.kafka_bootstrap, topic, directory, ports, self.environments, output)
        try:
            yield launch
        finally:
            self._tidy(run_id)
            shutil.rmtree(directory, ignore_errors=True)

    def _start(self, peer: Peer, launch: Launch) -> list[Instance]:
        commands = [peer.command(launch, instance) for instance in range(peer.instances)]
        for command in peer.before(launch):
            prepare(peer, launch, command)
        return [
            Instance(
                command,
                launch.variables(instance) | peer.variables(launch, instance),
                peer.directory,
                self.log_directory / f"{launch.run_id}-{instance}.log",
            )
            for instance, command in enumerate(commands)
        ]

    def _progress(self, peer: Peer, launch: Launch) -> FileProgress | GroupProgress:
        if peer.counts_by_group:
            return GroupProgress(launch.broker, launch.run_id, launch.topic, self.dataset.shape.partitions)
        return FileProgress([launch.progress_file(instance) for instance in range(peer.instances)])

    def _verdict(self, peer: Peer, launch: Launch) -> check.Verdict | None:
        if peer.reader is None:
            return None
        sampled = self.dataset.sampled(check.SAMPLED_DEVICES)
        run = check.Run(launch.broker, launch.run_id, launch.topic, self.dataset.shape.partitions, sampled)
        return check.compare(self.dataset, peer.reader(run))

    def _tidy(self, run_id: str) -> None:
        """Remove every topic but the data, and the group, so that the next run finds what the first one found."""
        admin = AdminClient({"bootstrap.servers": self.stack.kafka_bootstrap, "log_level": 2})
        kept = {TELEMETRY_TOPIC, CHECK_TOPIC}
        names = [name for name in admin.list_topics(timeout=30).topics if name not in kept and not name.startswith("__")]
        futures = [*admin.delete_topics(names).values()] if names else []
        futures += admin.delete_consumer_groups([run_id]).values()
        for future in futures:
            try:
                future.result(30)
            except KafkaException:
                # A peer without a group has none to delete; what is left of a topic costs the next one nothing.
                continue


def prepare(peer: Peer, launch: Launch, command: list[str]) -> None:
    """Run a command that comes before the first instance; raises `PeerFailedError`."""
    environment = launch.variables(0) | peer.variables(launch, 0)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PREPARE_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise PeerFailedError(f"{' '.join(command[:4])} failed: {(done.stderr or done.stdout).strip()[-300:]}")


def _choose(names: str) -> list[Peer]:
    known = PEERS_BY_NAME | EXTRA_PEERS
    if not names:
        return list(PEERS_BY_NAME.values())
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise typer.BadParameter(f"no peer {unknown[0]!r}; there are {', '.join(known)}", param_hint="--peers")
    return [known[name] for name in wanted]


def _run_all(bench: Bench, peers: Sequence[Peer], rounds: int, results: dict[str, report.Result], lines: Path) -> None:
    for peer in peers:
        if peer.bounded:
            attempt(results[peer.name], bench.bar.console, lambda peer=peer: results[peer.name].verdicts.append(bench.verify(peer)))
    done = bench.bar.add_task("all runs", total=rounds * len(peers), said="")
    for index in range(rounds):
        # Turned each round, so that nobody always runs after the same one.
        for peer in peers if index % 2 == 0 else reversed(peers):
            result = results[peer.name]
            if attempt(result, bench.bar.console, lambda peer=peer, index=index: _round(bench, peer, index, results, lines)):
                time.sleep(PAUSE_S)
            bench.bar.update(done, advance=1, said=f"round {index + 1} of {rounds}")


def _round(bench: Bench, peer: Peer, index: int, results: dict[str, report.Result], lines: Path) -> None:
    figures, verdict, problem = bench.measure(peer, f"round {index + 1}: {peer.title}")
    result = results[peer.name]
    result.rounds.append(figures)
    if verdict is not None:
        result.verdicts.append(verdict)
    if problem is not None:
        result.problems.append(f"round {index + 1}: {problem}")
    record = {
        "round": index + 1,
        "peer": peer.name,
        **dataclasses.asdict(figures),
        "result": verdict.detail if verdict else None,
        "problem": problem,
    }
    with lines.open("a") as file:
        file.write(json.dumps(record) + "\n")
    said = f"{figures.events_per_s:,.0f} events/s, {figures.cpu_us_per_event:,.1f} us; {verdict.detail if verdict else problem or 'not checked in this run'}"
    bench.bar.console.print(f"round {index + 1}  {peer.title}: {said}")


def attempt(result: report.Result, console: Console, work: Callable[[], None]) -> bool:
    """Do it; what goes wrong is noted and said, and the others go on."""
    try:
        work()
    except NotInstalledError as error:
        problem = f"cannot be installed here: {error}"
    except (PeerFailedError, subprocess.TimeoutExpired, KeyError, ValueError, RuntimeError) as error:
        problem = f"failed: {type(error).__name__}: {error}"
    else:
        return True
    if problem not in result.problems:
        result.problems.append(problem)
        console.print(f"NOT MEASURED  {result.peer.title}: {problem}", style="bold red", markup=False)
    return False


def main(
    peers: Annotated[str, typer.Option(help="Which ones, separated by commas; all by default.")] = "",
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 3,
    events: Annotated[int, typer.Option(min=1000, help="Events in the topic.")] = 7_000_000,
    devices: Annotated[int, typer.Option(min=1, help="Devices that send them.")] = 10_000,
    seconds: Annotated[float, typer.Option(min=2, help="How long each is measured, from its first event on.")] = 40.0,
    java: Annotated[str, typer.Option(help="Java that runs the Java peers.")] = "java",
    json_output: Annotated[bool, typer.Option("--json", help="Print the rounds as JSON lines instead of a table.")] = False,
    list_peers: Annotated[bool, typer.Option("--list", help="Show the peers and stop.")] = False,
) -> None:
    """Measure this product beside its peers, on this machine."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    console = Console(stderr=json_output, width=None if sys.stdout.isatty() else 160)
    if list_peers:
        for peer in (PEERS_BY_NAME | EXTRA_PEERS).values():
            console.print(f"{peer.name:28}{peer.title}; {peer.setup}", markup=False)
        return
    chosen = _choose(peers)
    cache = default_directory()
    cache.mkdir(parents=True, exist_ok=True)
    results = {peer.name: report.Result(peer) for peer in chosen}
    target = RESULTS / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    target.mkdir(parents=True)
    shape = Shape(events, devices)
    with tempfile.TemporaryDirectory(prefix="run-", dir=cache) as directory, _progress_bar(console) as bar:
        stack = EmbeddedStack(Path(directory) / "stack", Ports.free(), servers=frozenset({"kafka"}))
        asyncio.run(stack.start())
        try:
            bench = _set_up(stack, Path(directory), shape, seconds, java, bar, cache / "logs", any(peer.bounded for peer in chosen))
            _run_all(bench, chosen, rounds, results, target / "rounds.jsonl")
        finally:
            asyncio.run(stack.stop())
    facts = report.machine_facts(java) | _work_facts(shape, rounds, seconds)
    report.write(target, list(results.values()), facts, title="The work, beside the peers")
    if json_output:
        sys.stdout.write((target / "rounds.jsonl").read_text() if (target / "rounds.jsonl").exists() else "")
    else:
        report.show(console, list(results.values()), "The same work, the same broker, the same events")
    console.print(f"written to {target}")
    if not all(each.good for each in results.values()):
        raise typer.Exit(1)


def _progress_bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[said]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def _set_up(
    stack: EmbeddedStack, directory: Path, shape: Shape, seconds: float, java: str, bar: Progress, logs: Path, checks: bool
) -> Bench:
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    environments = Environments(default_directory(), java, lambda what: bar.console.print(f"installing: {what}"))
    dataset, check_dataset = Dataset(shape), Dataset(Shape(CHECK_EVENTS, CHECK_DEVICES, shape.partitions))
    task = bar.add_task("loading the events", total=shape.events, said="")
    load(dataset, stack.kafka_bootstrap, TELEMETRY_TOPIC, lambda done: bar.update(task, completed=done, said=f"{done:,}"))
    if checks:
        load(check_dataset, stack.kafka_bootstrap, CHECK_TOPIC)
    bar.update(task, visible=False)
    return Bench(stack, environments, dataset, check_dataset, directory, seconds, bar, logs)


def _work_facts(shape: Shape, rounds: int, seconds: float) -> dict[str, str]:
    return {
        "events": f"{shape.events:,} of {shape.devices:,} devices in {shape.partitions} partitions, five metrics each, about 250 bytes",
        "work": "count, sum, min, max, last per device and metric, over all time and per minute of event time, in a fault-tolerant store",
        "measured": f"{rounds} rounds in turned order, {seconds:.0f} s each from the first event on, the first fifth left out",
        "broker": "Apache Kafka 4.3, one node, on the same machine",
    }


def run() -> None:
    """Entry point."""
    typer.run(main)
