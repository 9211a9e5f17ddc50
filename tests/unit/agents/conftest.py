"""What tests of agents begin with."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.unit.agents.alarm_worker import Worker


@pytest.fixture
def worker(tmp_path: Path) -> Iterable[Worker]:
    made = Worker(tmp_path)
    yield made
    asyncio.run(made.table.store.stop())
