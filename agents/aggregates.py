"""Agent `aggregates`: telemetry -> statistics per device and metric, in the table `device-aggregates`."""

from ems_streams.domain.aggregates import DeviceAggregates, fold
from ems_streams.domain.identifiers import telemetry_identity
from ems_streams.domain.telemetry_record import decode_telemetry_record
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from ems_streams.kafka.dead_letters import good_records
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
    for record, telemetry in good_records(batch, decode_telemetry_record, start, partition, NAME):
        key = telemetry.key
        state = get(key)
        if state is None:
            state = DeviceAggregates(telemetry.serial_number)
        fold(state, telemetry, telemetry_identity(telemetry.message_id, record.value or b""), record.offset, record.timestamp)
        put(key, state)
