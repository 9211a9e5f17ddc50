"""What every chaos test needs: a system whose processes are looked after, and a load with its ledger."""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.network import Link
from tests.support.processes import Deployment, Running, get

SCALE = float(os.environ.get("EMS_CHAOS_SCALE", "0.1"))
SEED = int(os.environ.get("EMS_CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
SESSION_TIMEOUT_S = 6.0
RESTART_DELAY_S = 0.5


def sized(full: float, least: int) -> int:
    """A figure of the long form at the scale of this run."""
    return max(least, round(full * SCALE))


def until(condition: Callable[[], Any], timeout_s: float, pause_s: float = 0.2) -> Any:
    """The first true value of `condition()`, or the last false one: whoever asks compares, and says what is missing."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()) and time.monotonic() < deadline_s:
        time.sleep(pause_s)
    return value


class System:
    """Processes of a deployment that are started again when they end by themselves, as a supervisor would, and what happened to them."""

    def __init__(self, deployment: Deployment, name: str, links: Sequence[Link] = ()) -> None:
        self.deployment = deployment
        self.name = name
        self.links: dict[str, Link] = {}
        self._spare_links = list(links)
        self.random = random.Random(f"{SEED}/{name}")
        self.faults: Counter[str] = Counter()
        self.ends: list[str] = []
        self._processes: dict[str, Running] = {}
        self._starts: dict[str, Callable[[], Running]] = {}
        self._restart_at_s: dict[str, float] = {}

    def link(self, *names: str) -> None:
        """Let processes that are started from now on reach Kafka through a network of their own, which can be cut."""
        for name in names:
            self.links[name] = self._spare_links.pop()

    def spare_link(self) -> Link:
        """A network to Kafka that no process has yet."""
        return self._spare_links.pop()

    def start(self, ingresses: int = 1, workers: int = 0) -> None:
        """Start processes and wait until all are ready."""
        for index in range(ingresses):
            self.add_ingress(index)
        for index in range(workers):
            self.add_worker(index)
        self.wait_ready()

    def add_ingress(self, index: int) -> None:
        """Start `ingress-INDEX` and look after it."""
        self.add(f"ingress-{index}", lambda: self.deployment.ingress(index, **self._way(f"ingress-{index}")))

    def add_worker(self, index: int) -> None:
        """Start `worker-INDEX` and look after it."""
        self.add(f"worker-{index}", lambda: self.deployment.worker(index, **self._way(f"worker-{index}")))

    def _way(self, name: str) -> dict[str, str]:
        return {"EMS_KAFKA_BOOTSTRAP_SERVERS": self.links[name].address} if name in self.links else {}

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
        return [name for name in list(self._processes) if name.startswith(kind)]

    def __getitem__(self, name: str) -> Running:
        return self._processes[name]

    def alive(self, name: str) -> bool:
        return self._processes[name].popen.poll() is None

    @property
    def worker_url(self) -> str:
        """Of a worker that answers for every device."""
        return self.worker_urls[0]

    @property
    def worker_urls(self) -> list[str]:
        """Of all workers that are looked after; may be asked for from another thread."""
        return [process.url for name, process in list(self._processes.items()) if name.startswith("worker")]

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
    """Start a simulator, of 0 messages one that sends until it is killed; other options of `simulate` in `more`."""
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
