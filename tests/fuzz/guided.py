"""Runs targets guided by coverage, each in a process of its own, and gathers what came of them."""

import importlib.util
import platform
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.fuzz.one_target import COUNTS, COUNTS_FILE

START_S: Final = 240.0
"""For imports and instrumentation, before the time of the target begins, and for its end."""
_COVERED: Final = re.compile(r"cov: (\d+)")


@dataclass(slots=True)
class Outcome:
    """Of one target.

    Attributes:
        taken: Inputs that it took.
        refused: Inputs that it refused in its own words.
        crashes: Inputs that nobody has thought of; libFuzzer ends with the first.
        covered: Branches that were seen; None where nothing tells.
        detail: Of a crash: the end of its traceback and the input.
    """

    name: str
    seconds: float
    taken: int
    refused: int
    crashes: int
    covered: int | None = None
    detail: str = ""

    def view(self) -> dict[str, Any]:
        return asdict(self)


def possible() -> str:
    """Why guided fuzzing is not possible here; empty when it is."""
    if importlib.util.find_spec("atheris") is not None:
        return ""
    return f"atheris is not installed; it is built for Python 3.11 on Linux x86_64 only, and this is {platform.python_version()} on {platform.machine()}"


def run_guided(name: str, seconds: float) -> Outcome:
    """Feed a target for a time."""
    with tempfile.TemporaryDirectory(prefix="ems-fuzz-") as directory:
        return _run(name, seconds, Path(directory))


def _run(name: str, seconds: float, directory: Path) -> Outcome:
    command = [sys.executable, "-m", "tests.fuzz.one_target", name, "--seconds", str(seconds), "--directory", str(directory)]
    began_s = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds + START_S, check=False)
        code, said = done.returncode, (done.stdout + done.stderr).decode(errors="replace")
    except subprocess.TimeoutExpired as error:
        code, said = -1, f"it did not end in time\n{(error.stderr or b'').decode(errors='replace')}"
    counts = directory / COUNTS_FILE
    taken, refused = COUNTS.unpack(counts.read_bytes()) if counts.exists() else (0, 0)
    covered = [int(each) for each in _COVERED.findall(said)]
    found = Outcome(name, round(time.monotonic() - began_s, 1), taken, refused, 0, covered[-1] if covered else None)
    if code:
        found.crashes, found.detail = 1, _detail(said, directory)
    return found


def _detail(said: str, directory: Path) -> str:
    inputs = [path for pattern in ("crash-*", "timeout-*", "oom-*") for path in directory.glob(pattern)]
    begin = said.find("=== Uncaught Python exception")
    lines = (said[begin:] if begin >= 0 else said).splitlines()
    traceback = "\n".join(line for line in lines if not line.startswith("INFO: Instrumenting"))
    return "\n".join([traceback[:3000], *(f"{path.name}: {path.read_bytes()[:2000]!r}" for path in inputs)])
