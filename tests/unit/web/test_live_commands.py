"""Commands as a worker shows them: its own, and who has those of others."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ems_streams.kafka.state_table import PartitionNotReadyError
from ems_streams.web.live_commands import LiveCommands
from tests.unit.agents.test_commands import Worker
from tests.unit.domain.builders import SERIAL
from tests.unit.domain.command_builders import request


class App:
    """As much of a worker's app as is asked: who has which partitions of which changelog."""

    def __init__(self, owners: dict[str, dict[str, list[int]]]) -> None:
        self.router = self
        self._owners = owners

    def table_metadata(self, _: str) -> dict[str, dict[str, list[int]]]:
        return self._owners


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    made = Worker(tmp_path)
    yield made
    asyncio.run(made.table.store.stop())


def live(worker: Worker, owners: dict[str, Any] | None = None) -> LiveCommands:
    return LiveCommands(App(owners or {}), worker.table)  # type: ignore[arg-type]  # see there


def test_what_is_open_comes_first_and_then_what_is_over_the_newest_first(worker: Worker) -> None:
    asked = [request(f"k{number}") for number in range(4)]
    worker.ask(*asked)
    for each in asked[:2]:
        worker.answer(each, "COMPLETED")
    worker.table.partitions[0] = worker.partition
    found = live(worker).of_device(SERIAL, 3)
    assert [each["idempotencyKey"] for each in found["commands"]] == ["k3", "k2", "k1"]
    assert found["open"] == 2
    shown = live(worker).command(asked[0].command_id)
    assert shown is not None
    assert shown["status"] == "COMPLETED"
    assert live(worker).command(request("never-asked-for").command_id) is None


def test_what_is_not_here_is_asked_of_its_owner(worker: Worker) -> None:
    owners = {"http://a:6066/": {"other": [0]}, "http://b:6067/": {worker.table.changelog: [0]}}
    with pytest.raises(PartitionNotReadyError):
        live(worker).of_device(SERIAL, 3)
    assert live(worker, owners).owner(SERIAL) == "http://b:6067"
    assert live(worker).owner(SERIAL) is None
