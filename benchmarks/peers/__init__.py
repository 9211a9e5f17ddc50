"""The peers: what each one is, what starts it, how far it is, and who can tell whether its result is right."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import check
from benchmarks.environments import PEERS, Environments

SUPPORT = PEERS / "support"
_OURS_PARTITIONS = "4"
_FLINK_OPENS = tuple(f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in ("util", "lang", "time"))


@dataclass(frozen=True, slots=True)
class Launch:
    """One run of a peer.

    Attributes:
        run_id: Consumer group, and prefix of whatever topics it makes.
        directory: Its state, made for this run.
        ports: One for each instance.
        output: Where the results go when the topic is to be read to its end, otherwise None.
    """

    run_id: str
    broker: str
    topic: str
    directory: Path
    ports: Sequence[int]
    environments: Environments
    output: Path | None = None

    def progress_file(self, instance: int) -> Path:
        return self.directory / f"progress-{instance}"

    def variables(self, instance: int) -> dict[str, str]:
        """What every peer is told through its environment."""
        told = {
            "BENCH_RUN": self.run_id,
            "BENCH_BROKER": self.broker,
            "BENCH_TOPIC": self.topic,
            "BENCH_STATE": str(self.directory / "state"),
            "BENCH_PROGRESS": str(self.progress_file(instance)),
            "BENCH_PORT": str(self.ports[instance]),
            "PYTHONPATH": str(SUPPORT),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if self.output is not None:
            told["BENCH_OUTPUT"] = str(self.output)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BENCH_", "EMS_", "KAFKA_", "PYTHON"))}
        return inherited | told


Command = Callable[[Launch, int], list[str]]


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that does the work.

    Attributes:
        name: For the command line.
        title: For tables.
        setup: How it is set up, in one line.
        versions: What it runs on.
        command: Of one instance; installs what it needs first, and raises `NotInstalledError`.
        directory: Where it is started.
        variables: What it is told besides what every peer is told.
        before: Commands that run to their end before the first instance.
        instances: How many processes share the work.
        counts_by_group: How far it is is read from the offsets of its group, not from a file.
        reader: Reads its result after a measured run; None when it cannot be read from outside.
        bounded: Its result is checked in a run of its own over a smaller topic.
        same_work: Whether it does the whole work, and just that.
    """

    name: str
    title: str
    setup: str
    versions: str
    command: Command
    directory: Path
    variables: Callable[[Launch, int], Mapping[str, str]] = lambda _launch, _instance: {}
    before: Callable[[Launch], list[list[str]]] = lambda _launch: []
    instances: int = 1
    counts_by_group: bool = False
    reader: check.Reader | None = None
    bounded: bool = False
    same_work: bool = True


def _ours(name: str, title: str, setup: str, program: Sequence[str], *, instances: int = 1, same_work: bool = False) -> Peer:
    def variables(launch: Launch, instance: int) -> dict[str, str]:
        return {
            "EMS_KAFKA_BOOTSTRAP_SERVERS": launch.broker,
            "EMS_APPLICATION_ID": launch.run_id,
            "EMS_PARTITIONS": _OURS_PARTITIONS,
            "EMS_DATA_DIR": str(launch.directory / "state"),
            "EMS_WORKER_ID": f"worker-{instance}",
            "EMS_WORKER_PORT": str(launch.ports[instance]),
            "PYTHONPATH": str(PEERS.parent.parent),
        }

    return Peer(
        name,
        title,
        setup,
        "this repository",
        command=lambda _launch, _instance: [sys.executable, *program],
        directory=PEERS.parent.parent,
        variables=variables,
        before=lambda _launch: [[sys.executable, "-m", "benchmarks.topics"]],
        instances=instances,
        counts_by_group=True,
        reader=check.ours,
        same_work=same_work,
    )


def _python(name: str, title: str, setup: str, versions: str, home: str, arguments: Sequence[str], **more: object) -> Peer:
    def command(launch: Launch, _instance: int) -> list[str]:
        filled = [argument.replace("STATE", str(launch.directory / "state")) for argument in arguments]
        return [str(launch.environments.python(home)), *filled]

    return Peer(name, title, setup, versions, command, PEERS / home, **more)


def _java(name: str, title: str, setup: str, versions: str, module: str, main: str, options: Sequence[str], **more: object) -> Peer:
    def command(launch: Launch, _instance: int) -> list[str]:
        return [
            launch.environments.java,
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            *options,
            "-cp",
            launch.environments.class_path(module),
            main,
        ]

    return Peer(name, title, setup, versions, command, PEERS / "java", **more)


