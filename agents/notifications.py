"""Agent `notifications`: each transition on `device-status` becomes a notification."""

from functools import partial

from ems_streams.domain.events import StatusEvent, decode
from ems_streams.domain.notifications import of_transition
from ems_streams.kafka.catalogue import DEVICE_NOTIFICATIONS, DEVICE_STATUS
from ems_streams.kafka.dead_letters import good_records
from ems_streams.kafka.engine import BatchAgent
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.state_table import StateTable
from ems_streams.settings import Settings

NAME = "notifications"

decode_transition = partial(decode, StatusEvent)


def agent(table: StateTable[bytes], settings: Settings) -> BatchAgent[bytes]:
    """The agent on its table."""
    return BatchAgent(NAME, (DEVICE_STATUS,), table, fold_batch, settings.status_commit_interval_s)


def fold_batch(batch: RecordBatch, start: int, partition: PartitionState[bytes]) -> None:
    """Publish the notification of every transition."""
    for _, event in good_records(batch, decode_transition, start, partition, NAME):
        partition.publish(DEVICE_NOTIFICATIONS, event.key, of_transition(event).encode())
