"""Recovery from the changelog with an empty state directory: our worker's, beside Faust's own of the same devices.

Each first works through a topic with one report of every device, and is stopped; then, round by round, its state directory is wiped and it
is started again, and its own log says when the recovery began and ended. The state that it ends with is compared with the events.
"""

import contextlib
import dataclasses
import functools
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import orjson
import psutil
from confluent_kafka import Consumer, TopicPartition

from benchmarks import scaling_stores
from benchmarks.check import SAMPLED_DEVICES, Observed, Verdict, compare
from benchmarks.dataset import TELEMETRY_TOPIC, Dataset, Shape
from benchmarks.environments import PEERS, NotInstalledError
from benchmarks.measure import SAMPLE_INTERVAL_S, Instance, PeerFailedError, ProcessTree, stop
from benchmarks.peers import PEERS_BY_NAME, Launch, Peer
from benchmarks.run import PAUSE_S, Bench
from benchmarks.scaling_runs import ALONE, FAILURES, Session, empty

COUNTED_BY = 100
"""Numbers of devices are multiples of it, since a peer says how far it is in such steps only."""

_FILL_TIMEOUT_S = 60.0
_FILL_EVENTS_PER_S_MIN = 400
_RECOVERY_TIMEOUT_S = 240.0
_FAUST_LINE = re.compile(r"^\[(\S+ \S+)\] .*?: (Restoring state from changelog|Done reading from changelog|Worker ready)", re.MULTILINE)


@dataclasses.dataclass(frozen=True, slots=True)
class Moments:
    """By a peer's own log, in seconds of the epoch: the recovery begins, all is in the store, events are taken again."""

    begun_at: float
    recovered_at: float
    ready_at: float


@dataclasses.dataclass(frozen=True, slots=True)
class Recovery:
    """One recovery.

    Attributes:
        keys: In the local store afterwards; ours has one for each device and one for each quarter of an hour of it that is
            closed in part, Faust's two tables one for each device and one for each window.
        records: In the changelog topics.
        recovery_s: From its beginning until all is in the store.
        to_ready_s: From its beginning until events are taken again.
        from_start_s: The same, from the start of the process.
        cpu_s: User and system time of the process from its start on.
        other_cores: What the rest of the machine took meanwhile, beside the broker and this process.
    """

    keys: int
    records: int
    recovery_s: float
    to_ready_s: float
    from_start_s: float
    cpu_s: float
    peak_mib: int
    other_cores: float


@dataclasses.dataclass(frozen=True, slots=True)
class Subject:
    """A peer whose recovery is measured: how it is started for that, and how its log and its store are read."""

    name: str
    title: str
    peer: Peer
    changelogs: tuple[str, ...]
    moments: Callable[[str], Moments | None]
    observed: Callable[[Path, Dataset], tuple[Observed, int]]


@dataclasses.dataclass(slots=True)
class Recoveries:
    """All of a subject with so many devices."""

    subject: Subject
    size: int
    rounds: list[Recovery] = dataclasses.field(default_factory=list)
    verdicts: list[Verdict] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)
    left_out: str | None = None

    @property
    def good(self) -> bool:
        measured = bool(self.rounds) and not self.problems and all(verdict.right for verdict in self.verdicts)
        return measured or self.left_out is not None

    @property
    def keys_per_s(self) -> float:
        return statistics.median(each.keys / each.recovery_s for each in self.rounds)

    @property
    def devices_per_s(self) -> float:
        return statistics.median(self.size / each.recovery_s for each in self.rounds)


def _our_moments(log: str) -> Moments | None:
    lines = [orjson.loads(line) for line in log.splitlines() if line.startswith("{") and line.endswith("}")]
    recovered = [line for line in lines if line["event"] == "recovered"]
    ready = [line for line in lines if line["event"] == "streams_run"]
    if not ready:
        return None
    recovered_at = _epoch_s(recovered[0]["timestamp"])
    return Moments(recovered_at - recovered[0]["took_s"], recovered_at, _epoch_s(ready[0]["timestamp"]))


def _faust_moments(log: str) -> Moments | None:
    first: dict[str, float] = {}
    for at, what in _FAUST_LINE.findall(log):
        first.setdefault(what.split()[0], _epoch_s(at.replace(",", ".")))
    return Moments(first["Restoring"], first["Done"], first["Worker"]) if len(first) == 3 else None


