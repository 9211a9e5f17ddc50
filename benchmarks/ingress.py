"""`make bench-ingress`: messages that wait in a QoS 1 session, through our ingress and through other bridges, into Kafka.

A run: the bridge subscribes and gets one message of every device, and stops; the messages are published, and wait; the bridge starts
again, and is measured until Kafka has them. Each run has an MQTT broker of its own.
"""

import asyncio
import contextlib
import dataclasses
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import structlog
import typer
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from rich.console import Console

from benchmarks import report
from benchmarks.bridges import BRIDGED_TOPIC, BRIDGES
from benchmarks.check import Verdict
from benchmarks.dataset import METRICS, TELEMETRY_TOPIC
from benchmarks.environments import Environments, default_directory
from benchmarks.measure import Figures, FileProgress, Instance, PeerFailedError, Progress, stop, watch
from benchmarks.mqtt_server import described, mqtt_server
from benchmarks.peers import Launch, Peer
from benchmarks.run import RESULTS, attempt, prepare
from ems_streams.dev.ports import Ports
from ems_streams.dev.stack import EmbeddedStack
from ems_streams.mqtt.publisher import MqttPublisher

PARTITIONS = 4
SITES = 50
RUN_TIMEOUT_S = 300.0
SETTLE_S = 2.0
PAUSE_S = 3.0
_PUBLISHED_AT_ONCE = 2000


class EndOffsets(Progress):
    """Records in a topic beyond those that were there at first."""

    def __init__(self, broker: str, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": broker, "group.id": "bench-offsets", "log_level": 2})
        self._wanted = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        self._last = 0
        self._before = 0

    def restart(self) -> None:
        """What is there now does not count."""
        self._before += self.read()

    def read(self) -> int:
        # A topic that has just been made may have no leader yet.
        with contextlib.suppress(KafkaException):
            self._last = sum(self._consumer.get_watermark_offsets(tp, timeout=5)[1] for tp in self._wanted)
        return self._last - self._before

    def close(self) -> None:
        self._consumer.close()


class Counted(FileProgress):
    """What a bridge without Kafka has counted, from when it was started last."""

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__(paths)
        self._paths = paths

    def restart(self) -> None:
        """A new process counts from zero by itself; until then nothing counts."""
        for each in self._maps:
            each[:] = bytes(len(each))


@dataclasses.dataclass(slots=True)
class IngressBench:
    """Everything that the runs share."""

    stack: EmbeddedStack
    environments: Environments
    directory: Path
    messages: int
    devices: int
    logs: Path

    def measure(self, bridge: Peer) -> tuple[Figures, Verdict]:
        """One run; raises `NotInstalledError` or `PeerFailedError`."""
        run_id = f"bench-{bridge.name}-{time.time_ns() // 1_000_000 % 10**8}"
        directory = self.directory / run_id
        (directory / "state").mkdir(parents=True)
        ports = Ports.free()
        topic = TELEMETRY_TOPIC if bridge.name == "ours" else BRIDGED_TOPIC
        launch = Launch(run_id, self.stack.kafka_bootstrap, topic, directory, (ports.ingress, ports.mqtt), self.environments)
        try:
            with mqtt_server(directory / "mqtt", ports) as (port, mqtt_pid):
                return self._measure(bridge, launch, port, mqtt_pid)
        finally:
            self._tidy()
            shutil.rmtree(directory, ignore_errors=True)

    def _measure(self, bridge: Peer, launch: Launch, port: int, mqtt_pid: int) -> tuple[Figures, Verdict]:
        command = bridge.command(launch, 0)
        self._make_topic(launch)
        for before in bridge.before(launch):
            prepare(bridge, launch, before)
        progress = Counted([launch.progress_file(0)]) if bridge.name == "floor" else EndOffsets(launch.broker, launch.topic)
        running: list[Instance] = []
        try:
            running = [self._start(bridge, launch, command)]
            asyncio.run(self._introduce(port, progress, running[0]))
            if not stop(running):
                raise PeerFailedError("did not end in time when asked to, before the messages were published")
            progress.restart()
            asyncio.run(_publish(port, _messages(self.messages, self.devices)))
            running = [self._start(bridge, launch, command)]
            kafka_pid = self.stack.kafka.pid or 0
            figures = watch(running, progress, kafka_pid, seconds=RUN_TIMEOUT_S, events=self.messages, apparatus=(mqtt_pid,))
            return figures, self._verdict(_settled(progress))
        finally:
            stop(running)
            progress.close()

    def _start(self, bridge: Peer, launch: Launch, command: list[str]) -> Instance:
        environment = launch.variables(0) | bridge.variables(launch, 0)
        return Instance(command, environment, bridge.directory, self.logs / f"{launch.run_id}.log")

    async def _introduce(self, port: int, progress: Progress, instance: Instance) -> None:
        """Return when the bridge has subscribed and every device has been heard of."""
        deadline_s = time.monotonic() + 60
        while progress.read() == 0:
            instance.check()
            # A hundred, since the count in a file may lag by that many.
            await _publish(port, _messages(100, self.devices))
            await asyncio.sleep(0.5)
            if time.monotonic() > deadline_s:
                raise PeerFailedError(f"passes no message on after 60 s: {instance.log_tail()}")
        await _publish(port, _messages(self.devices, self.devices, in_turn=True))
        await asyncio.to_thread(_settled, progress)

    def _verdict(self, arrived: int) -> Verdict:
        # Counts in files are written by hundreds.
        if arrived == self.messages or arrived == self.messages - self.messages % 100:
            return Verdict(True, f"all {self.messages:,} arrived, none twice")
        if arrived > self.messages:
            return Verdict(True, f"all arrived or more: {arrived - self.messages:,} twice")
        return Verdict(False, f"WRONG: {self.messages - arrived:,} of {self.messages:,} missing")

    def _make_topic(self, launch: Launch) -> None:
        if launch.topic == BRIDGED_TOPIC:
            admin = AdminClient({"bootstrap.servers": launch.broker, "log_level": 2})
            for future in admin.create_topics([NewTopic(BRIDGED_TOPIC, PARTITIONS, 1)]).values():
                future.result(30)

    def _tidy(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.stack.kafka_bootstrap, "log_level": 2})
        names = [name for name in admin.list_topics(timeout=30).topics if not name.startswith("__")]
        for future in admin.delete_topics(names).values() if names else ():
            future.result(30)


