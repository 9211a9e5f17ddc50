"""Agent `status`: reports and telemetry -> real transitions on `device-status`, from the state machine in `device-status`."""

from functools import partial

from ems_streams.domain.events import StatusReport, decode
from ems_streams.domain.status import DeviceStatusState, Transition, on_report, on_telemetry
from ems_streams.domain.telemetry_record import decode_telemetry_record
from ems_streams.kafka.catalogue import DEVICE_STATUS, DEVICE_STATUS_REPORTS, DEVICE_TELEMETRY
from ems_streams.kafka.dead_letters import good_records
from ems_streams.kafka.engine import BatchAgent
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.state_table import StateTable
from ems_streams.settings import Settings

NAME = "status"

decode_report = partial(decode, StatusReport)


def agent(table: StateTable[DeviceStatusState], settings: Settings) -> BatchAgent[DeviceStatusState]:
    """The agent on its table; transitions are published at once, times of last life by the interval."""
    return BatchAgent(NAME, (DEVICE_TELEMETRY, DEVICE_STATUS_REPORTS), table, fold_batch, settings.status_commit_interval_s)


def fold_batch(batch: RecordBatch, start: int, partition: PartitionState[DeviceStatusState]) -> None:
    """Run the state machine of each device over what it said, or over the sign of life that telemetry is."""
    if batch.topic == DEVICE_TELEMETRY:
        _fold_telemetry(batch, start, partition)
    else:
        _fold_reports(batch, start, partition)


def _fold_telemetry(batch: RecordBatch, start: int, partition: PartitionState[DeviceStatusState]) -> None:
    # The aggregates agent sends what is malformed to the dead letters.
    for record, telemetry in good_records(batch, decode_telemetry_record, start, partition, None):
        state = partition.get(telemetry.key)
        transition = on_telemetry(state, telemetry, batch.topic, batch.partition, record.offset)
        _write(partition, telemetry.key, state, transition)


def _fold_reports(batch: RecordBatch, start: int, partition: PartitionState[DeviceStatusState]) -> None:
    for record, report in good_records(batch, decode_report, start, partition, NAME):
        state = partition.get(report.key)
        transition = on_report(state, report, batch.topic, batch.partition, record.offset)
        _write(partition, report.key, state, transition)


def _write(
    partition: PartitionState[DeviceStatusState], key: bytes, state: DeviceStatusState | None, transition: Transition | None
) -> None:
    if transition is not None:
        partition.put(key, transition.state)
        partition.publish(DEVICE_STATUS, key, transition.event.encode())
    elif state is not None:
        partition.put(key, state)
