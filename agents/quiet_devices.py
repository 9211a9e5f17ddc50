"""What the agent `aggregates` does for devices from which nothing comes any more: their windows close by the ticks of the ingress."""

from collections.abc import Iterable

from ems_streams.domain.due_index import NEVER_MS
from ems_streams.domain.window_ticks import next_tick_ms, tick
from ems_streams.domain.windows import WindowPolicy
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from ems_streams.kafka.due_keys import DueKeys
from ems_streams.kafka.heartbeats import HeartbeatGate, heartbeats
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.record_batch import RecordBatch
from tables.device_aggregates import FIRST_DEVICE_KEY, Record, state_of, times_of

_NAME = "quiet devices"


class QuietDevices:
    """Of one partition, from its first heartbeat on: before that nothing is kept, and nothing closes but by event time.

    A device that sends is looked at about once in the time for which it may be quiet, and not at each message: only a message that wakes
    it says so here, one that finds it without an open minute, or with a watermark that a tick has moved on. Between two looks nothing makes
    a device due earlier, with one exception: where the policy's `quiet_ms` is less than a minute with its lateness, and the device's own
    clock jumps ahead, its minute may close later than it could, by that much.
    """

    def __init__(self, partition: PartitionState[Record], policy: WindowPolicy) -> None:
        self._partition = partition
        self._policy = policy
        self._gate = HeartbeatGate(DEVICE_TELEMETRY)
        self._due = DueKeys(partition, self._due_ms, FIRST_DEVICE_KEY)

    def take_heartbeats(self, batch: RecordBatch, start: int, stage: str) -> None:
        """Tick by what the heartbeats say, as soon as this partition has folded what they speak of."""
        for record, heartbeat in heartbeats(batch, start, self._partition, stage):
            self._gate.take(record, heartbeat)
        self._tick(self._partition.positions.get(DEVICE_TELEMETRY, -1))

    def take_telemetry(self, batch: RecordBatch, start: int, woken: Iterable[bytes]) -> None:
        """Telemetry has been folded, wholly: a heartbeat that was ahead of it may count now.

        Args:
            batch: The telemetry.
            start: Index of the first record that was folded.
            woken: Devices that had no open minute, or that a tick had moved on.
        """
        self._due.touched(woken, batch.records[start].timestamp + self._policy.quiet_ms)
        self._tick(batch.last_offset)

    def _tick(self, folded_to: int) -> None:
        now_ms = self._gate.advance(folded_to)
        if now_ms is not None:
            _move_on(self._partition, self._due.due(now_ms), now_ms, self._policy)

    def _due_ms(self, held: Record | bytes) -> int:
        times = times_of(held)
        return NEVER_MS if times is None else next_tick_ms(times, self._policy)


def quiet_devices_of(partition: PartitionState[Record]) -> QuietDevices | None:
    """Those of a partition, if it ever had a heartbeat since it was opened."""
    return partition.derived.get(_NAME)


def watch(partition: PartitionState[Record], policy: WindowPolicy) -> QuietDevices:
    """Those of a partition, from now on if they were not watched before."""
    found = quiet_devices_of(partition)
    if found is None:
        found = partition.derived[_NAME] = QuietDevices(partition, policy)
    return found


def _move_on(partition: PartitionState[Record], keys: Iterable[bytes], now_ms: int, policy: WindowPolicy) -> None:
    for key in keys:
        state = state_of(partition, key)
        if state is not None and tick(state, now_ms, policy):
            partition.put(key, state)
            partition.mark(key, len(policy.published))
