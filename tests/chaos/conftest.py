"""Servers and a system of their own for each chaos test: what one test breaks, no other meets."""

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ems_streams.dev.ports import Ports
from ems_streams.dev.stack import EmbeddedStack
from tests.chaos.harness import SCALE, SEED, System
from tests.support.processes import Deployment


@pytest.fixture(scope="session", autouse=True)
def _announce() -> None:
    print(f"\nCHAOS scale {SCALE:g} (EMS_CHAOS_SCALE), seed {SEED} (EMS_CHAOS_SEED)", flush=True)


@pytest.fixture
def stack() -> Iterator[EmbeddedStack]:
    """Running servers on empty data; from the main thread, since the kernel ends a server with the thread that started it."""
    directory = Path(tempfile.mkdtemp(prefix="ems-chaos-"))
    running = EmbeddedStack(directory, Ports.free())
    asyncio.run(running.start())
    try:
        yield running
    finally:
        asyncio.run(running.stop())
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def system(stack: EmbeddedStack, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[System]:
    """Topics applied, nothing started yet; everything that a test starts is ended after it."""
    deployed = Deployment(stack, tmp_path, f"chaos-{uuid.uuid4().hex[:8]}")
    try:
        deployed.command("topics", "apply")
        yield System(deployed, request.node.name.removeprefix("test_"))
    finally:
        deployed.stop()
