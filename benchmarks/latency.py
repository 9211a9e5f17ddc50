"""`make bench-latency`: from an MQTT publish to the worker's live table, and to the gateway's WebSocket, under load.

One ingress, one worker and one gateway as real processes; a load of telemetry at each rate from a process of its own; probes of
`latency_probes.py` meanwhile.
"""

import asyncio
import dataclasses
import gc
import json
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import psutil
import structlog
import typer
import uvloop
from confluent_kafka import KafkaException
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks import latency_report
from benchmarks.environments import default_directory
from benchmarks.latency_load import LoadResult
from benchmarks.latency_probes import PROBES_PER_S, Outcome, SocketProbes, TableProbes, http_session
from benchmarks.latency_processes import APPLICATION, READY_TIMEOUT_S, Deployment, deployed
from benchmarks.latency_report import Cost, Flow, Round, latencies
from benchmarks.latency_stages import PARTITIONS, SOCKET_STAGES, TABLE_STAGES, TOPICS, Log, stages
from benchmarks.measure import FileProgress, Instance, PeerFailedError, stop
from benchmarks.mqtt_server import described
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from ems_streams.mqtt.publisher import MqttPublisher

RESULTS = Path(__file__).parent / "results"
WARM_UP_S = 6.0
TAIL_S = 1.0
"""The load goes on for a little longer than what is measured."""
LOST_AFTER_S = 30.0
"""What is not seen so long after the load has ended is lost."""
DRAINED_TIMEOUT_S = 90.0
CALIBRATION_POLLS = 1000
_LOAD_STARTS_WITHIN_S = 15.0


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """Counts at a moment: messages of the load acknowledged by the MQTT broker, telemetry in Kafka, and durably done with; what waits
    between MQTT and Kafka."""

    at_s: float
    acknowledged: int
    arrived: int
    done: int
    waiting: int


