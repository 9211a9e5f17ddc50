"""Every topic that an agent of the worker reads, through its fold on a real store: a record is taken in or becomes a dead letter, and stops nothing."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from ems_streams.app import worker_app
from ems_streams.kafka.engine import BatchAgent
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.settings import Settings
from tests.fuzz.seeds import records
from tests.fuzz.target import Target, split
from tests.support.partition import Stored, Writer, opened
from tests.unit.domain.builders import NOON_MS

ANEW_AFTER: Final = 500
"""So many records are folded into one state before it begins anew."""


def fold_targets(directory: Path) -> Iterator[Target]:
    """A target for each agent and each of its topics.

    Args:
        directory: For the stores.
    """
    app = worker_app(Settings(data_dir=directory, partitions=1))
    seeds = records()
    for agent in app.engine.agents.values():
        for topic in agent.sources:
            seeded = [key + b"\n" + value for key, value in seeds[topic]]
            yield Target(f"fold-{agent.name}-{topic}", f"agent {agent.name}, records of {topic}", _feeder(agent, topic, seeds), seeded)


def _feeder(agent: BatchAgent[Any], topic: str, seeds: dict[str, list[tuple[bytes, bytes]]]) -> Callable[[bytes], object]:
    offsets = itertools.count()
    held: dict[str, Any] = {}

    def anew() -> None:
        held["partition"] = opened(agent.table, Writer())
        # The state that a record meets is that of a device which has already said something.
        for other in agent.sources:
            _fold(
                agent, other, [Stored(next(offsets), NOON_MS, key or None, value or None) for key, value in seeds[other]], held["partition"]
            )

    def feed(data: bytes) -> object:
        number = next(offsets)
        if "partition" not in held or number % ANEW_AFTER == 0:
            anew()
        key, value = split(data)
        partition = held["partition"]
        before = _letters(partition, topic)
        _fold(agent, topic, [Stored(next(offsets), NOON_MS + number, key or None, value or None)], partition)
        for output in partition._outputs.values():
            # What is published is encoded: a value that is not would fail in the commit, in the name of all others.
            assert all(isinstance(sent, bytes | None) for _, sent, _ in output)
        return _letters(partition, topic) == before

    return feed


def _fold(agent: BatchAgent[Any], topic: str, stored: list[Stored], partition: Any) -> None:
    agent.fold(RecordBatch(topic, 0, stored, 0), 0, partition)
    partition.advance(topic, stored[-1].offset)
    if agent.complete is not None and partition._marked:
        agent.complete(partition, list(partition._marked))
        partition._marked.clear()
    for state in partition._dirty.values():
        if state is not None:
            agent.table.codec.encode(state)


def _letters(partition: Any, topic: str) -> int:
    return len(partition._outputs.get((f"{topic}-dlt", 0), ()))