def _messages(count: int, devices: int, *, in_turn: bool = False) -> Iterator[tuple[str, bytes]]:
    rnd = random.Random(3)
    for index in range(count):
        device = index if in_turn else rnd.randrange(devices)
        metrics = {name: round(20 + rnd.random() * 60, 1) for name in METRICS}
        payload = {"telemetryData": metrics, "timestamp": "2025-10-04T10:15:00Z", "messageId": f"{index:012d}"}
        yield f"sites/{device % SITES}/devices/INV-{device:05d}/telemetry", json.dumps(payload, separators=(",", ":")).encode()


async def _publish(port: int, messages: Iterator[tuple[str, bytes]]) -> None:
    async with MqttPublisher(f"mqtt://127.0.0.1:{port}", "bench-publisher", window=_PUBLISHED_AT_ONCE) as publisher:
        await publisher.wait_connected()
        pending: set[asyncio.Task[None]] = set()
        for topic, payload in messages:
            pending.add(asyncio.create_task(publisher.publish(topic, payload)))
            if len(pending) >= _PUBLISHED_AT_ONCE:
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(*pending)


def _settled(progress: Progress) -> int:
    """The count when it has not moved for a while."""
    last, since_s = progress.read(), time.monotonic()
    while time.monotonic() - since_s < SETTLE_S:
        time.sleep(0.1)
        if (now := progress.read()) != last:
            last, since_s = now, time.monotonic()
    return last


def main(
    bridges: Annotated[str, typer.Option(help="Which ones, separated by commas; all by default.")] = "",
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 3,
    messages: Annotated[int, typer.Option(min=1000, help="Messages that wait.")] = 300_000,
    devices: Annotated[int, typer.Option(min=1, help="Devices that send them.")] = 10_000,
    java: Annotated[str, typer.Option(help="Java that runs the Java bridge.")] = "java",
    json_output: Annotated[bool, typer.Option("--json", help="Print the rounds as JSON lines instead of a table.")] = False,
) -> None:
    """Measure our ingress beside other ways from MQTT to Kafka, on this machine."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    console = Console(stderr=json_output, width=None if sys.stdout.isatty() else 160)
    names = [name.strip() for name in bridges.split(",") if name.strip()] or list(BRIDGES)
    unknown = [name for name in names if name not in BRIDGES]
    if unknown:
        raise typer.BadParameter(f"no bridge {unknown[0]!r}; there are {', '.join(BRIDGES)}", param_hint="--bridges")
    cache = default_directory()
    logs = cache / "logs-ingress"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    results = {name: report.Result(BRIDGES[name]) for name in names}
    target = RESULTS / (datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ") + "-ingress")
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=cache) as directory:
        stack = EmbeddedStack(Path(directory) / "stack", Ports.free(), servers=frozenset({"kafka"}))
        asyncio.run(stack.start())
        try:
            environments = Environments(cache, java, lambda what: console.print(f"installing: {what}"))
            bench = IngressBench(stack, environments, Path(directory), messages, devices, logs)
            for index in range(rounds):
                for name in names if index % 2 == 0 else reversed(names):
                    attempt(results[name], console, lambda name=name, index=index: _round(bench, results[name], index, target, console))
                    time.sleep(PAUSE_S)
        finally:
            asyncio.run(stack.stop())
    facts = report.machine_facts(java) | _work_facts(messages, devices, rounds)
    report.write(target, list(results.values()), facts, title="MQTT to Kafka")
    if json_output:
        sys.stdout.write((target / "rounds.jsonl").read_text() if (target / "rounds.jsonl").exists() else "")
    else:
        report.show(console, list(results.values()), "QoS 1, waiting messages, into Kafka")
    console.print(f"written to {target}")
    if not all(each.good for each in results.values()):
        raise typer.Exit(1)


def _round(bench: IngressBench, result: report.Result, index: int, target: Path, console: Console) -> None:
    console.print(f"round {index + 1}  {result.peer.title} ...")
    figures, verdict = bench.measure(result.peer)
    result.rounds.append(figures)
    result.verdicts.append(verdict)
    record = {"round": index + 1, "peer": result.peer.name, **dataclasses.asdict(figures), "result": verdict.detail}
    with (target / "rounds.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    console.print(
        f"round {index + 1}  {result.peer.title}: {figures.events_per_s:,.0f}/s, {figures.cpu_us_per_event:,.1f} us; {verdict.detail}"
    )


def _work_facts(messages: int, devices: int, rounds: int) -> dict[str, str]:
    return {
        "messages": f"{messages:,} of {devices:,} devices wait in a QoS 1 session; then the bridge is started",
        "MQTT broker": described(),
        "measured": f"{rounds} rounds in turned order, until Kafka has them, the first fifth left out",
        "Kafka": "Apache Kafka 4.3, one node, on the same machine",
    }


if __name__ == "__main__":
    typer.run(main)
