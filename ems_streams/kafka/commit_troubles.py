"""Partitions whose commits fail again and again although every recovery in between gets through: nothing moves, and nothing looks like an outage."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trouble:
    """Commits of a partition that failed one after the other.

    Attributes:
        failures: How many.
        reason: Of the last one, in words.
    """

    failures: int
    reason: str


class CommitTroubles:
    """Remembers them by partition, such as `device-aggregates[3]`, until a commit of that partition gets through.

    A recovery opens a transactional producer, which Kafka has to write down: where recoveries succeed Kafka is no outage, and whoever fails
    to commit after each of them is stuck.
    """

    def __init__(self) -> None:
        self._by_partition: dict[str, Trouble] = {}

    def failed(self, partition: str, reason: str) -> None:
        """A commit did not get through."""
        before = self._by_partition.get(partition)
        self._by_partition[partition] = Trouble(1 if before is None else before.failures + 1, reason)

    def succeeded(self, partition: str) -> None:
        """A commit got through."""
        if self._by_partition:
            self._by_partition.pop(partition, None)

    def outage(self) -> None:
        """A recovery failed because of Kafka: then commits prove nothing."""
        self._by_partition.clear()

    def keep(self, partitions: Iterable[str]) -> None:
        """Only these are ours from now on."""
        ours = frozenset(partitions)
        self._by_partition = {partition: trouble for partition, trouble in self._by_partition.items() if partition in ours}

    @property
    def repeated(self) -> dict[str, Trouble]:
        """Of which more than one commit has failed in a row."""
        return {partition: trouble for partition, trouble in self._by_partition.items() if trouble.failures > 1}