def _epoch_s(text: str) -> float:
    """The logs of both are in UTC here, whether they say so or not."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def _our_store(directory: Path, dataset: Dataset) -> tuple[Observed, int]:
    return scaling_stores.ours(directory, TELEMETRY_TOPIC, dataset.sampled(SAMPLED_DEVICES))


def _faust_store(directory: Path, dataset: Dataset) -> tuple[Observed, int]:
    return scaling_stores.faust(directory, {number: len(events) for number, events in enumerate(dataset.partitions)})


def _with(peer: Peer, command: Callable[[Launch, int], list[str]], more: dict[str, str]) -> Peer:
    return dataclasses.replace(peer, command=command, variables=lambda launch, instance: {**peer.variables(launch, instance), **more})


_OURS = Subject(
    "ours",
    "EMS Streams worker, aggregates only",
    _with(
        PEERS_BY_NAME[ALONE],
        lambda _launch, _instance: [sys.executable, str(PEERS / "ours" / "aggregates_recovery.py")],
        {"EMS_LOG_FORMAT": "json"},
    ),
    ("device-aggregates-changelog",),
    _our_moments,
    _our_store,
)
_FAUST = Subject(
    "faust",
    "Faust, idiomatic",
    _with(
        PEERS_BY_NAME["faust"],
        lambda launch, _instance: [str(launch.environments.python("faust")), "-m", "faust", "-A", "app", "worker", "-l", "info"],
        {"TZ": "UTC", "NO_COLOR": "1"},
    ),
    ("devices-changelog", "minutes-changelog"),
    _faust_moments,
    _faust_store,
)


class RecoveryBench(Bench):
    """The runs with one number of devices."""

    def launched(self, subject: Subject) -> AbstractContextManager[Launch]:
        """What all runs of a subject have in common; its topics are removed at the end."""
        return self._launch(subject.peer, TELEMETRY_TOPIC, None)

    def fill(self, subject: Subject, launch: Launch) -> None:
        """Let it work through the topic, and stop it; raises `PeerFailedError`."""
        events = self.dataset.shape.events
        progress = self._progress(subject.peer, launch)
        instances = self._start(subject.peer, launch)
        task = self.bar.add_task(f"filling {subject.title}", total=events, said="")
        deadline_s = time.monotonic() + _FILL_TIMEOUT_S + events / _FILL_EVENTS_PER_S_MIN
        try:
            while (done := progress.read()) < events:
                instances[0].check()
                if time.monotonic() > deadline_s:
                    raise PeerFailedError(f"has done {done:,} of {events:,} events only: {instances[0].log_tail()}")
                self.bar.update(task, completed=done, said=f"{done:,}")
                time.sleep(SAMPLE_INTERVAL_S)
        finally:
            orderly = stop(instances)
            progress.close()
            self.bar.update(task, visible=False)
        if not orderly:
            raise PeerFailedError("did not end in time when asked to, after it had made its changelog")
        verdict = self._verdict(subject.peer, launch)
        if verdict is not None and not verdict.right:
            raise PeerFailedError(f"its changelog is not right: {verdict.detail}")

    def recover(self, subject: Subject, launch: Launch, number: int) -> tuple[Recovery, Verdict]:
        """Wipe its state and start it again; raises `PeerFailedError`."""
        state = launch.directory / "state"
        empty(state)
        # It writes its count there, from nothing on.
        launch.progress_file(0).write_bytes(bytes(8))
        environment = launch.variables(0) | dict(subject.peer.variables(launch, 0))
        command = subject.peer.command(launch, 0)
        broker = ProcessTree(self.stack.kafka.pid or 0)
        before_s, started_at = _machine_busy_s() - broker.cpu_s() - time.process_time(), time.time()
        instance = Instance(command, environment, subject.peer.directory, self.log_directory / f"{launch.run_id}-recovery-{number}.log")
        tree = ProcessTree(instance.pid)
        try:
            moments = self._wait(subject, instance, tree, f"{subject.title} recovers, round {number}")
            cpu_s, took_s = tree.cpu_s(), time.time() - started_at
            others_s = _machine_busy_s() - broker.cpu_s() - time.process_time() - before_s - cpu_s
        finally:
            orderly = stop([instance])
        if not orderly:
            raise PeerFailedError("did not end in time when asked to, after its recovery")
        observed, keys = subject.observed(state, self.dataset)
        recovery = Recovery(
            keys=keys,
            records=self._records(subject, launch),
            recovery_s=moments.recovered_at - moments.begun_at,
            to_ready_s=moments.ready_at - moments.begun_at,
            from_start_s=moments.ready_at - started_at,
            cpu_s=cpu_s,
            peak_mib=tree.peak_mib,
            other_cores=others_s / took_s,
        )
        return recovery, compare(self.dataset, observed)

    def _wait(self, subject: Subject, instance: Instance, tree: ProcessTree, title: str) -> Moments:
        task = self.bar.add_task(title, total=None, said="")
        begun_s = time.monotonic()
        try:
            while True:
                instance.check()
                tree.cpu_s()
                moments = subject.moments(instance.log_file.read_text(errors="replace"))
                if moments is not None:
                    return moments
                waited_s = time.monotonic() - begun_s
                if waited_s > _RECOVERY_TIMEOUT_S:
                    raise PeerFailedError(f"not recovered after {waited_s:.0f} s: {instance.log_tail()}")
                self.bar.update(task, said=f"{waited_s:.0f} s")
                time.sleep(SAMPLE_INTERVAL_S)
        finally:
            self.bar.update(task, visible=False)

    def _records(self, subject: Subject, launch: Launch) -> int:
        """Offsets in its changelogs; with transactions their markers are among them."""
        consumer = Consumer({"bootstrap.servers": launch.broker, "group.id": "bench-records", "log_level": 2})
        try:
            wanted = [
                TopicPartition(f"{launch.run_id}-{name}", partition)
                for name in subject.changelogs
                for partition in range(self.dataset.shape.partitions)
            ]
            return sum(end - begin for begin, end in (consumer.get_watermark_offsets(each, timeout=30) for each in wanted))
        finally:
            consumer.close()


def measure_recovery(session: Session, counts: Sequence[int], faust_max: int) -> list[Recoveries]:
    """Both with each number of devices; Faust with at most `faust_max`."""
    found = []
    for count in counts:
        ours, faust = Recoveries(_OURS, count), Recoveries(_FAUST, count)
        found += [ours, faust]
        if count > faust_max:
            faust.left_out = "left out: to make this changelog takes Faust a millisecond per device; --faust-devices-max"
        with session.loaded(Shape(count, count)) as loaded:
            fields = {field.name: getattr(loaded, field.name) for field in dataclasses.fields(loaded)}
            _measure(session, RecoveryBench(**fields), [each for each in (ours, faust) if each.left_out is None])
    return found


def _measure(session: Session, bench: RecoveryBench, wanted: Sequence[Recoveries]) -> None:
    filled: list[tuple[Recoveries, Launch]] = []
    # All are open until the end: closing one removes every topic but the data.
    with contextlib.ExitStack() as launches:
        for each in wanted:
            launch = launches.enter_context(bench.launched(each.subject))
            if _attempt(session, each, functools.partial(bench.fill, each.subject, launch)):
                filled.append((each, launch))
        _rounds(session, bench, filled)


def _rounds(session: Session, bench: RecoveryBench, filled: Sequence[tuple[Recoveries, Launch]]) -> None:
    for number in range(1, session.rounds + 1):
        for each, launch in filled if number % 2 else reversed(filled):
            _attempt(session, each, functools.partial(_round, session, bench, each, launch, number))
            time.sleep(PAUSE_S)


def _round(session: Session, bench: RecoveryBench, each: Recoveries, launch: Launch, number: int) -> None:
    recovery, verdict = bench.recover(each.subject, launch, number)
    each.rounds.append(recovery)
    each.verdicts.append(verdict)
    session.note("recovery", each.size, number, peer=each.subject.name, **dataclasses.asdict(recovery), result=verdict.detail)
    session.say(
        f"recovery of {each.size:,} devices, round {number}, {each.subject.title}: {recovery.keys:,} keys in {recovery.recovery_s:.2f} s, "
        f"ready {recovery.from_start_s:.2f} s after its start; {verdict.detail}"
    )


def _attempt(session: Session, each: Recoveries, work: Callable[[], None]) -> bool:
    try:
        work()
    except (*FAILURES, NotInstalledError, scaling_stores.NoStoreError) as error:
        each.problems.append(f"{type(error).__name__}: {error}")
        session.note("recovery", each.size, 0, peer=each.subject.name, problem=each.problems[-1])
        session.say(f"NOT MEASURED  recovery of {each.size:,} devices, {each.subject.title}: {each.problems[-1]}", bad=True)
        return False
    return True


def _machine_busy_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)
