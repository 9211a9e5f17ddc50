"""Agent `aggregates`: telemetry -> statistics per device and metric, in the table `device-aggregates`."""

from ems_streams.domain.aggregates import DeviceAggregates, fold
from ems_streams.domain.identifiers import telemetry_identity
from ems_streams.domain.telemetry_record import decode_telemetry_record
from ems_streams.errors import MalformedError
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from ems_streams.kafka.dead_letters import publish_dead_letter, wrong_key
from ems_streams.kafka.engine import BatchAgent
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.state_table import StateTable
from ems_streams.settings import Settings

NAME = "aggregates"


def agent(table: StateTable[DeviceAggregates], settings: Settings) -> BatchAgent[DeviceAggregates]:
    """The agent on its table; live reads do not wait for its commits, so they may be seldom."""
    return BatchAgent(NAME, (DEVICE_TELEMETRY,), table, fold_batch, settings.aggregates_commit_interval_s)


def fold_batch(batch: RecordBatch, start: int, partition: PartitionState[DeviceAggregates]) -> None:
    """Fold telemetry into the devices' statistics; what is malformed goes to the dead letters."""
    get, put = partition.get, partition.put
    for record, telemetry in batch.decoded(decode_telemetry_record, start):
        if isinstance(telemetry, MalformedError):
            publish_dead_letter(partition, batch, record, telemetry, NAME)
            continue
        key = telemetry.key
        if record.key != key:
            publish_dead_letter(partition, batch, record, wrong_key(record.key, telemetry.serial_number), NAME)
            continue
        state = get(key)
        if state is None:
            state = DeviceAggregates(telemetry.serial_number)
        fold(state, telemetry, telemetry_identity(telemetry.message_id, record.value or b""), record.offset, record.timestamp)
        put(key, state)
