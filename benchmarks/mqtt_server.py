"""An MQTT broker that lives for one run: mosquitto where it is installed, otherwise the one of `ems-streams dev`."""

import asyncio
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Instance, PeerFailedError
from ems_streams.dev.ports import Ports
from ems_streams.dev.stack import EmbeddedStack

_READY_TIMEOUT_S = 10.0
_CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
sys_interval 0
max_queued_messages 0
max_inflight_messages 4000
persistence false
log_type error
"""


def mosquitto() -> str | None:
    """Path of mosquitto, which Debian keeps where only root looks."""
    return shutil.which("mosquitto", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")


def described() -> str:
    """For the report."""
    return "mosquitto" if mosquitto() else "Apache ActiveMQ Artemis 2.44 (mosquitto is not installed)"


@contextmanager
def mqtt_server(directory: Path, ports: Ports) -> Iterator[tuple[int, int]]:
    """A broker without any session yet; its port and its process."""
    program = mosquitto()
    directory.mkdir(parents=True)
    if program is None:
        stack = EmbeddedStack(directory, ports, servers=frozenset({"mqtt"}))
        asyncio.run(stack.start())
        try:
            yield ports.mqtt, stack.mqtt.pid or 0
        finally:
            asyncio.run(stack.stop())
        return
    configuration = directory / "mosquitto.conf"
    configuration.write_text(_CONFIGURATION.format(port=ports.mqtt))
    server = Instance([program, "-c", str(configuration)], os.environ, directory, directory / "mosquitto.log")
    try:
        _wait_until_open(ports.mqtt, server)
        yield ports.mqtt, server.pid
    finally:
        server.terminate()
        server.ended(10)


def _wait_until_open(port: int, server: Instance) -> None:
    deadline_s = time.monotonic() + _READY_TIMEOUT_S
    while time.monotonic() < deadline_s:
        server.check()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise PeerFailedError(f"mosquitto does not listen after {_READY_TIMEOUT_S:.0f} s: {server.log_tail()}")
