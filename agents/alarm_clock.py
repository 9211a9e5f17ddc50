"""Time that goes on for the agent `alarms`: data that are missing, and alarms that nobody takes note of.

As for silence, time in which nothing came counts only while every ingress listened, and only as far as this partition has folded what had come by then.
"""

from typing import Final

from agents.alarm_book import book_of
from ems_streams.domain.alarm_folds import due_ms, tick
from ems_streams.domain.alarm_memory import DeviceMemory
from ems_streams.domain.due_index import NEVER_MS
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from ems_streams.kafka.due_keys import DueKeys
from ems_streams.kafka.listening_gate import ListeningGate, Offsets
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.record_batch import RecordBatch
from tables import alarms
from tables.alarms import FIRST_DEVICE_KEY, LISTENING_KEY, Record, Removed, listening_of, memory_of

_NAME: Final = "clock"


class AlarmClock:
    """Of one partition, from its first heartbeat on."""

    def __init__(self, partition: PartitionState[Record], gap_ms: int) -> None:
        self._partition = partition
        self._gate = ListeningGate(gap_ms, lambda heartbeat: {DEVICE_TELEMETRY: heartbeat.telemetry_end})
        self._due = DueKeys(partition, self._due_ms, FIRST_DEVICE_KEY)

    def take_heartbeats(self, batch: RecordBatch, start: int) -> None:
        """Let time go on by what the heartbeats say, as soon as this partition has folded what they speak of."""
        listening = listening_of(self._partition)
        self._gate.hear(batch, start, self._partition, listening)
        self._partition.put(LISTENING_KEY, listening)
        self._tick(self._partition.positions)

    def after(self, batch: RecordBatch) -> None:
        """Telemetry has been folded, wholly: a heartbeat that was ahead of it may count now."""
        self._tick({batch.topic: batch.last_offset})

    def touched(self, key: bytes, memory: DeviceMemory) -> None:
        """A device may be due earlier than it was."""
        self._due.touched((key,), due_ms(memory, memory.plan, self._gate.since_ms))

    def removed(self, key: bytes, removed: Removed) -> None:
        """A device is gone; that it was can be forgotten later."""
        self._due.touched((key,), removed.forgotten_ms)

    def _tick(self, folded: Offsets) -> None:
        now_ms = self._gate.advance(folded)
        if now_ms is not None:
            self._move_on(now_ms)

    def _move_on(self, now_ms: int) -> None:
        partition, book = self._partition, book_of(self._partition)
        for key in self._due.due(now_ms):
            memory = memory_of(partition, key)
            if memory is None:
                # All that had arrived by now is folded, and so all that came before it was removed. Of a device that is due nothing else is kept.
                partition.delete(key)
            else:
                steps = tick(memory, memory.plan_by(book.plans), self._gate.since_ms, now_ms)
                if steps:
                    book.take(memory, steps)
                    partition.put(key, memory)
        book.purge(now_ms)

    def _due_ms(self, held: Record | bytes) -> int:
        memory = alarms.decode(held) if isinstance(held, bytes) else held
        if isinstance(memory, Removed):
            return memory.forgotten_ms
        if not isinstance(memory, DeviceMemory):
            return NEVER_MS
        return due_ms(memory, memory.plan_by(book_of(self._partition).plans), self._gate.since_ms)


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
