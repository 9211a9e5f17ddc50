"""What the agent `status` does for devices of which nothing is heard any more: they are offline when that has lasted for their timeout."""

from typing import Final

from ems_streams.domain.due_index import NEVER_MS
from ems_streams.domain.heartbeat import Heartbeat
from ems_streams.domain.silence import SilencePolicy, due_ms, tick
from ems_streams.domain.status import DeviceStatusState
from ems_streams.kafka.catalogue import DEVICE_STATUS, DEVICE_STATUS_REPORTS, DEVICE_TELEMETRY
from ems_streams.kafka.due_keys import DueKeys
from ems_streams.kafka.listening_gate import ListeningGate, Offsets
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.record_batch import RecordBatch
from tables.device_status import FIRST_DEVICE_KEY, LISTENING_KEY, Record, decode, listening_of, state_of

_NAME: Final = "silent devices"


class SilentDevices:
    """Of one partition, from its first heartbeat on.

    A device that sends is looked at about once in its timeout, and its messages cost nothing here.
    """

    def __init__(self, partition: PartitionState[Record], policy: SilencePolicy) -> None:
        self._partition = partition
        self._policy = policy
        self._gate = ListeningGate(policy.gap_ms, _ends_of)
        self._due = DueKeys(partition, self._due_ms, FIRST_DEVICE_KEY)

    def take_heartbeats(self, batch: RecordBatch, start: int) -> None:
        """Let time go on by what the heartbeats say, as soon as this partition has folded what they speak of."""
        listening = listening_of(self._partition)
        self._gate.hear(batch, start, self._partition, listening)
        self._partition.put(LISTENING_KEY, listening)
        self._tick(self._partition.positions)

    def after(self, batch: RecordBatch) -> None:
        """Telemetry or reports have been folded, wholly: a heartbeat that was ahead of them may count now."""
        self._tick({**self._partition.positions, batch.topic: batch.last_offset})

    def woken(self, key: bytes, state: DeviceStatusState) -> None:
        """A device has become one whose silence may mean something, or by another timeout than before."""
        self._due.touched((key,), due_ms(state, 0, self._policy))

    def _tick(self, folded: Offsets) -> None:
        now_ms = self._gate.advance(folded)
        if now_ms is not None:
            self._move_on(now_ms)

    def _move_on(self, now_ms: int) -> None:
        partition = self._partition
        for key in self._due.due(now_ms):
            state = state_of(partition, key)
            transition = None if state is None else tick(state, self._gate.since_ms, now_ms, self._policy, partition.partition)
            if transition is not None:
                partition.put(key, transition.state)
                partition.publish(DEVICE_STATUS, key, transition.event.encode())

    def _due_ms(self, held: Record | bytes) -> int:
        state = decode(held) if isinstance(held, bytes) else held
        return due_ms(state, self._gate.since_ms, self._policy) if isinstance(state, DeviceStatusState) else NEVER_MS


def _ends_of(heartbeat: Heartbeat) -> Offsets:
    # A release before this one did not say where reports end.
    return {DEVICE_TELEMETRY: heartbeat.telemetry_end, DEVICE_STATUS_REPORTS: heartbeat.reports_end or 0}


def silent_devices_of(partition: PartitionState[Record]) -> SilentDevices | None:
    """Those of a partition, if it had a heartbeat since it was opened."""
    return partition.derived.get(_NAME)


def watch(partition: PartitionState[Record], policy: SilencePolicy) -> SilentDevices:
    """Those of a partition, from now on if they were not watched before."""
    found = silent_devices_of(partition)
    if found is None:
        found = partition.derived[_NAME] = SilentDevices(partition, policy)
    return found
