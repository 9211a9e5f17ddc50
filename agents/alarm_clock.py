"""Time that goes on for the agent `alarms`: data that are missing, and alarms that nobody takes note of.

As for silence, time in which nothing came counts only while every ingress listened, and only as far as this partition has folded what had come by then.
"""

from typing import Final, NamedTuple

from agents.alarm_book import book_of
from ems_streams.domain.alarm_folds import due_ms, tick
from ems_streams.domain.alarm_memory import DeviceMemory
from ems_streams.domain.due_index import NEVER_MS
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from ems_streams.kafka.due_keys import DueKeys
from ems_streams.kafka.heartbeats import heartbeats
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.record_batch import RecordBatch
from tables import alarms
from tables.alarms import FIRST_DEVICE_KEY, LISTENING_KEY, Record, listening_of, memory_of

_NAME: Final = "clock"


class _Listened(NamedTuple):
    """What may be concluded once the partition has folded telemetry up to its end."""

    since_ms: int
    until_ms: int
    telemetry_end: int


class AlarmClock:
    """Of one partition, from its first heartbeat on.

    The stretch of time in which somebody listened is stored with the states; what waits for this partition to catch up is in memory only: after a
    crash the next heartbeat says it again, about a later time. So missing data may be found late, never wrongly.
    """

    def __init__(self, partition: PartitionState[Record], gap_ms: int) -> None:
        self._partition = partition
        self._gap_ms = gap_ms
        # The oldest that is ahead of the partition, and the newest: one that lags all the time still gets to the first of them.
        self._waiting: list[_Listened] = []
        self._since_ms = 0
        self._until_ms: int | None = None
        self._due = DueKeys(partition, self._due_ms, FIRST_DEVICE_KEY)

    def take_heartbeats(self, batch: RecordBatch, start: int) -> None:
        """Let time go on by what the heartbeats say, as soon as this partition has folded what they speak of."""
        partition = self._partition
        listening = listening_of(partition)
        # What is no heartbeat is put aside by the aggregates agent.
        for record, heartbeat in heartbeats(batch, start, partition, None):
            # Of two clocks the one that is behind counts: an ingress whose clock runs ahead must not make data missing.
            listening.hear(heartbeat.ingress_id, min(to_epoch_ms(heartbeat.timestamp), record.timestamp), self._gap_ms)
            self._waiting[1:] = [_Listened(listening.since_ms, listening.until_ms, heartbeat.telemetry_end)]
        partition.put(LISTENING_KEY, listening)
        self.folded_to(partition.positions.get(DEVICE_TELEMETRY, -1))

    def folded_to(self, offset: int) -> None:
        """Telemetry is folded up to an offset: a heartbeat that was ahead of it may count now."""
        while self._waiting and self._waiting[0].telemetry_end <= offset + 1:
            self._since_ms, self._until_ms = self._waiting.pop(0)[:2]
        if self._until_ms is not None:
            self._move_on(self._until_ms)

    def touched(self, key: bytes, memory: DeviceMemory) -> None:
        """A device may be due earlier than it was."""
        self._due.touched((key,), due_ms(memory, memory.plan, self._since_ms))

    def _move_on(self, now_ms: int) -> None:
        partition, book = self._partition, book_of(self._partition)
        for key in self._due.due(now_ms):
            memory = memory_of(partition, key)
            if memory is not None:
                steps = tick(memory, memory.plan_by(book.plans), self._since_ms, now_ms)
                if steps:
                    book.take(memory, steps)
                    partition.put(key, memory)
        book.purge(now_ms)

    def _due_ms(self, held: Record | bytes) -> int:
        memory = alarms.decode(held) if isinstance(held, bytes) else held
        if not isinstance(memory, DeviceMemory):
            return NEVER_MS
        return due_ms(memory, memory.plan_by(book_of(self._partition).plans), self._since_ms)


def clock_of(partition: PartitionState[Record]) -> AlarmClock | None:
    """That of a partition, if it had a heartbeat since it was opened, or since its rules changed."""
    return partition.derived.get(_NAME)


def wind_up(partition: PartitionState[Record], gap_ms: int) -> AlarmClock:
    """That of a partition, from now on if there was none."""
    found = clock_of(partition)
    if found is None:
        found = partition.derived[_NAME] = AlarmClock(partition, gap_ms)
    return found


def look_at_all_again(partition: PartitionState[Record]) -> None:
    """The rules have changed: any device may be due now."""
    partition.derived.pop(_NAME, None)
