"""`python -m benchmarks.reads`: reads of devices over HTTP, at a steady rate, while telemetry flows; then one of two workers is killed and comes back.

Kafka, an MQTT broker, one ingress, two workers and one gateway as real processes. There is no PostgreSQL: windows come from the live tables, as they do for
what is asked for most. Every answer is held against what was published.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from rich.console import Console

from benchmarks import latency_report
from benchmarks.latency_load import LoadResult
from benchmarks.latency_processes import ROOT, Deployment, deployed
from benchmarks.measure import FileProgress, Instance
from benchmarks.reads_load import MIX, Reader, Stretch
from benchmarks.reads_truth import Truth, serial_of
from benchmarks.single_result import begin, end
from ems_streams.dev.ports import Ports

READY_TIMEOUT_S = 120.0
AWAY_S = 10.0
FOLDED_TIMEOUT_S = 60.0
SAMPLE = 200


def main(
    devices: Annotated[int, typer.Option(min=100, max=100_000)] = 10_000,
    rate: Annotated[float, typer.Option(min=1, help="Requests per second.")] = 200.0,
    telemetry: Annotated[float, typer.Option(min=1, help="Messages per second.")] = 2_000.0,
    seconds: Annotated[float, typer.Option(min=5, help="Before the kill.")] = 30.0,
    json_output: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")] = False,
) -> None:
    """Measure reads of devices, and what they say while a worker is away."""
    console, cache, logs = begin("reads", json_output=json_output)
    with tempfile.TemporaryDirectory(prefix="run-", dir=cache) as directory, deployed(Path(directory), logs) as deployment:
        run = _Run(deployment, console, devices, rate, telemetry, seconds)
        result = asyncio.run(run.measured())
    result |= {"machine": latency_report.facts(), "loadBeforehand": os.getloadavg()[2]}
    end("reads", result, table(result), console, json_output=json_output)
    if result["wrong"]:
        raise typer.Exit(1)


@dataclass(slots=True)
class _Run:
    deployment: Deployment
    console: Console
    devices: int
    rate: float
    telemetry: float
    seconds: float

    async def measured(self) -> dict[str, Any]:
        """Everything, in order; raises `TimeoutError` when something is not ready in time."""
        truth = Truth(self.devices)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            reader = Reader(session, self.deployment.gateway_url, self.rate, truth)
            second = self._second_worker()
            await self._until_all_answer(session, "two workers", workers=2)
            with self._load() as load:
                await self._until_known(session)
                stretches = [await self._steady(reader)]
                stretches.append(await self._without(reader, session, truth, second))
                stretches.append(await self._steady(reader))
                published = await asyncio.to_thread(self._end, load)
            self.console.print("comparing the counts of devices with what was published")
            await self._compare(reader, truth, published.published)
        stretches[2].name = "both workers again"
        return {
            "devices": self.devices, "rate": self.rate, "telemetry": self.telemetry, "mix": dict(MIX), "load": asdict(published),
            "stretches": [each.view() for each in stretches], "wrong": truth.wrong, "slow": truth.slow, "examples": truth.examples,
        }  # fmt: skip

    def _second_worker(self, name: str = "worker-2") -> Instance:
        port = Ports.free().worker
        environment = self.deployment.environment() | {"EMS_WORKER_ID": name, "EMS_WORKER_PORT": str(port)}
        instance = Instance([sys.executable, "-m", "ems_streams", "worker"], environment, ROOT, self.deployment.logs / f"{name}.log")
        self.deployment.instances.append(instance)
        self.deployment.pids[name] = instance.pid
        return instance

    @contextlib.contextmanager
    def _load(self) -> Iterator[Instance]:
        progress = self.deployment.directory / "progress"
        FileProgress([progress])
        # Longer than anything takes; it is ended by a signal.
        arguments = [
            f"--port={self.deployment.ports.mqtt}", f"--rate={self.telemetry}", f"--devices={self.devices}", "--warm-up=0", "--seconds=600",
            f"--progress={progress}", f"--stop-file={self.deployment.directory / 'stop'}",
        ]  # fmt: skip
        instance = self.deployment.instance("load", ["-m", "benchmarks.latency_load", *arguments])
        self.deployment.instances.append(instance)
        yield instance

    def _end(self, load: Instance) -> LoadResult:
        (self.deployment.directory / "stop").touch()
        load.wait(30)
        self.deployment.instances.remove(load)
        return LoadResult(**json.loads(load.log_file.read_text().splitlines()[-1]))

    async def _steady(self, reader: Reader) -> Stretch:
        stretch, done = Stretch("two workers"), asyncio.Event()
        self.console.print(f"{self.rate:g} requests a second for {self.seconds:g} s")
        asyncio.get_running_loop().call_later(self.seconds, done.set)
        await reader.run(stretch, done)
        return stretch

    async def _without(self, reader: Reader, session: aiohttp.ClientSession, truth: Truth, second: Instance) -> Stretch:
        stretch, done = Stretch("one killed, until both are back"), asyncio.Event()
        truth.all_there = False
        truth.counts.clear()
        asking = asyncio.create_task(reader.run(stretch, done))
        await asyncio.sleep(1)
        self.console.print(f"killing worker-2, process {second.pid}")
        os.kill(second.pid, signal.SIGKILL)
        self.deployment.instances.remove(second)
        await asyncio.sleep(AWAY_S)
        self._second_worker()
        await self._until_all_answer(session, "both workers again", workers=2)
        done.set()
        await asking
        truth.all_there = True
        truth.counts.clear()
        return stretch

    async def _until_all_answer(self, session: aiohttp.ClientSession, what: str, *, workers: int) -> None:
        async def answered() -> bool:
            async with session.get(f"{self.deployment.gateway_url}/api/v1/pipeline") as response:
                said = await response.json()
            live = [each for each in said["workers"] if each["live"] and each["partitions"]]
            async with session.get(f"{self.deployment.gateway_url}/api/v1/devices?limit=1") as response:
                listed = await response.json()
            return len(live) == workers and listed.get("partitionsAnswered") == listed.get("partitionsTotal") != 0

        await _until(answered, READY_TIMEOUT_S, what)
        # Not in the midst of a rebalance that is about to go on.
        await asyncio.sleep(2)
        await _until(answered, READY_TIMEOUT_S, what)

    async def _until_known(self, session: aiohttp.ClientSession) -> None:
        async def known() -> bool:
            async with session.get(f"{self.deployment.gateway_url}/api/v1/sites") as response:
                said = await response.json()
            return sum(each["devices"] for each in said.get("sites", ())) == self.devices

        await _until(known, READY_TIMEOUT_S, f"all {self.devices:,} devices known")

    async def _compare(self, reader: Reader, truth: Truth, published: int) -> None:
        serials = [serial_of(number) for number in range(0, self.devices, max(self.devices // SAMPLE, 1))]
        give_up_at_s = time.monotonic() + FOLDED_TIMEOUT_S
        found = await reader.counts(serials)
        while sum(found.values()) < published * len(serials) // self.devices and time.monotonic() < give_up_at_s:
            await asyncio.sleep(0.5)
            found = await reader.counts(serials)
        truth.final_counts(found, published)


async def _until(condition: Any, timeout_s: float, what: str) -> None:
    give_up_at_s = time.monotonic() + timeout_s
    while not await condition():
        if time.monotonic() > give_up_at_s:
            raise TimeoutError(f"not within {timeout_s:g} s: {what}")
        await asyncio.sleep(0.2)


def table(result: dict[str, Any]) -> list[str]:
    """The result in Markdown."""
    lines = [
        f"{result['rate']:g} requests a second, {result['devices']:,} devices, telemetry at {result['telemetry']:g} messages a second.",
        "", "| | route | answers | p50 ms | p99 ms | max ms | others |", "|---|---|--:|--:|--:|--:|---|",
    ]  # fmt: skip
    for stretch in result["stretches"]:
        for route, figures in stretch["routes"].items():
            others = ", ".join(
                f"{count} x {each.split()[1]}"
                for each, count in stretch["statuses"].items()
                if each.split()[0] == route and each.split()[1] != "200"
            )
            if route == "list" and stretch["listsThatSayWhatIsMissing"]:
                others = f"{stretch['listsThatSayWhatIsMissing']} that say what is missing" + (f", {others}" if others else "")
            name = f"{stretch['name']}, {stretch['seconds']:g} s"
            lines.append(
                f"| {name} | {route} | {figures['answers']:,} | {figures['p50_ms']:g} | {figures['p99_ms']:g} | {figures['p100_ms']:g} | {others} |"
            )
    wrong = ", ".join(f"{what}: {count}" for what, count in result["wrong"].items()) or "none"
    slow = ", ".join(f"{what}: {count}" for what, count in result["slow"].items()) or "none"
    return [*lines, "", f"Answers that were wrong: {wrong}.", f"Not answered in time although both workers were there: {slow}."]


if __name__ == "__main__":
    typer.run(main)