@dataclasses.dataclass(slots=True)
class Bench:
    """What the rounds share."""

    deployment: Deployment
    log: Log
    table: TableProbes
    socket: SocketProbes
    bar: Progress
    devices: int
    seconds: float

    async def measure(self, rate: int) -> Round:
        """One round; the processes are as they were left by the round before it, with nothing left to do."""
        begins = await asyncio.to_thread(lambda: {topic: self.log.ends(topic) for topic in TOPICS})
        before = sum(begins[DEVICE_TELEMETRY]) - self.table.published
        path = self.deployment.directory / f"progress-{rate}-{time.time_ns()}"
        progress = FileProgress([path])
        task = self.bar.add_task(f"{rate:,} msg/s", total=WARM_UP_S + self.seconds, said="warming up")
        load = self._start_load(rate, path)
        self.deployment.pids["load"] = load.pid
        try:
            watching = asyncio.create_task(self._show(task, progress, rate))
            await _until_begun(load, progress)
            await asyncio.gather(self.table.run(WARM_UP_S), self.socket.run(WARM_UP_S))
            flow, cost, outcomes = await self._window(progress, before)
            result = await asyncio.to_thread(_load_result, load)
            await asyncio.gather(self.table.finish(LOST_AFTER_S), self.socket.finish(LOST_AFTER_S))
            drained_s = await self._drained()
        finally:
            watching.cancel()
            stop([load])
            del self.deployment.pids["load"]
            progress.close()
            self.bar.update(task, visible=False)
        return await asyncio.to_thread(self._summed_up, rate, flow, cost, outcomes, result, drained_s, begins)

    def _start_load(self, rate: int, progress: Path) -> Instance:
        options = {"port": self.deployment.ports.mqtt, "rate": rate, "devices": self.devices, "warm-up": WARM_UP_S}
        options["seconds"] = self.seconds + TAIL_S
        arguments = [f"--{name}={value}" for name, value in options.items()]
        return self.deployment.instance(f"load-{rate}", ["-m", "benchmarks.latency_load", *arguments, f"--progress={progress}"])

    async def _window(self, progress: FileProgress, before: int) -> tuple[Flow, Cost, tuple[Outcome, Outcome]]:
        """The stretch that is measured."""
        first = await asyncio.to_thread(self._look, progress, before)
        cpu, busy_s, begun_s = self.deployment.cpu_s(), _machine_busy_s(), time.monotonic()
        outcomes = await asyncio.gather(self.table.run(self.seconds), self.socket.run(self.seconds))
        took_s = time.monotonic() - begun_s
        spent = {name: value - cpu[name] for name, value in self.deployment.cpu_s().items()}
        last = await asyncio.to_thread(self._look, progress, before)
        flow = Flow(
            seconds=last.at_s - first.at_s,
            published=last.acknowledged - first.acknowledged,
            ingested=last.arrived - first.arrived,
            folded=last.done - first.done,
            mqtt_before=first.waiting,
            kafka_before=first.arrived - first.done,
            mqtt_after=last.waiting,
            kafka_after=last.arrived - last.done,
        )
        return flow, Cost(spent, _machine_busy_s() - busy_s, outcomes[0].polls / took_s), outcomes

    def _look(self, progress: FileProgress, before: int) -> "Look":
        """Where everything is; `before` is what Kafka had at the beginning, less the probes of the rounds before."""
        done = self.log.committed(DEVICE_TELEMETRY)
        arrived = sum(self.log.ends(DEVICE_TELEMETRY))
        at_s, acknowledged = time.monotonic(), progress.read()
        return Look(at_s, acknowledged, arrived, done, max(acknowledged + self.table.published - (arrived - before), 0))

    async def _drained(self) -> float | None:
        """Seconds until the worker is durably done with everything; None when it takes too long."""
        begun_s = time.monotonic()
        last = -1
        while time.monotonic() - begun_s < DRAINED_TIMEOUT_S:
            arrived, done = await asyncio.to_thread(lambda: (sum(self.log.ends(DEVICE_TELEMETRY)), self.log.committed(DEVICE_TELEMETRY)))
            if arrived == done == last:
                return time.monotonic() - begun_s
            last = arrived
            await asyncio.sleep(0.5)
        return None

    def _summed_up(
        self,
        rate: int,
        flow: Flow,
        cost: Cost,
        outcomes: tuple[Outcome, Outcome],
        load: LoadResult,
        drained_s: float | None,
        begins: Mapping[str, Sequence[int]],
    ) -> Round:
        table, socket = outcomes
        times = {
            topic: self.log.times(topic, begins[topic], "PROBE-TABLE" if topic == DEVICE_TELEMETRY else "PROBE-SOCKET") for topic in TOPICS
        }
        return Round(
            rate=rate,
            flow=flow,
            cost=cost,
            load=load,
            drained_s=drained_s,
            table=latencies(table, stages(table.seen, TABLE_STAGES, times)),
            socket=latencies(socket, stages(socket.seen, SOCKET_STAGES, times)),
            trouble=self.socket.closed,
        )

    async def _show(self, task: TaskID, progress: FileProgress, rate: int) -> None:
        """Once a second and no more often: drawing takes time from the probes."""
        begun_s, before = time.monotonic(), 0
        while True:
            await asyncio.sleep(1.0)
            count = progress.read()
            seen = len(self.table.outcome.seen), len(self.socket.outcome.seen)
            said = f"{count - before:,}/s of {rate:,}/s; {seen[0]:,} and {seen[1]:,} probes"
            self.bar.update(task, completed=min(time.monotonic() - begun_s, WARM_UP_S + self.seconds), said=said)
            self.bar.refresh()
            before = count


async def _until_begun(load: Instance, progress: FileProgress) -> None:
    deadline_s = time.monotonic() + _LOAD_STARTS_WITHIN_S
    while progress.read() == 0:
        load.check()
        if time.monotonic() > deadline_s:
            raise PeerFailedError(f"the load does not begin: {load.log_tail()}")
        await asyncio.sleep(0.02)


def _load_result(load: Instance) -> LoadResult:
    load.wait(LOST_AFTER_S)
    return LoadResult(**json.loads(load.log_file.read_text().splitlines()[-1]))


def _machine_busy_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


async def _cost_of_a_poll(deployment: Deployment, probes: TableProbes) -> float:
    """CPU microseconds of the worker per look at its table, without any load."""
    await probes.run(0.1)
    await probes.finish(LOST_AFTER_S)
    before = deployment.cpu_s()["worker"]
    begun_s = time.monotonic()
    await asyncio.sleep(1.0)
    idle_s = (deployment.cpu_s()["worker"] - before) / (time.monotonic() - begun_s)
    before, begun_s = deployment.cpu_s()["worker"], time.monotonic()
    for _ in range(CALIBRATION_POLLS):
        await probes.value(probes.serial_numbers[0])
        await asyncio.sleep(0.001)
    took_s = time.monotonic() - begun_s
    return (deployment.cpu_s()["worker"] - before - idle_s * took_s) / CALIBRATION_POLLS * 1e6


