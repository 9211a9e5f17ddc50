"""What the peers run on: a virtual environment for each Python peer, one Maven build for the Java peers, outside the repository.

Everything is resolved by name and pinned version with the ordinary clients; a peer that cannot be installed says why.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
JAVA_SOURCES = PEERS / "java"
_STAMP = ".installed"
_MAVEN_TIMEOUT_S = 1200
_PIP_TIMEOUT_S = 900


class NotInstalledError(Exception):
    """A peer cannot be set up on this machine; the message says why."""


def default_directory() -> Path:
    """`bench` in the cache directory of the product."""
    cache = Path(os.environ.get("EMS_CACHE_DIR") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ems-streams")
    return cache / "bench"


class Environments:
    """Installs on first use, and remembers by the content of what was asked for.

    Args:
        directory: Where everything is kept.
        java: Program that runs the Java peers.
        on_install: Told what is being installed.
    """

    def __init__(self, directory: Path, java: str = "java", on_install: Callable[[str], None] = lambda _: None) -> None:
        self.directory = directory
        self.java = java
        self._on_install = on_install

    def python(self, peer: str) -> Path:
        """Interpreter of the peer's own virtual environment."""
        requirements = PEERS / peer / "requirements.txt"
        home = self.directory / f"venv-{peer}"
        wanted = _digest([requirements], sys.version)
        if _installed(home) != wanted:
            self._on_install(f"virtual environment of {peer}")
            shutil.rmtree(home, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(home)], _PIP_TIMEOUT_S)
            _run([str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(requirements)], _PIP_TIMEOUT_S)
            (home / _STAMP).write_text(wanted)
        return home / "bin" / "python"

    def class_path(self, module: str) -> str:
        """Class path of one module of the Java peers; builds all modules at once."""
        if shutil.which(self.java) is None:
            raise NotInstalledError(f"no Java runtime: {self.java} is not on the path (a JDK from 17 on is needed)")
        build = self.directory / "java"
        sources = sorted(path for path in JAVA_SOURCES.rglob("*") if path.is_file())
        wanted = _digest(sources, "")
        if _installed(build) != wanted:
            self._build_java(build, wanted)
        return os.pathsep.join((str(build / module / f"{module}-1.jar"), str(build / module / "lib" / "*")))

    def _build_java(self, build: Path, wanted: str) -> None:
        if shutil.which("mvn") is None:
            raise NotInstalledError("Maven is not installed (mvn is not on the path)")
        self._on_install("Java peers")
        shutil.rmtree(build, ignore_errors=True)
        build.mkdir(parents=True)
        command = ["mvn", "--quiet", "--batch-mode", "-f", str(JAVA_SOURCES / "pom.xml"), f"-Dbench.build={build}", "package"]
        _run(command, _MAVEN_TIMEOUT_S)
        (build / _STAMP).write_text(wanted)


def _installed(home: Path) -> str | None:
    stamp = home / _STAMP
    return stamp.read_text() if stamp.exists() else None


def _digest(files: Iterable[Path], more: str) -> str:
    digest = hashlib.sha256(more.encode())
    for file in files:
        digest.update(str(file).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _run(command: list[str], timeout_s: float) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalledError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        told = next((line for line in said if "ERROR" in line), said[-1] if said else "no output")
        raise NotInstalledError(f"{Path(command[0]).name} failed ({done.returncode}): {told[:300]}")
