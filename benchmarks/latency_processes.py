"""What `make bench-latency` measures: Kafka, an MQTT broker, and one process of each kind, as users run them."""

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.latency_stages import PARTITIONS
from benchmarks.measure import Instance, PeerFailedError, stop
from benchmarks.mqtt_server import mqtt_server
from ems_streams.dev.ports import Ports
from ems_streams.dev.stack import EmbeddedStack

ROOT = Path(__file__).parent.parent
APPLICATION = "bench-latency"
READY_TIMEOUT_S = 60.0
PREPARE_TIMEOUT_S = 120.0


@dataclass(slots=True)
class Deployment:
    """Everything that runs during the whole command."""

    ports: Ports
    broker: str
    directory: Path
    logs: Path
    pids: dict[str, int]
    instances: list[Instance]

    def environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("BENCH_", "EMS_", "KAFKA_", "MQTT_", "DATABASE_"))
        }
        return kept | {
            "EMS_KAFKA_BOOTSTRAP_SERVERS": self.broker,
            "EMS_MQTT_URL": f"mqtt://127.0.0.1:{self.ports.mqtt}",
            "EMS_MQTT_SHARE_GROUP": APPLICATION,
            "EMS_APPLICATION_ID": APPLICATION,
            "EMS_INGRESS_ID": f"{APPLICATION}-ingress",
            "EMS_PARTITIONS": str(PARTITIONS),
            # Probes change the status of a device every few seconds, of which people would not be told.
            "EMS_FLAPPING_THRESHOLD": "0",
            # What is asked for is asked by one address.
            "EMS_GATEWAY_REQUESTS_PER_S": "0",
            "EMS_DATA_DIR": str(self.directory / "state"),
            "EMS_INGRESS_PORT": str(self.ports.ingress),
            "EMS_WORKER_PORT": str(self.ports.worker),
            "EMS_GATEWAY_PORT": str(self.ports.gateway),
            "EMS_WORKER_URLS": self.worker_url,
        }

    @property
    def worker_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.worker}"

    @property
    def gateway_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.gateway}"

    def instance(self, name: str, command: Sequence[str]) -> Instance:
        return Instance([sys.executable, *command], self.environment(), ROOT, self.logs / f"{name}.log")

    def cpu_s(self) -> dict[str, float]:
        """User and system seconds of each process so far; raises `PeerFailedError` when one of ours has ended."""
        for instance in self.instances:
            instance.check()
        times = {name: psutil.Process(pid).cpu_times() for name, pid in self.pids.items()}
        return {name: each.user + each.system for name, each in times.items()}


@contextmanager
def deployed(directory: Path, logs: Path) -> Iterator[Deployment]:
    """Kafka, an MQTT broker, and one process of each kind, ready; all gone afterwards."""
    ports = Ports.free()
    stack = EmbeddedStack(directory / "stack", ports, servers=frozenset({"kafka"}))
    asyncio.run(stack.start())
    running: list[Instance] = []
    try:
        before = {child.pid for child in psutil.Process().children()}
        with mqtt_server(directory / "mqtt", ports):
            mqtt_pid = next(child.pid for child in psutil.Process().children() if child.pid not in before)
            deployment = Deployment(
                ports,
                stack.kafka_bootstrap,
                directory,
                logs,
                {"Kafka": stack.kafka.pid or 0, "MQTT broker": mqtt_pid, "probes": os.getpid()},
                running,
            )
            try:
                _make_topics(deployment)
                for name, port in (("ingress", ports.ingress), ("worker", ports.worker), ("gateway", ports.gateway)):
                    instance = deployment.instance(name, ["-m", "ems_streams", name])
                    running.append(instance)
                    deployment.pids[name] = instance.pid
                    _wait_until_ready(instance, name, port)
                yield deployment
            finally:
                stop(running)
    finally:
        asyncio.run(stack.stop())


def _make_topics(deployment: Deployment) -> None:
    command = [sys.executable, "-m", "ems_streams", "topics", "apply"]
    environment = deployment.environment()
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=PREPARE_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise PeerFailedError(f"topics apply failed: {(done.stderr or done.stdout).strip()[-300:]}")


def _wait_until_ready(instance: Instance, name: str, port: int) -> None:
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline_s:
        instance.check()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise PeerFailedError(f"{name} is not ready after {READY_TIMEOUT_S:.0f} s: {instance.log_tail()}")
