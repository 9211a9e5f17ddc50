"""`python -m benchmarks.websocket_clients`: many clients on one gateway, from an MQTT publish to each of them.

Status reports, one of each device, become transitions and notifications at a steady rate; every client gets every one of them. One client
more never reads. One ingress, one worker and one gateway as real processes, and the clients in another.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import orjson
import psutil
import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks import latency_report
from benchmarks.latency_processes import ROOT, Deployment, deployed
from benchmarks.latency_stages import percentile
from benchmarks.single_result import begin, end
from ems_streams.mqtt.publisher import MqttPublisher

PERCENTS = (50, 95, 99, 99.9, 100)
SETTLING_S = 10.0
SITES = 20
TICK_S = 0.01
CONNECT_TIMEOUT_S = 120.0


def main(
    clients: Annotated[int, typer.Option(min=1, max=20_000)] = 1_000,
    rate: Annotated[int, typer.Option(min=1, help="Notifications per second.")] = 500,
    seconds: Annotated[float, typer.Option(min=3)] = 30.0,
    json_output: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")] = False,
) -> None:
    """Measure how long a notification takes from MQTT to many WebSocket clients, and whether each gets every one once."""
    console, cache, logs = begin("websocket", json_output=json_output)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="run-", dir=cache) as directory,
        Progress(*columns, console=console, transient=True) as bar,
        deployed(Path(directory), logs) as deployment,
    ):
        task = bar.add_task(f"{clients:,} clients", total=seconds, said="connecting")
        swarm = _started(deployment, clients)
        try:
            result = asyncio.run(_measured(deployment, swarm, rate, seconds, bar, task))
        finally:
            swarm.kill()
            swarm.wait()
    result = {"clients": clients, "rate": rate, "seconds": seconds, **result, "machine": latency_report.facts()}
    end("websocket", result, _table(result), console, json_output=json_output)
    if not result["complete"]:
        raise typer.Exit(1)


def _started(deployment: Deployment, clients: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmarks.websocket_swarm", f"--port={deployment.ports.gateway}", f"--clients={clients}"]
    swarm = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert swarm.stdout is not None
    if swarm.stdout.readline().strip() != "connected":
        raise typer.Exit(1)
    return swarm


async def _measured(
    deployment: Deployment, swarm: "subprocess.Popen[str]", rate: int, seconds: float, bar: Progress, task: TaskID
) -> dict[str, Any]:
    """Publish, let everything arrive, and take the clients' word for it."""
    url = f"mqtt://127.0.0.1:{deployment.ports.mqtt}"
    pids = {**deployment.pids, "clients": swarm.pid}
    async with MqttPublisher(url, "bench-status") as publisher:
        await publisher.wait_connected()
        before, begun_s = deployment.cpu_s(), time.monotonic()
        published = await _publish(publisher, rate, seconds, bar, task)
        took_s = time.monotonic() - begun_s
        spent = {name: (value - before[name]) / took_s for name, value in deployment.cpu_s().items()}
    await asyncio.sleep(SETTLING_S)
    memory_mib = psutil.Process(pids["gateway"]).memory_info().rss / 1024 / 1024
    assert swarm.stdin is not None
    assert swarm.stdout is not None
    swarm.stdin.write("x")
    swarm.stdin.flush()
    told = json.loads(await asyncio.to_thread(swarm.stdout.readline))
    latencies_ms = told["latenciesMs"]
    complete = told["counts"] == [[published, sum(count for _, count in told["counts"])]] and not told["repeated"] and not told["closed"]
    return {
        "published": published,
        "publishedPerS": published / took_s,
        "percentilesMs": {f"{percent:g}": percentile(latencies_ms, percent) for percent in PERCENTS} if latencies_ms else {},
        "samples": len(latencies_ms),
        "notificationsByClients": told["counts"],
        "closed": told["closed"],
        "repeated": told["repeated"],
        "neverReadingClosed": told["deafClosed"],
        "cores": spent | {"clients": told["cpuS"] / took_s},
        "gatewayMib": memory_mib,
        "complete": complete and told["deafClosed"],
    }


async def _publish(publisher: MqttPublisher, rate: int, seconds: float, bar: Progress, task: TaskID) -> int:
    """One report of each device, by a schedule; returns how many, all acknowledged by the broker."""
    total, sent = int(rate * seconds), 0
    waiting: set[asyncio.Task[None]] = set()
    begun_s = time.monotonic()
    while sent < total:
        due = min(int((time.monotonic() - begun_s) * rate) + 1, total)
        for number in range(sent, due):
            report = {"status": "OFFLINE", "reason": f"bench {number} {time.monotonic_ns()}"}
            topic = f"sites/{number % SITES + 1}/devices/WS-{number:06d}/status"
            waiting.add(asyncio.create_task(publisher.publish(topic, orjson.dumps(report))))
        sent = due
        waiting = {each for each in waiting if not each.done()}
        bar.update(task, completed=time.monotonic() - begun_s, said=f"{sent:,} of {total:,}")
        await asyncio.sleep(TICK_S)
    await asyncio.gather(*waiting)
    return sent


def _table(result: dict[str, Any]) -> list[str]:
    """Markdown."""
    percentiles, cores = result["percentilesMs"], result["cores"]
    names = [f"p{percent:g} ms" if percent < 100 else "max ms" for percent in PERCENTS]
    values = [f"{percentiles.get(f'{percent:g}', float('nan')):,.0f}" for percent in PERCENTS]
    lines = [
        f"# {result['clients']:,} WebSocket clients, {result['rate']:,} notifications/s for {result['seconds']:g} s",
        "",
        *(f"- {name}: {value}" for name, value in result["machine"].items()),
        "",
        f"| {' | '.join(names)} |",
        f"|{'---:|' * len(names)}",
        f"| {' | '.join(values)} |",
        "",
        f"From the MQTT publish to the client, {result['samples']:,} samples of every 20th client.",
        "",
        f"- {result['published']:,} notifications published at {result['publishedPerS']:,.0f}/s; what clients got (number: clients): "
        + ", ".join(f"{count:,}: {clients:,}" for count, clients in result["notificationsByClients"]),
        f"- twice: {result['repeated']}; closed: {result['closed']}; the client that never reads was "
        + ("given up" if result["neverReadingClosed"] else "NOT given up"),
        f"- cores: {', '.join(f'{name} {value:.2f}' for name, value in cores.items())}; gateway {result['gatewayMib']:,.0f} MiB",
    ]
    if not result["complete"]:
        lines.append("- **NOT COMPLETE**")
    return lines


if __name__ == "__main__":
    typer.run(main)
