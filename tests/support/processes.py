"""Our processes, run for tests as users run them: `python -m ems_streams ...` against the embedded stack."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ems_streams.dev.ports import Ports
from ems_streams.dev.stack import EmbeddedStack

READY_TIMEOUT_S = 60.0


@dataclass
class Running:
    """One process of ours."""

    name: str
    popen: "subprocess.Popen[bytes]"
    port: int
    log_file: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.popen.kill()
        self.popen.wait(10)

    def terminate(self, timeout_s: float = 30.0) -> int:
        """SIGTERM; its exit code."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(timeout_s)

    def wait_until_ready(self, timeout_s: float = READY_TIMEOUT_S) -> Self:
        """Return when `/readyz` says 200; fails with the end of the log."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            if self.popen.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.popen.returncode}:\n{self.log_tail()}")
            if get(f"{self.url}/readyz")[0] == 200:
                return self
            time.sleep(0.1)
        raise AssertionError(f"{self.name} is not ready: {get(f'{self.url}/readyz')}\n{self.log_tail()}")

    def log_tail(self) -> str:
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-30:])


def get(url: str, timeout_s: float = 5.0) -> tuple[int, Any]:
    """Status and JSON body of a GET; status 0 when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        body = error.read()
        return error.code, json.loads(body) if body else None
    except (OSError, ValueError):
        return 0, None


def eventually(condition: Any, timeout_s: float, what: str) -> Any:
    """The first true value of `condition()`; fails when there is none in time."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s} s: {what}; last: {value!r}")
        time.sleep(0.1)


@dataclass
class Deployment:
    """Processes that belong together: one application id, one data directory, ports of their own."""

    stack: EmbeddedStack
    directory: Path
    application_id: str
    partitions: int = 4
    running: list[Running] = field(default_factory=list)
    extra: dict[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = ("-m", "ems_streams")

    def __post_init__(self) -> None:
        self.ports = Ports.free()
        self._worker_ports: dict[int, int] = {0: self.ports.worker}

    def environment(self, **more: str) -> dict[str, str]:
        """What every process of the deployment is told."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("EMS_", "KAFKA_", "MQTT_", "DATABASE_"))}
        return {
            **kept,
            "EMS_KAFKA_BOOTSTRAP_SERVERS": self.stack.kafka_bootstrap,
            "EMS_MQTT_URL": self.stack.mqtt_url,
            "EMS_MQTT_SHARE_GROUP": self.application_id,
            "EMS_DATABASE_URL": self.stack.database_url,
            "EMS_APPLICATION_ID": self.application_id,
            "EMS_PARTITIONS": str(self.partitions),
            "EMS_DATA_DIR": str(self.directory),
            "EMS_INGRESS_PORT": str(self.ports.ingress),
            "EMS_GATEWAY_PORT": str(self.ports.gateway),
            "EMS_WORKER_URLS": f"http://127.0.0.1:{self.ports.worker}",
            **self.extra,
            **more,
        }

    def command(self, *arguments: str, timeout_s: float = 120.0, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run `ems-streams` to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "ems_streams", *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert not check or done.returncode == 0, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def ingress(self, index: int = 0, **environment: str) -> Running:
        """Start an ingress replica; `environment` is told to it alone."""
        port = self.ports.ingress if index == 0 else Ports.free().ingress
        name = f"{self.application_id}-ingress-{index}"
        return self.start(name, ["ingress"], port, {"EMS_INGRESS_ID": name, "EMS_INGRESS_PORT": str(port), **environment})

    def worker(self, index: int = 0, **environment: str) -> Running:
        """Start a worker; the same index again continues with the same state directory and port. `environment` is told to it alone."""
        port = self._worker_ports.setdefault(index, Ports.free().worker)
        name = f"worker-{index}"
        return self.start(name, ["worker"], port, {"EMS_WORKER_ID": name, "EMS_WORKER_PORT": str(port), **environment})

    def sink(self, index: int = 0, **environment: str) -> Running:
        """Start a sink; `environment` is told to it alone."""
        port = self.ports.sink if index == 0 else Ports.free().sink
        return self.start(f"sink-{index}", ["sink"], port, {"EMS_SINK_PORT": str(port), **environment})

    def notifier(self, channels_file: Path, index: int = 0, **environment: str) -> Running:
        """Start a notifier; `environment` is told to it alone."""
        port = self.ports.notifier if index == 0 else Ports.free().notifier
        told = {"EMS_NOTIFIER_PORT": str(port), "EMS_CHANNELS_FILE": str(channels_file), **environment}
        return self.start(f"notifier-{index}", ["notifier"], port, told)

    def gateway(self) -> Running:
        """Start the gateway."""
        return self.start("gateway", ["gateway"], self.ports.gateway, {})

    def start(
        self,
        name: str,
        arguments: Sequence[str],
        port: int,
        environment: Mapping[str, str],
        *,
        program: Sequence[str] = (),
    ) -> Running:
        """Start a process of ours in the background; `program` is what Python runs instead of ours, for a process with a fault put in."""
        self.directory.mkdir(parents=True, exist_ok=True)
        log_file = self.directory / f"{name}.log"
        with log_file.open("ab") as log:
            popen = subprocess.Popen(
                [sys.executable, *(program or self.program), *arguments],
                env=self.environment(**environment),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        running = Running(name, popen, port, log_file)
        self.running.append(running)
        return running

    def stop(self) -> None:
        """End everything that still runs."""
        alive = [each for each in self.running if each.popen.poll() is None]
        for each in alive:
            each.popen.terminate()
        for each in alive:
            try:
                each.popen.wait(30)
            except subprocess.TimeoutExpired:
                each.kill()