@asynccontextmanager
async def _bench(deployment: Deployment, bar: Progress, devices: int, seconds: float) -> AsyncIterator[Bench]:
    url = f"mqtt://127.0.0.1:{deployment.ports.mqtt}"
    log = Log(deployment.broker, APPLICATION)
    try:
        async with MqttPublisher(url, "bench-probes") as publisher, http_session() as session:
            await publisher.wait_connected()
            table = TableProbes(publisher, session, deployment.worker_url)
            socket = SocketProbes(publisher, session, deployment.gateway_url)
            connected = asyncio.Event()
            listening = asyncio.create_task(socket.listen(connected))
            try:
                async with asyncio.timeout(READY_TIMEOUT_S):
                    await connected.wait()
                yield Bench(deployment, log, table, socket, bar, devices, seconds)
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
    finally:
        log.close()


async def _run_all(
    deployment: Deployment, bar: Progress, rates: Sequence[int], devices: int, seconds: float, target: Path
) -> tuple[list[Round], str]:
    """The rounds, and what kept the rest from being measured."""
    rounds: list[Round] = []
    problem = ""
    async with _bench(deployment, bar, devices, seconds) as bench:
        poll_us = await _cost_of_a_poll(deployment, bench.table)
        # What is there now stays; a collection in the middle would be taken for latency.
        gc.collect()
        gc.freeze()
        for rate in rates:
            try:
                measured = await bench.measure(rate)
            except (PeerFailedError, psutil.Error, KafkaException) as error:
                problem = f"{rate:,} msg/s failed: {error}"
                break
            measured.cost.poll_us = poll_us
            rounds.append(measured)
            with (target / "rounds.jsonl").open("a") as file:
                file.write(json.dumps(dataclasses.asdict(measured)) + "\n")
            bar.console.print(latency_report.line(measured), markup=False, highlight=False)
            if measured.drained_s is None:
                problem = f"the backlog of {rate:,} msg/s was not worked off within {DRAINED_TIMEOUT_S:.0f} s"
                break
    if problem:
        bar.console.print(problem, style="bold red", markup=False)
    return rounds, problem


def _rates(text: str) -> list[int]:
    parts = [part.strip().replace("_", "") for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() and 0 < int(part) <= 500_000 for part in parts):
        raise typer.BadParameter("must be messages per second, whole numbers up to 500000 separated by commas", param_hint="--rates")
    return [int(part) for part in parts]


def main(
    rates: Annotated[str, typer.Option(help="Messages per second, separated by commas; one round each.")] = "1000,5000,20000",
    seconds: Annotated[float, typer.Option(min=3, help="How long each is measured, after a warm-up of 6 s.")] = 30.0,
    devices: Annotated[int, typer.Option(min=1, max=100_000, help="Devices that send the load.")] = 1000,
    json_output: Annotated[bool, typer.Option("--json", help="Print the rounds as JSON lines instead of a table.")] = False,
) -> None:
    """Measure how long a message takes from MQTT to the live table and to the WebSocket, on this machine."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    console = Console(stderr=json_output, width=None if sys.stdout.isatty() else 160)
    wanted = _rates(rates)
    cache = default_directory()
    logs = cache / "logs-latency"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    target = RESULTS / (datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ") + "-latency")
    target.mkdir(parents=True)
    facts = latency_report.facts() | {
        "load": f"telemetry of {devices:,} devices, five metrics, QoS 1, one connection, from a process of its own",
        "probes": f"{PROBES_PER_S:.0f} a second of each kind, by a schedule, for {seconds:.0f} s after a warm-up of {WARM_UP_S:.0f} s",
        "processes": f"one ingress, one worker, one gateway; {PARTITIONS} partitions; all on this machine",
        "MQTT broker": described(),
        "Kafka": "Apache Kafka 4.3, one node",
    }
    with (
        tempfile.TemporaryDirectory(prefix="run-", dir=cache) as directory,
        _progress_bar(console) as bar,
        deployed(Path(directory), logs) as deployment,
    ):
        rounds, problem = uvloop.run(_run_all(deployment, bar, wanted, devices, seconds, target))
    latency_report.write(target, rounds, wanted, problem, facts)
    if json_output:
        sys.stdout.write((target / "rounds.jsonl").read_text() if rounds else "")
    else:
        latency_report.show(console, rounds, wanted, problem)
    console.print(f"written to {target}")
    if len(rounds) < len(wanted) or not all(each.complete for each in rounds):
        raise typer.Exit(1)


def _progress_bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, auto_refresh=False)


if __name__ == "__main__":
    typer.run(main)
