"""What `make soak` lets run: everything that `ems-streams dev` brings, on ports and data of its own, and a fleet with a ledger."""

import os
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.measure import Instance, PeerFailedError
from ems_streams.dev.plan import MQTT_PASSWORD, MQTT_USERNAME
from ems_streams.dev.ports import Ports
from ems_streams.dev.simulator import FleetOptions, build_fleet
from ems_streams.dev.simulator.fleet import Identity

ROOT = Path(__file__).parent.parent
READY_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 60.0
PREFIX = "SOAK-"
SEED = 1
SITES = 20
FAULTS = "out-of-order=0.01,flapping=0.02,poison=0.001"
"""None that publishes a message twice or late: then a device's count would say nothing about loss, and the MQTT backlog nothing at all."""

KIND_OF_COMMAND = {"ingress": "ingress", "worker": "worker", "sink": "sink", "gateway": "gateway", "notifier": "notifier"}
SERVERS = ("Kafka", "MQTT broker", "PostgreSQL")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command was asked for."""

    minutes: float
    rate: int
    devices: int
    workers: int
    clients: int
    interval_s: float

    @property
    def duration_s(self) -> float:
        return self.minutes * 60

    def fleet(self) -> list[Identity]:
        """The devices that the simulator is, in its order."""
        size = FleetOptions(
            seed=SEED, devices=self.devices, sites=SITES, rate=self.rate, duration_s=self.duration_s, start_ms=0, prefix=PREFIX
        )
        return [identity for identity, _ in build_fleet(size)]


@dataclass(slots=True)
class Deployment:
    """Everything that runs.

    Attributes:
        receiver_url: Where the notifier's only channel delivers to.
        pids: Of each process of ours and of each server, as they were when everything was ready.
    """

    options: Options
    directory: Path
    logs: Path
    receiver_url: str
    ports: Ports = field(default_factory=Ports.free)
    pids: dict[str, int] = field(default_factory=dict)
    dev: Instance | None = None
    simulator: Instance | None = None

    @property
    def ledger(self) -> Path:
        return self.directory / "ledger.jsonl"

    @property
    def stores(self) -> dict[str, Path]:
        """Directories of the local stores, by worker."""
        return {name: self.directory / "data" / name for name in self.health_ports if name.startswith("worker")}

    @property
    def health_ports(self) -> dict[str, int]:
        """Where each process of ours answers."""
        workers = {f"worker-{index}": self.ports.worker + index for index in range(self.options.workers)}
        rest = {"sink": self.ports.sink, "notifier": self.ports.notifier, "gateway": self.ports.gateway}
        return {"ingress": self.ports.ingress} | workers | rest

    @property
    def gateway_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.gateway}"

    @property
    def database_url(self) -> str:
        return f"postgresql://ems:ems@127.0.0.1:{self.ports.postgres}/ems"

    def start(self) -> None:
        """Servers, topics and processes; returns when all are ready."""
        arguments = [
            "dev",
            "--headless",
            "--no-simulator",
            "--workers",
            str(self.options.workers),
            "--data-dir",
            str(self.directory / "data"),
        ]
        self.dev = self._instance("dev", arguments, self._environment())
        self._wait_until_ready(self.dev)
        self.pids = _pids_below(self.dev.pid)
        missing = (self.health_ports.keys() | set(SERVERS)) - self.pids.keys()
        if missing:
            raise PeerFailedError(f"no process was found for {', '.join(sorted(missing))}")

    def start_simulator(self) -> None:
        """Begin the load."""
        wanted = self.options
        arguments = ["simulate", "--seed", str(SEED), "--prefix", PREFIX, "--sites", str(SITES), "--devices", str(wanted.devices)]
        arguments += ["--rate", str(wanted.rate), "--duration", f"{wanted.duration_s:g}", "--ledger", str(self.ledger), "--json"]
        arguments += ["--faults", FAULTS, "--commands"]
        url = f"mqtt://127.0.0.1:{self.ports.mqtt}"
        broker = {"EMS_MQTT_URL": url, "EMS_MQTT_USERNAME": MQTT_USERNAME, "EMS_MQTT_PASSWORD": MQTT_PASSWORD}
        self.simulator = self._instance("simulator", arguments, _clean_environment() | broker)
        self.pids["simulator"] = self.simulator.pid

    def stop(self) -> bool:
        """End everything; whether it went orderly."""
        orderly = True
        for instance in filter(None, (self.simulator, self.dev)):
            instance.terminate()
            orderly = instance.ended(STOP_TIMEOUT_S) and orderly
        return orderly

    def gone(self) -> list[str]:
        """Processes that do not run any more, or run anew."""
        assert self.dev is not None
        found = _pids_below(self.dev.pid)
        return sorted(name for name, pid in self.pids.items() if name != "simulator" and found.get(name) != pid)

    def _environment(self) -> dict[str, str]:
        channels = self.directory / "channels.yaml"
        channels.write_text(
            f"channels:\n  soak:\n    type: webhook\n    url: {self.receiver_url}\n    secret_env: EMS_SOAK_SECRET\n"
            "    rate: {messages: 600, per_s: 60}\nroutes:\n  - channels: [soak]\n"
        )
        ports = self.ports
        return _clean_environment() | {
            "EMS_DEV_KAFKA_PORT": str(ports.kafka),
            "EMS_DEV_KAFKA_CONTROLLER_PORT": str(ports.kafka_controller),
            "EMS_DEV_MQTT_PORT": str(ports.mqtt),
            "EMS_DEV_POSTGRES_PORT": str(ports.postgres),
            "EMS_WORKER_PORT": str(ports.worker),
            "EMS_INGRESS_PORT": str(ports.ingress),
            "EMS_SINK_PORT": str(ports.sink),
            "EMS_NOTIFIER_PORT": str(ports.notifier),
            "EMS_GATEWAY_PORT": str(ports.gateway),
            "EMS_CHANNELS_FILE": str(channels),
            # Full long before the second half, as it is anywhere after a day: what fills up is not what grows.
            "EMS_GATEWAY_NOTIFICATIONS_HELD": "1000",
            "EMS_SOAK_SECRET": "whsec_" + "c29hayBvZiBhIGRlcGxveW1lbnQsIDMyIGJ5dGVzIGxvbmc=",
        }

    def _instance(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> Instance:
        return Instance([sys.executable, "-m", "ems_streams", *arguments], environment, ROOT, self.logs / f"{name}.log")

    def _wait_until_ready(self, dev: Instance) -> None:
        waiting = dict(self.health_ports)
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while waiting:
            dev.check()
            for name, port in list(waiting.items()):
                if _ready(port):
                    del waiting[name]
            if time.monotonic() > deadline_s:
                raise PeerFailedError(f"not ready after {READY_TIMEOUT_S:.0f} s: {', '.join(waiting)}; {dev.log_tail()}")
            time.sleep(0.2)


def _clean_environment() -> dict[str, str]:
    """Without whatever is set for another deployment."""
    strange = ("EMS_", "KAFKA_", "MQTT_", "DATABASE_")
    kept = {"EMS_CACHE_DIR", "EMS_JAVA", "EMS_JAR_REPOSITORY"}
    return {name: value for name, value in os.environ.items() if name in kept or not name.startswith(strange)}


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
            return True
    except OSError:
        return False


def _pids_below(pid: int) -> dict[str, int]:
    """Processes by what they are."""
    found = {}
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if (name := _name_of(process, pid)) is not None:
                found[name] = process.pid
        except psutil.Error:
            continue
    return found


def _name_of(process: psutil.Process, dev_pid: int) -> str | None:
    command = process.cmdline()
    for at, word in enumerate(command[:-1]):
        if word == "ems_streams" and command[at - 1] == "-m" and command[at + 1] in KIND_OF_COMMAND:
            return process.environ()["EMS_WORKER_ID"] if command[at + 1] == "worker" else command[at + 1]
    # The servers are children of `dev` itself; those below are theirs.
    if process.ppid() != dev_pid:
        return None
    text = " ".join(command)
    marks = {"kafka.Kafka": "Kafka", "artemis": "MQTT broker", "postgres": "PostgreSQL"}
    return next((name for mark, name in marks.items() if mark in text), None)
