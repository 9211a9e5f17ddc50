"""A gateway with all that it needs, for `make fuzz`: real servers in a temporary directory, a worker and a gateway; ended afterwards."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ems_streams.dev.ports import Ports
from ems_streams.dev.stack import EmbeddedStack
from tests.support.processes import Deployment, Running


@contextlib.contextmanager
def running_gateway() -> Iterator[Running]:
    """Of a system of its own."""
    directory = Path(tempfile.mkdtemp(prefix="ems-fuzz-"))
    stack = EmbeddedStack(directory, Ports.free())
    asyncio.run(stack.start())
    deployment = Deployment(stack, directory / "data", "fuzz")
    try:
        deployment.command("topics", "apply")
        deployment.worker().wait_until_ready()
        yield deployment.gateway().wait_until_ready()
    finally:
        deployment.stop()
        asyncio.run(stack.stop())
        shutil.rmtree(directory, ignore_errors=True)


def troubles_of(gateway: Running) -> str:
    """What its log has that nobody has thought of; empty when there is nothing, and it still runs."""
    if gateway.popen.poll() is not None:
        return f"the gateway ended with {gateway.popen.returncode}\n{gateway.log_tail()}"
    text = gateway.log_file.read_text(errors="replace")
    at = min((text.find(word) for word in ("request failed", "Traceback", "Unhandled", "never retrieved") if word in text), default=-1)
    return text[max(at - 500, 0) : at + 3000] if at >= 0 else ""
