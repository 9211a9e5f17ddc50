"""`make soak`: everything runs for three quarters of an hour under a steady load, and nothing may grow, get lost or come twice.

The stack and all processes of `ems-streams dev` on ports and data of their own, a simulated fleet with a ledger, a few who use the API; a look at
every process every few seconds. Ends by itself, and leaves nothing behind but a directory in `benchmarks/results`.
"""

import asyncio
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import structlog
import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks import latency_report, soak_report
from benchmarks.environments import default_directory
from benchmarks.measure import PeerFailedError
from benchmarks.soak_deployment import Deployment, Options
from benchmarks.soak_ledger import check_all, read_truth
from benchmarks.soak_report import Soaked
from benchmarks.soak_samples import MQTT_BACKLOG, PIPELINE, PUBLISHED, Key, Sampler, Series
from benchmarks.soak_verdict import judge
from benchmarks.soak_visitors import Visitors, receiver
from ems_streams.dev.ports import Ports

RESULTS = Path(__file__).parent / "results"
SIMULATOR_ENDS_WITHIN_S = 300.0
LINE_EVERY_S = 30.0
_WORKERS_MAX = 4


async def _run(options: Options, directory: Path, logs: Path, bar: Progress) -> Soaked:
    ports = Ports.free()
    devices = options.fleet()
    # The last port of the room for workers is nobody's.
    hook_port = ports.worker + _WORKERS_MAX
    deployment = Deployment(options, directory, logs, f"http://127.0.0.1:{hook_port}/hook", ports)
    visitors = Visitors(deployment.gateway_url, devices)
    soaked = Soaked(options, latency_report.facts(), Series(), [], [], visitors, list(deployment.health_ports), [], "", {})
    task = bar.add_task("starting", total=options.duration_s, said="")
    _end_in_order_when_told_to()
    async with receiver(visitors, hook_port), aiohttp.ClientSession() as session:
        try:
            _tell(bar, task, "starting")
            # On this thread: the kernel ends a process with the thread that started it.
            deployment.start()
            deployment.start_simulator()
            async with visitors.visiting(session, options.clients):
                await _sample(deployment, session, soaked, bar, task)
            soaked.simulated = _summary(deployment)
            soaked.gone = deployment.gone()
            _tell(bar, task, "comparing with the ledger")
            truth = await asyncio.to_thread(read_truth, deployment.ledger)
            soaked.checked = await check_all(deployment, visitors, session, truth)
        except asyncio.CancelledError:
            # What was seen until then is worth a report.
            soaked.trouble = "it was told to end before the load was over"
        except (PeerFailedError, aiohttp.ClientError, OSError, TimeoutError) as error:
            soaked.trouble = f"{type(error).__name__}: {error}"
        finally:
            _tell(bar, task, "stopping")
            soaked.orderly = await asyncio.to_thread(deployment.stop)
    duration_s = min(options.duration_s, soaked.series.last_s)
    soaked.judged = judge(soaked.series, duration_s, options.rate, soaked.ours)
    return soaked


def _end_in_order_when_told_to() -> None:
    """Ctrl-C and SIGTERM stop everything that runs, and what was seen is written down."""
    running = asyncio.current_task()
    assert running is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)


def _tell(bar: Progress, task: TaskID, what: str) -> None:
    bar.update(task, description=what, said="")
    if not bar.console.is_terminal:
        bar.console.print(what)


async def _sample(deployment: Deployment, session: aiohttp.ClientSession, soaked: Soaked, bar: Progress, task: TaskID) -> None:
    """Until the simulator has ended."""
    simulator, dev = deployment.simulator, deployment.dev
    assert simulator is not None
    assert dev is not None
    sampler = Sampler(deployment, session)
    begun_s, next_line_s = time.monotonic(), 0.0
    while simulator.running:
        at_s = time.monotonic() - begun_s
        if at_s > soaked.options.duration_s + SIMULATOR_ENDS_WITHIN_S:
            raise PeerFailedError("the simulator does not end")
        dev.check()
        look = await sampler.look(at_s)
        soaked.series.add(at_s, look)
        said = _said(look, soaked.ours)
        bar.update(task, description="under load", completed=min(at_s, soaked.options.duration_s), said=said)
        if not bar.console.is_terminal and at_s >= next_line_s:
            # A bar is for terminals only.
            bar.console.print(f"{at_s / 60:.1f} min: {said}", markup=False, highlight=False)
            next_line_s += LINE_EVERY_S
        await asyncio.sleep(max(0.1, soaked.options.interval_s - (time.monotonic() - begun_s - at_s)))


def _said(look: dict[Key, float], ours: list[str]) -> str:
    memory_mib = sum(look.get((name, "RSS MiB"), 0.0) for name in ours)
    lag = sum(value for (_, what), value in look.items() if what.startswith("lag "))
    return f"{look[PIPELINE, PUBLISHED]:,.0f} messages, {look[PIPELINE, MQTT_BACKLOG]:,.0f} in MQTT, lag {lag:,.0f}, {memory_mib:,.0f} MiB of ours"


def _summary(deployment: Deployment) -> dict[str, Any]:
    """What the simulator printed at its end; raises `PeerFailedError` when it failed."""
    assert deployment.simulator is not None
    deployment.simulator.wait(SIMULATOR_ENDS_WITHIN_S)
    lines = deployment.simulator.log_file.read_text().splitlines()
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def main(
    minutes: Annotated[float, typer.Option(min=1, help="How long the load lasts.")] = 45.0,
    rate: Annotated[int, typer.Option(min=1, help="Telemetry messages per second of all devices together.")] = 2000,
    devices: Annotated[int, typer.Option(min=20, max=100_000)] = 1000,
    workers: Annotated[int, typer.Option(min=1, max=_WORKERS_MAX)] = 1,
    clients: Annotated[int, typer.Option(min=0, max=500, help="WebSocket clients.")] = 5,
    interval: Annotated[float, typer.Option(min=1, help="Seconds between two looks.")] = 5.0,
    json_output: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")] = False,
) -> None:
    """Let everything run under a steady load, and say what grows, what was lost and what came twice."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    console = Console(stderr=json_output, width=None if sys.stdout.isatty() else 160)
    options = Options(minutes, rate, devices, workers, clients, interval)
    cache = default_directory()
    cache.mkdir(parents=True, exist_ok=True)
    logs = cache / "logs-soak"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    with tempfile.TemporaryDirectory(prefix="soak-", dir=cache) as directory, Progress(*columns, console=console, transient=True) as bar:
        soaked = uvloop.run(_run(options, Path(directory), logs, bar))
        with contextlib.suppress(OSError):
            shutil.copytree(Path(directory) / "data" / "logs", logs / "processes", dirs_exist_ok=True)
    target = RESULTS / (datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ") + "-soak")
    target.mkdir(parents=True)
    soak_report.write(target, soaked)
    soak_report.show(console, soaked)
    if json_output:
        sys.stdout.write(soak_report.as_json(soaked) + "\n")
    console.print(f"written to {target}; logs are in {logs}")
    if soaked.failures:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
