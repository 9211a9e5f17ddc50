"""What every chaos test needs: a system whose processes are looked after, a load with its ledger, and the comparison of both."""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from ems_streams.dev.simulator.ledger import Totals, read_ledger, totals
from tests.support.processes import Deployment, Running, get

SCALE = float(os.environ.get("EMS_CHAOS_SCALE", "0.1"))
SEED = int(os.environ.get("EMS_CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
SESSION_TIMEOUT_S = 6.0
RESTART_DELAY_S = 0.5
Facts = dict[str, Any]


def sized(full: float, least: int) -> int:
    """A figure of the long form at the scale of this run."""
    return max(least, round(full * SCALE))


def verdict(name: str, *, load: str, faults: str, expected: Facts, found: Facts, measured: str = "") -> None:
    """Print the line of a test, and fail when what was found is not what was expected."""
    more = f" ({measured})" if measured else ""
    print(f"\nCHAOS {name}: load {load}, faults {faults}, expected {_shown(expected)}, found {_shown(found)}{more}", flush=True)
    assert found == expected


def _shown(facts: Facts) -> str:
    return "; ".join(f"{name} {value}" for name, value in facts.items())


def until(condition: Callable[[], Any], timeout_s: float, pause_s: float = 0.2) -> Any:
    """The first true value of `condition()`, or the last false one: whoever asks compares, and says what is missing."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()) and time.monotonic() < deadline_s:
        time.sleep(pause_s)
    return value


class System:
    """Processes of a deployment that are started again when they end by themselves, as a supervisor would, and what happened to them."""

    def __init__(self, deployment: Deployment, name: str) -> None:
        self.deployment = deployment
        self.name = name
        self.random = random.Random(f"{SEED}/{name}")
        self.faults: Counter[str] = Counter()
        self.ends: list[str] = []
        self._processes: dict[str, Running] = {}
        self._starts: dict[str, Callable[[], Running]] = {}
        self._restart_at_s: dict[str, float] = {}

    def start(self, ingresses: int = 1, workers: int = 0) -> None:
        """Start processes and wait until all are ready."""
        for index in range(ingresses):
            self.add(f"ingress-{index}", lambda index=index: self.deployment.ingress(index))  # type: ignore[misc]
        for index in range(workers):
            self.add(f"worker-{index}", lambda index=index: self.deployment.worker(index))  # type: ignore[misc]
        self.wait_ready()

    def add(self, name: str, start: Callable[[], Running]) -> None:
        """Start a process and look after it from now on."""
        self._starts[name] = start
        self._processes[name] = start()

    def forget(self, name: str) -> Running:
        """Look after a process no more; it goes on."""
        self._restart_at_s.pop(name, None)
        del self._starts[name]
        return self._processes.pop(name)

    def restart(self, name: str) -> None:
        """Start a process that has been ended."""
        self._restart_at_s.pop(name, None)
        self._processes[name] = self._starts[name]()

    def names(self, kind: str = "") -> list[str]:
        """Of the processes that are looked after."""
        return [name for name in self._processes if name.startswith(kind)]

    def __getitem__(self, name: str) -> Running:
        return self._processes[name]

    def alive(self, name: str) -> bool:
        return self._processes[name].popen.poll() is None

    @property
    def worker_url(self) -> str:
        """Of a worker that answers for every device."""
        return self._processes[self.names("worker")[0]].url

    def look_after(self) -> None:
        """Start again, after a moment, what has ended by itself, and remember how it ended."""
        for name, process in list(self._processes.items()):
            code = process.popen.poll()
            if code is None:
                continue
            due_s = self._restart_at_s.get(name)
            if due_s is None:
                self._restart_at_s[name] = time.monotonic() + RESTART_DELAY_S
                self.faults["ended by themselves"] += 1
                self.ends.append(f"{name} exit {code}: {_last_complaint(process)}")
            elif time.monotonic() >= due_s:
                self.restart(name)

    def run_for(self, duration_s: float) -> None:
        """Let time pass, and look after the processes."""
        deadline_s = time.monotonic() + duration_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            self.look_after()
            time.sleep(min(0.1, left_s))

    def wait_ready(self, timeout_s: float = 120.0) -> list[str]:
        """Wait until all are ready; names those that are not in time."""

        def not_ready() -> list[str]:
            self.look_after()
            return [name for name in self.names() if get(f"{self[name].url}/readyz")[0] != 200]

        until(lambda: not not_ready(), timeout_s)
        return not_ready()

    def tell_faults(self) -> str:
        """All faults so far, in words."""
        return " + ".join(f"{count} {what}" for what, count in self.faults.items()) or "none"

    def settled(self, condition: Callable[[], Any], timeout_s: float) -> Any:
        """`until`, while processes are looked after."""

        def looked() -> Any:
            self.look_after()
            return condition()

        return until(looked, timeout_s)


def _last_complaint(process: Running) -> str:
    lines = process.log_file.read_text(errors="replace").splitlines()
    bad = [line for line in lines[-200:] if "error" in line.lower() or "failed" in line]
    return (bad or lines or [""])[-1].strip()[:240]


@dataclass(frozen=True, slots=True)
class Load:
    """A simulator that runs, and the ledger of what the broker has acknowledged."""

    process: Running
    ledger: Path
    devices: int
    messages: int
    rate: float

    @property
    def duration_s(self) -> float:
        return self.messages / self.rate

    @property
    def running(self) -> bool:
        return self.process.popen.poll() is None

    def __str__(self) -> str:
        return f"{self.messages} messages of {self.devices} devices at {self.rate:g}/s"

    def finish(self, timeout_s: float = 600.0) -> None:
        """Wait for the end; fails when the broker has not acknowledged everything, since then there is no truth to compare with."""
        code = self.process.popen.wait(self.duration_s + timeout_s)
        assert code == 0, f"simulator: exit {code}\n{self.process.log_tail()}"


def put_load(system: System, *more: str, devices: int, messages: int, rate: float, prefix: str = "C") -> Load:
    """Start a simulator; other options of `simulate` in `more`."""
    ledger = system.deployment.directory / f"ledger-{prefix}.jsonl"
    arguments = ["simulate", "--seed", str(system.random.randrange(1_000_000)), "--ledger", str(ledger), "--prefix", f"{prefix}-"]
    arguments += ["--devices", str(devices), "--rate", str(rate), "--duration", str(messages / rate), *more]
    return Load(system.deployment.start(f"simulator-{prefix}", arguments, 0, {}), ledger, devices, messages, rate)


def strike(system: System, load: Load, faults: Sequence[Callable[[], None]]) -> None:
    """Spread faults over the time of a load, at random moments and in random order; returns when the load is at its end."""
    order = list(faults)
    system.random.shuffle(order)
    moments = sorted(system.random.uniform(0.03, 0.95) * load.duration_s for _ in order)
    started_s = time.monotonic()
    for moment_s, fault in zip(moments, order, strict=True):
        system.run_for(max(0.0, moment_s - (time.monotonic() - started_s)))
        fault()
    while load.running:
        system.run_for(0.2)
    load.finish()


class Topic:
    """All committed records of a topic, read from its beginning, a part at a time."""

    def __init__(self, system: System, name: str) -> None:
        deployment = system.deployment
        self._left = deployment.partitions
        self._consumer = Consumer(
            {
                "bootstrap.servers": deployment.stack.kafka_bootstrap,
                "group.id": f"chaos-{name}",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
                "fetch.message.max.bytes": 8_000_000,
            }
        )
        self._consumer.assign([TopicPartition(name, number, 0) for number in range(deployment.partitions)])

    def new_records(self, timeout_s: float = 5.0) -> Iterator[Message]:
        """What is there and was not read before; at its end when nothing more comes for a while."""
        at_end: set[int] = set()
        deadline_s = time.monotonic() + timeout_s
        while len(at_end) < self._left and time.monotonic() < deadline_s:
            for message in self._consumer.consume(1000, 0.3):
                error = message.error()
                if error is None:
                    at_end.discard(message.partition())
                    deadline_s = time.monotonic() + timeout_s
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    at_end.add(message.partition() or 0)
            if not at_end and time.monotonic() > deadline_s:
                return

    def close(self) -> None:
        self._consumer.close()


def message_keys(ledger: Path) -> set[tuple[str, str]]:
    """Serial number and message id of every telemetry line."""
    return {(entry["serialNumber"], entry["messageId"]) for entry in read_ledger(ledger) if "metrics" in entry}


def maybe_keys(ledger: Path) -> set[tuple[str, str]]:
    """Likewise, of messages of which nobody knows whether the broker has them."""
    path = Path(f"{ledger}.unacknowledged")
    return message_keys(path) if path.exists() else set()


def wrong_statistics(system: System, truth: dict[str, dict[str, Totals]]) -> list[str]:
    """Devices of which a count, sum, min, max or last differs from the truth, with the first difference."""
    return [f"{serial}: {problem}" for serial, metrics in truth.items() if (problem := _difference(system, serial, metrics))]


def _difference(system: System, serial: str, metrics: dict[str, Totals]) -> str:
    status, body = get(f"{system.worker_url}/api/v1/devices/{serial}/aggregates")
    if status != 200:
        return f"HTTP {status}"
    for name, truth in metrics.items():
        live = body["total"]["metrics"].get(name, {})
        for statistic in ("count", "sum", "min", "max", "last"):
            if live.get(statistic) != getattr(truth, statistic):
                return f"{name}.{statistic} {live.get(statistic)!r} instead of {getattr(truth, statistic)!r}"
    return ""


def exactness(system: System, *ledgers: Path, timeout_s: float = 180.0) -> tuple[Facts, Facts, list[str], float]:
    """Expected and found facts on all statistics of all devices, what is wrong, and the seconds until nothing was.

    Devices that were right once are looked at again at the end: whatever was counted twice afterwards shows.
    """
    truth = {serial: metrics for ledger in ledgers for serial, metrics in totals(ledger).items()}
    started_s = time.monotonic()
    waiting = dict(truth)

    def all_right() -> bool:
        for serial in list(waiting):
            if _difference(system, serial, waiting[serial]):
                return False
            del waiting[serial]
        return True

    system.settled(all_right, timeout_s)
    took_s = time.monotonic() - started_s
    system.run_for(2.0)
    wrong = wrong_statistics(system, truth)
    if wrong:
        print(f"\n{system.name}: wrong devices: {len(wrong)}, such as {wrong[:5]}")
    expected = {"exact devices": len(truth), "counted": sum(_events(metrics) for metrics in truth.values())}
    found = {"exact devices": len(truth) - len(wrong), "counted": sum(_counted(system, serial) for serial in truth)}
    return expected, found, wrong, took_s


def _events(metrics: dict[str, Totals]) -> int:
    return sum(each.count for each in metrics.values())


def _counted(system: System, serial: str) -> int:
    status, body = get(f"{system.worker_url}/api/v1/devices/{serial}/aggregates")
    return sum(each["count"] for each in body["total"]["metrics"].values()) if status == 200 else 0
