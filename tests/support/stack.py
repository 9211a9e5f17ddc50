"""The embedded servers for tests: one stack for the whole session, on free ports, in a temporary directory.

In a conftest: `from tests.support.stack import stack  # noqa: F401`. Tests that kill or stop a server start it again.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ems_streams.dev.ports import Ports
from ems_streams.dev.stack import EmbeddedStack


@pytest.fixture(scope="session")
def stack() -> Iterator[EmbeddedStack]:
    """Running Kafka, MQTT broker and PostgreSQL; usable from any event loop."""
    # Not below pytest's own temporary directory: each run of pytest closes that for others again, and PostgreSQL may run as another user.
    directory = Path(tempfile.mkdtemp(prefix="ems-stack-"))
    running = EmbeddedStack(directory, Ports.free())
    # Servers are bound to no loop: each test has its own. They are started from the main thread, since the kernel ends a server with
    # the thread that started it.
    asyncio.run(running.start())
    try:
        yield running
    finally:
        asyncio.run(running.stop())
        shutil.rmtree(directory, ignore_errors=True)
