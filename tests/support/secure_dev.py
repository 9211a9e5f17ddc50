"""A running `ems-streams dev --secure`, reached with what its directory has; and a search for its secrets where none may be."""

import base64
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import psutil

from ems_streams.dev.certificates import Pair
from ems_streams.dev.ports import Ports
from ems_streams.dev.secure import OPERATOR, SecureRun
from ems_streams.dev.secure_devices import parse_devices
from ems_streams.errors import EmsError
from ems_streams.mqtt.endpoint import TlsFiles
from tests.support.access import Access
from tests.support.dev_command import SERVER_SETTINGS, Dev

PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(.*?)-----END", re.DOTALL)
_LEAST_CHARS = 12


UP_TIMEOUT_S = 150.0


@contextmanager
def secure_dev(data_dir: Path, *options: str, devices: tuple[str, ...] = (), workers: int = 1) -> "Iterator[SecureDev]":
    """Running, with ports of its own; ended in an orderly way, unless something fails.

    Args:
        devices: Devices that get certificates, as `SITE/SERIAL`.
    """
    offset = _free_offset(workers)
    given = [part for each in devices for part in ("--device", each)]
    dev = Dev(data_dir, "--secure", "--port-offset", str(offset), "--workers", str(workers), *options, *given)
    try:
        dev.wait_for(lambda line: line.startswith("EMS Streams is up"), UP_TIMEOUT_S)
        dev.wait_for(lambda line: line.strip().startswith("logs "), 5.0)
        yield SecureDev(dev, data_dir, Ports.default(offset), devices)
        dev.process.terminate()
        assert dev.wait_end(60.0) == 0
    finally:
        dev.kill()


@dataclass
class SecureDev:
    """The run, and the ways into it; `printed` is what commands have said."""

    dev: Dev
    data_dir: Path
    ports: Ports
    devices: tuple[str, ...]
    printed: list[tuple[str, str]] = field(default_factory=list)

    @cached_property
    def run(self) -> SecureRun:
        return SecureRun(self.data_dir / "secure", self.ports, frozenset({"kafka", "mqtt", "postgres"}), parse_devices(self.devices))

    @property
    def api(self) -> str:
        return f"https://localhost:{self.ports.gateway}"

    @cached_property
    def tls(self) -> ssl.SSLContext:
        return self.run.certificates.client_context()

    def files(self, shown: Pair) -> TlsFiles:
        return TlsFiles(self.run.certificates.ca, shown.cert, shown.key)

    def access(self, token: str = OPERATOR) -> Access:
        secrets = self.run.secrets
        kafka = {
            "bootstrap_servers": f"127.0.0.1:{self.ports.kafka}", "security_protocol": "SASL_SSL", "ssl_context": self.tls,
            "sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": "ems-operator", "sasl_plain_password": secrets.value("kafka-operator"),
        }  # fmt: skip
        return Access(
            self.api, f"mqtts://127.0.0.1:{self.ports.mqtt}", kafka, {"Authorization": f"Bearer {secrets.value(f'gateway-token-{token}')}"},
            self.tls, lambda serial: self.files(self.run.device(serial)),
        )  # fmt: skip

    def command(self, *arguments: str, env: dict[str, str] | None = None, timeout_s: float = 60.0) -> "subprocess.CompletedProcess[str]":
        """`ems-streams` as the operator, with nothing but the env file that the board names; `env` goes before that file."""
        argv = [sys.executable, "-m", "ems_streams", "--env-file", str(self.run.operator_env), *arguments]
        done = subprocess.run(argv, env=bare_environment() | (env or {}), capture_output=True, text=True, timeout=timeout_s, check=False)
        self.printed.append((f"{' '.join(arguments)} {sorted(env or {})}", done.stdout + done.stderr))
        return done

    def commands(self, *wanted: "tuple[Sequence[str], dict[str, str]]") -> "list[subprocess.CompletedProcess[str]]":
        """Several at once: most of their time is that of starting Python."""
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda each: self.command(*each[0], env=each[1]), wanted))

    def worker(self, number: int) -> Access:
        """The web of a worker, which asks for the internal token."""
        internal = {"Authorization": f"Bearer {self.run.secrets.value('internal-token')}"}
        return replace(self.access(), api=f"http://127.0.0.1:{self.ports.worker + number}", headers=internal, tls=None)

    def simulate(self, *arguments: str, timeout_s: float = 90.0) -> "subprocess.CompletedProcess[str]":
        """A fleet, with the credentials of the simulator."""
        argv = [sys.executable, "-m", "ems_streams", "simulate", *arguments]
        env = bare_environment() | self.run.environment("simulator")
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)

    # -- Secrets --

    def secrets(self) -> dict[str, str]:
        """Every secret of the run, by the file that it is in."""
        found: dict[str, str] = {}
        for path in self.run.secrets.directory.iterdir():
            text = path.read_text()
            if "://" not in text:
                found[path.name] = text
        for path in self.run.certificates.directory.glob("*-key.pem"):
            [body] = PEM.findall(path.read_text())
            found[path.name] = body.split()[1] if len(body.split()) > 1 else body.strip()
        for path in (self.data_dir / "secure").glob("kafka/*.properties"):
            for number, password in enumerate(sorted(set(re.findall(r'password=\\?"([^"\\]+)', path.read_text())))):
                found[f"{path.name}-{number}"] = password
        assert all(len(each) >= _LEAST_CHARS for each in found.values()), "too short to be searched for"
        return found

    def found_in(self, text: str) -> list[str]:
        """Names of the secrets that a text has, as they are or as base64."""
        forms = ((name, form) for name, secret in self.secrets().items() for form in (secret, base64.b64encode(secret.encode()).decode()))
        return sorted({name for name, form in forms if form in text})

    def logs(self) -> Iterator[tuple[str, str]]:
        """Every log of the run, and what the command itself printed."""
        yield "the command's output", "\n".join(self.dev.lines)
        for path in sorted((self.data_dir / "secure" / "logs").rglob("*")):
            if path.is_file():
                yield str(path), path.read_text(errors="replace")

    def processes(self) -> Iterator[tuple[str, str]]:
        """Command line and environment of every process of the run."""
        for process in [psutil.Process(self.dev.process.pid), *self.dev.family()]:
            try:
                yield f"command line of {process.name()}", "\0".join(process.cmdline())
                yield f"environment of {process.name()}", "\0".join(f"{name}={value}" for name, value in process.environ().items())
            except psutil.Error:
                continue

    def leaks(self, texts: Iterable[tuple[str, str]]) -> list[str]:
        """Where a secret is, and which."""
        return [f"{where}: {', '.join(found)}" for where, text in texts if (found := self.found_in(text))]


def _free_offset(workers: int) -> int:
    for candidate in range(20_000, 23_600, 89):
        try:
            Ports.default(candidate).check_free(workers)
        except EmsError:
            continue
        return candidate
    raise AssertionError("no free ports")


def bare_environment() -> dict[str, str]:
    """This environment without settings of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith("EMS_") and name not in SERVER_SETTINGS}