@dataclass(frozen=True, slots=True)
class _Streams:
    """A configuration of Kafka Streams; what is not given is its default."""

    suffix: str
    title: str
    setup: str
    variables: dict[str, str] = field(default_factory=dict)

    def peer(self) -> Peer:
        return _java(
            f"kafka-streams-{self.suffix}",
            f"Kafka Streams, {self.title}",
            self.setup,
            "Kafka Streams 4.3.0",
            "kafka-streams",
            "bench.streams.Work",
            ["-Xmx1g"],
            variables=lambda _launch, _instance: self.variables,
            reader=check.kafka_streams,
        )


_BINARY = {"BENCH_STATE_FORMAT": "binary"}
_LARGE_CACHE = {"BENCH_CACHE_BYTES": str(256 * 1024 * 1024), "BENCH_COMMIT_MS": "5000"}
_STREAMS = (
    _Streams("json", "JSON state", "10 MB cache, commit every 30 s"),
    _Streams("json-2-threads", "JSON state, 2 threads", "10 MB cache, commit every 30 s", {"BENCH_THREADS": "2"}),
    _Streams("json-large-cache", "JSON state, large cache", "256 MB cache, commit every 5 s", _LARGE_CACHE),
    _Streams("binary", "binary state", "10 MB cache, commit every 30 s", _BINARY),
    _Streams("binary-2-threads", "binary state, 2 threads", "10 MB cache, commit every 30 s", _BINARY | {"BENCH_THREADS": "2"}),
    _Streams("binary-large-cache", "binary state, large cache", "256 MB cache, commit every 5 s", _BINARY | _LARGE_CACHE),
    _Streams("binary-1s", "binary state, durable each second", "10 MB cache, commit every 1 s", _BINARY | {"BENCH_COMMIT_MS": "1000"}),
    _Streams(
        "binary-exactly-once",
        "binary state, exactly once",
        "exactly_once_v2, 10 MB cache, commit every 1 s",
        _BINARY | {"BENCH_GUARANTEE": "exactly_once_v2", "BENCH_COMMIT_MS": "1000"},
    ),
)

PEERS_BY_NAME: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        # First, so that it and not one of those that are compared finds the broker cold.
        _python(
            "floor",
            "floor: read and parse JSON, no state",
            "C client, orjson; nothing is computed or kept",
            "confluent-kafka 2.16.1",
            "floor",
            ["app.py"],
            same_work=False,
        ),
        _ours(
            "ours",
            "EMS Streams worker, as shipped",
            "all agents: status, notifications and sites besides the aggregates; windows published as they close; exactly once, durable every two seconds",
            ["-m", "ems_streams", "worker"],
        ),
        _ours(
            "ours-aggregates",
            "EMS Streams worker, aggregates only",
            "the agent that does the work of the peers; keeps the samples of windows, and publishes none, as they do not; exactly once, durable every two seconds",
            [str(PEERS / "ours" / "aggregates_only.py")],
            same_work=True,
        ),
        *(configuration.peer() for configuration in _STREAMS),
        _java(
            "flink",
            "Flink",
            "RocksDB, checkpoint every 10 s, parallelism 1",
            "Flink 2.0.0, Kafka connector 4.0.0",
            "flink",
            "bench.flink.Work",
            ["-Xmx2g", *_FLINK_OPENS],
            bounded=True,
        ),
        _python("quix", "Quix Streams", "at-least-once, commit every 5 s", "Quix Streams 3.28.1", "quix", ["app.py"], reader=check.quix),
        _python(
            "bytewax",
            "Bytewax",
            "snapshot every 10 s",
            "Bytewax 0.21.1",
            "bytewax",
            ["-m", "bytewax.run", "app:flow", "-r", "STATE", "-s", "10", "-b", "0"],
            before=lambda launch: [
                [str(launch.environments.python("bytewax")), "-m", "bytewax.recovery", str(launch.directory / "state"), "1"]
            ],
            bounded=True,
        ),
        _python(
            "faust",
            "Faust, idiomatic",
            "agent, Record, two tables, rocksdict",
            "faust-streaming 0.15.3",
            "faust",
            ["-m", "faust", "-A", "app", "worker", "-l", "warn"],
            reader=check.faust,
        ),
        _python(
            "faust-tuned",
            "Faust, tuned",
            "raw bytes, orjson, uvloop, plain tables, 50 ms linger",
            "faust-streaming 0.15.3",
            "faust",
            ["-m", "faust", "--loop", "uvloop", "-A", "tuned", "worker", "-l", "warn"],
            reader=check.faust,
        ),
    )
}

EXTRA_PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        _ours(
            "ours-2-workers",
            "EMS Streams, two workers, as shipped",
            "all agents in each; windows published as they close; exactly once, durable every two seconds",
            ["-m", "ems_streams", "worker"],
            instances=2,
        ),
        _ours(
            "ours-aggregates-2-workers",
            "EMS Streams, two workers, aggregates only",
            "keeps the samples of windows, and publishes none; exactly once, durable every two seconds",
            [str(PEERS / "ours" / "aggregates_only.py")],
            instances=2,
            same_work=True,
        ),
    )
}
"""Run only when named."""
