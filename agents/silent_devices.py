"""What the agent `status` does for devices of which nothing is heard any more: they are offline when that has lasted for their timeout."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from ems_streams.domain.due_index import NEVER_MS
from ems_streams.domain.silence import SilencePolicy, due_ms, tick
from ems_streams.domain.status import DeviceStatusState
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.kafka.catalogue import DEVICE_STATUS, DEVICE_STATUS_REPORTS, DEVICE_TELEMETRY
from ems_streams.kafka.due_keys import DueKeys
from ems_streams.kafka.heartbeats import heartbeats
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.record_batch import RecordBatch
from tables.device_status import FIRST_DEVICE_KEY, LISTENING_KEY, Record, decode, listening_of, state_of

_NAME: Final = "silent devices"


class _Listened(NamedTuple):
    """What may be concluded once the partition has folded up to both ends."""

    since_ms: int
    until_ms: int
    telemetry_end: int
    reports_end: int


class SilentDevices:
    """Of one partition, from its first heartbeat on.

    The stretch of time in which somebody listened is stored with the states, as far as heartbeats were read. What waits for this partition
    to catch up is in memory only: after a crash the next heartbeat says it again, about a later time. So silence may be found late, never
    wrongly.

    A device that sends is looked at about once in its timeout, and its messages cost nothing here.
    """

    def __init__(self, partition: PartitionState[Record], policy: SilencePolicy) -> None:
        self._partition = partition
        self._policy = policy
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
            # Of two clocks the one that is behind counts: an ingress whose clock runs ahead must not make devices silent.
            listening.hear(heartbeat.ingress_id, min(to_epoch_ms(heartbeat.timestamp), record.timestamp), self._policy.gap_ms)
            listened = _Listened(listening.since_ms, listening.until_ms, heartbeat.telemetry_end, heartbeat.reports_end or 0)
            self._waiting[1:] = [listened]
        partition.put(LISTENING_KEY, listening)
        self._tick(self._folded(DEVICE_TELEMETRY), self._folded(DEVICE_STATUS_REPORTS))

    def after(self, batch: RecordBatch) -> None:
        """Telemetry or reports have been folded, wholly: a heartbeat that was ahead of them may count now."""
        if batch.topic == DEVICE_TELEMETRY:
            self._tick(batch.last_offset, self._folded(DEVICE_STATUS_REPORTS))
        else:
            self._tick(self._folded(DEVICE_TELEMETRY), batch.last_offset)

    def woken(self, key: bytes, state: DeviceStatusState) -> None:
        """A device has become one whose silence may mean something, or by another timeout than before."""
        self._due.touched((key,), due_ms(state, 0, self._policy))

    def _folded(self, topic: str) -> int:
        return self._partition.positions.get(topic, -1)

    def _tick(self, telemetry: int, reports: int) -> None:
        while self._waiting and self._waiting[0].telemetry_end <= telemetry + 1 and self._waiting[0].reports_end <= reports + 1:
            self._since_ms, self._until_ms = self._waiting.pop(0)[:2]
        if self._until_ms is not None:
            self._move_on(self._due.due(self._until_ms), self._until_ms)

    def _move_on(self, keys: Iterable[bytes], now_ms: int) -> None:
        partition = self._partition
        for key in keys:
            state = state_of(partition, key)
            transition = None if state is None else tick(state, self._since_ms, now_ms, self._policy, partition.partition)
            if transition is not None:
                partition.put(key, transition.state)
                partition.publish(DEVICE_STATUS, key, transition.event.encode())

    def _due_ms(self, held: Record | bytes) -> int:
        state = decode(held) if isinstance(held, bytes) else held
        return due_ms(state, self._since_ms, self._policy) if isinstance(state, DeviceStatusState) else NEVER_MS


def silent_devices_of(partition: PartitionState[Record]) -> SilentDevices | None:
    """Those of a partition, if it had a heartbeat since it was opened."""
    return partition.derived.get(_NAME)


def watch(partition: PartitionState[Record], policy: SilencePolicy) -> SilentDevices:
    """Those of a partition, from now on if they were not watched before."""
    found = silent_devices_of(partition)
    if found is None:
        found = partition.derived[_NAME] = SilentDevices(partition, policy)
    return found
