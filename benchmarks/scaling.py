"""`make bench-scaling`: more workers, more devices, and how fast a worker recovers beside Faust's own recovery."""

import gc
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import report, scaling_report
from benchmarks.environments import Environments, default_directory
from benchmarks.run import RESULTS
from benchmarks.scaling_recovery import COUNTED_BY, measure_recovery
from benchmarks.scaling_report import Outcome
from benchmarks.scaling_runs import WORKER_DEVICES, Session, measure_devices, measure_workers


class Part(StrEnum):
    """What can be measured by itself."""

    WORKERS = "workers"
    DEVICES = "devices"
    RECOVERY = "recovery"


def main(
    only: Annotated[Part | None, typer.Option(help="One part instead of all.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 3,
    seconds: Annotated[float, typer.Option(min=10, help="How long workers are measured, from the first event on.")] = 20.0,
    devices: Annotated[str, typer.Option(help="Numbers of devices, separated by commas.")] = "1000,10000,100000,1000000",
    recovered: Annotated[str, typer.Option(help="Numbers of devices to recover.")] = "10000,100000,1000000",
    faust_devices_max: Annotated[int, typer.Option(min=0, help="Faust recovers at most so many.")] = 100_000,
    json_output: Annotated[bool, typer.Option("--json", help="Print the rounds as JSON lines instead of tables.")] = False,
) -> None:
    """Measure workers, devices and recovery on this machine."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    # Millions of values are compared, none of them in a cycle; the collector would look at all of them again and again.
    gc.disable()
    counts, recoveries = _counts(devices, "--devices", 1), _counts(recovered, "--recovered", COUNTED_BY)
    console = Console(stderr=json_output, width=None if sys.stdout.isatty() else 200)
    cache = default_directory()
    logs = cache / "logs-scaling"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    target = RESULTS / (datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ") + "-scaling" + (f"-{only}" if only else ""))
    target.mkdir(parents=True)
    lines = target / "rounds.jsonl"
    outcome = Outcome()
    with _progress_bar(console) as bar:
        environments = Environments(cache, on_install=lambda what: bar.console.print(f"installing: {what}"))
        session = Session(bar, environments, cache, logs, lines, rounds, seconds)
        if only in {None, Part.WORKERS}:
            outcome.workers = measure_workers(session)
        if only in {None, Part.DEVICES}:
            outcome.devices = measure_devices(session, counts)
        if only in {None, Part.RECOVERY}:
            outcome.recovery = measure_recovery(session, recoveries, faust_devices_max)
    scaling_report.write(target, outcome, _facts(rounds, seconds))
    if json_output:
        sys.stdout.write(lines.read_text() if lines.exists() else "")
    else:
        scaling_report.show(console, outcome)
    console.print(f"written to {target}")
    if not outcome.good:
        raise typer.Exit(1)


def _counts(text: str, option: str, step: int) -> Sequence[int]:
    parts = [part.strip().replace("_", "") for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() and 0 < int(part) <= 10_000_000 and int(part) % step == 0 for part in parts):
        multiples = f", multiples of {step}," if step > 1 else ""
        raise typer.BadParameter(f"must be whole numbers up to 10000000{multiples} separated by commas", param_hint=option)
    return [int(part) for part in parts]


def _facts(rounds: int, seconds: float) -> dict[str, str]:
    machine = {name: value for name, value in report.machine_facts("java").items() if "Java" not in name}
    return machine | {
        "peer": "EMS Streams worker with the agent that does the work of `make bench` alone; exactly once, durable every two seconds",
        "beside it": "recovery: idiomatic Faust, as in `make bench` (faust-streaming 0.15.3, rocksdict)",
        "events": f"loaded before; five metrics each, about 250 bytes, 4 partitions; for the workers of {WORKER_DEVICES:,} devices",
        "measured": f"{rounds} rounds, {seconds:.0f} s each from the first event on, longer where there are many devices; the first fifth left out",
        "broker": "Apache Kafka 4.3, one node, on the same machine",
    }


def _progress_bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


if __name__ == "__main__":
    typer.run(main)
