"""A service of `docker/compose.yaml` as a plain process: its command line, environment, user and read-only root, with other addresses."""

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.container_facts import ROOT, USER, image_environment
from tests.support.processes import Running

_SCRIPT = Path(__file__).with_name("container.sh")
_NO_NEW_CODE = "import ctypes, os, sys; ctypes.CDLL(None).prctl(65, 1, 0, 0, 0); os.execvp(sys.argv[1], sys.argv[1:])"
"""Denies memory that is writable and executable (PR_SET_MDWE), as the units of systemd do; without effect before Linux 6.3."""


@cache
def can_contain() -> bool:
    """Whether this machine lets us make namespaces of mounts and become another user."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv"))):
        return False
    tried = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        "mount -o remount,ro,bind / && setpriv --reuid=1 --clear-groups true",
    ]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


@dataclass
class Machine:
    """Where containers run: what they share, and what is put in the place of names that only a network of Compose knows."""

    replaced: Mapping[str, str]
    environment: Mapping[str, str]
    directory: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="ems-containers-")))

    def __post_init__(self) -> None:
        # Everybody may look in: a container is another user.
        self.directory.chmod(0o755)
        programs = self.directory / "bin"
        programs.mkdir()
        for name, text in {"ems-streams": f'exec "{sys.executable}" -m ems_streams "$@"', "hostname": "echo localhost"}.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)

    def start(self, name: str, service: dict[str, Any], port: int, **environment: str) -> Running:
        """Start a service; `environment` is told to it beside its own."""
        log_file = self.directory / f"{name}.log"
        with log_file.open("ab") as log:
            popen = subprocess.Popen(
                self.contained(name, [*service.get("entrypoint", ["ems-streams"]), *map(self._put, map(str, service["command"]))]),
                env=self._environment(name, service, environment),
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.data(name),
            )
        return Running(name, popen, port, log_file)

    def health(self, name: str, service: dict[str, Any], **environment: str) -> int:
        """Exit code of the service's own health check."""
        told = self._environment(name, service, environment)
        return subprocess.run(service["healthcheck"]["test"][1:], env=told, capture_output=True, timeout=30, check=False).returncode

    def data(self, name: str) -> Path:
        """What is the state directory of a container."""
        (path := self.directory / f"{name}-data").mkdir(exist_ok=True)
        return path

    def contained(self, name: str, command: list[str]) -> list[str]:
        (tmp := self.directory / f"{name}-tmp").mkdir(exist_ok=True)
        closed = _closed_above(Path(sys.executable).resolve())
        return [
            *("unshare", "--mount", "--propagation", "private", str(_SCRIPT), str(self.data(name)), str(tmp), str(USER)),
            *(map(str, closed) if closed else ("", "")),
            *(sys.executable, "-c", _NO_NEW_CODE),
            *command,
        ]

    def _environment(self, name: str, service: dict[str, Any], more: Mapping[str, str]) -> dict[str, str]:
        own = image_environment() | {key: self._put(str(value)) for key, value in service["environment"].items()}
        return own | {
            "PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.directory / f"{name}-tmp"),
            "EMS_DATA_DIR": str(self.data(name)),
            # Loopback is all there is here.
            "EMS_BIND_HOST": "127.0.0.1",
            "EMS_GATEWAY_HOST": "127.0.0.1",
            **self.environment,
            **more,
        }

    def _put(self, text: str) -> str:
        for name, other in self.replaced.items():
            text = text.replace(name, other)
        return text


def _closed_above(path: Path) -> tuple[Path, str] | None:
    """The first directory above that others may not enter, and the name below it that leads to `path`."""
    way = [*reversed(path.parents), path]
    for parent, child in itertools.pairwise(way):
        if not parent.stat().st_mode & 0o001:
            return parent, child.name
    return None
