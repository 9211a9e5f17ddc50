"""How long somebody has listened, as far as a partition has folded what had come by then: what silence of devices is judged by.

A heartbeat says where topics ended at its time; it counts when all of them are folded up to there (`heartbeats.py`). What heartbeats tell together is a stretch
of time in which every ingress listened (`domain/silence.py`).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ems_streams.domain.heartbeat import Heartbeat
from ems_streams.domain.silence import Listening
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.kafka.heartbeats import heartbeats
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.record_batch import RecordBatch

Offsets = Mapping[str, int]
"""Offsets of topics by their names."""


class _Listened(NamedTuple):
    """What may be concluded once the partition has folded up to all ends."""

    since_ms: int
    until_ms: int
    ends: Offsets


class ListeningGate:
    """Of one partition, from its first heartbeat on.

    The stretch itself is stored with the states, as far as heartbeats were read. What waits for the partition to catch up is in memory only: after a
    crash the next heartbeat says it again, about a later time. So silence may be found late, never wrongly.

    Args:
        gap_ms: How far apart heartbeats are a break in listening.
        ends_of: What a heartbeat says of the topics that have to be folded: of each the offset behind its last record.

    Attributes:
        since_ms: Begin of the stretch that counts.
        until_ms: Until when somebody listened, and everything is folded that had come by then; None before anything counts.
    """

    def __init__(self, gap_ms: int, ends_of: Callable[[Heartbeat], Offsets]) -> None:
        self._gap_ms = gap_ms
        self._ends_of = ends_of
        # The oldest that is ahead of the partition, and the newest: one that lags all the time still gets to the first of them.
        self._waiting: list[_Listened] = []
        self.since_ms = 0
        self.until_ms: int | None = None

    def hear(self, batch: RecordBatch, start: int, partition: PartitionState[Any], listening: Listening) -> None:
        """Take heartbeats in from index `start`; they count from the next `advance` on that reaches their ends.

        Args:
            batch: Of `ingress-heartbeats`. What is no heartbeat is left to the aggregates agent.
            start: Index of the first record.
            partition: That the batch is of.
            listening: Of the partition; changed in place.
        """
        for record, heartbeat in heartbeats(batch, start, partition, None):
            # Of two clocks the one that is behind counts: an ingress whose clock runs ahead must not make anybody silent.
            listening.hear(heartbeat.ingress_id, min(to_epoch_ms(heartbeat.timestamp), record.timestamp), self._gap_ms)
            self._waiting[1:] = [_Listened(listening.since_ms, listening.until_ms, self._ends_of(heartbeat))]

    def advance(self, positions: Offsets) -> int | None:
        """Topics are folded up to and with these offsets, those that are not named not at all; gives `until_ms`."""
        while self._waiting and all(end <= positions.get(topic, -1) + 1 for topic, end in self._waiting[0].ends.items()):
            self.since_ms, self.until_ms, _ = self._waiting.pop(0)
        return self.until_ms
