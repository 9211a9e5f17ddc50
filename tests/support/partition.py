"""One partition of a state table with a real store, for tests of folds: what it is given, and what it commits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ems_streams.kafka.batching import KeyValue
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.state_table import StateTable

S = TypeVar("S")

CHANGELOG = "changelog"


@dataclass
class Stored:
    """A record as it is in Kafka."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = field(default_factory=list)


class Writer:
    """Takes what is committed; the changelog offset is the number of the commit."""

    def __init__(self) -> None:
        self.outputs: list[tuple[str, bytes | None, bytes | None]] = []
        self._commits = 0

    async def commit(self, outputs: Mapping[tuple[str, int], Sequence[KeyValue]]) -> dict[tuple[str, int], int]:
        self._commits += 1
        for (topic, _), records in outputs.items():
            if topic != CHANGELOG:
                self.outputs += [(topic, key, value) for key, value, _ in records]
        return dict.fromkeys(outputs, self._commits)

    async def close(self) -> None:
        """Nothing is open."""


def opened(table: StateTable[S], writer: Writer) -> PartitionState[S]:
    """Partition 0 as after a recovery: what was not committed is gone."""
    return PartitionState(
        0,
        epoch=0,
        changelog=CHANGELOG,
        codec=table.codec,
        store=table.store,
        writer=writer,  # type: ignore[arg-type]  # as much of it as is used
    )
