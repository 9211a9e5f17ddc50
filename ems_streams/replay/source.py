"""What the fold of the live system is given in a replay: telemetry only, of the devices that were asked for."""

from ems_streams.domain.replays import ReplayDefinition
from ems_streams.domain.telemetry_record import decode_telemetry_record
from ems_streams.errors import MalformedError
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from ems_streams.kafka.engine import Fold
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.record_batch import RecordBatch
from tables.device_aggregates import Record


def replayed(fold: Fold[Record], definition: ReplayDefinition) -> Fold[Record]:
    """The fold, on whatever topic the telemetry stands; what nobody asked for is passed over."""

    def wanted(batch: RecordBatch, start: int, partition: PartitionState[Record]) -> None:
        records = batch.records[start:]
        if definition.devices:
            keys = {serial.encode() for serial in definition.devices}
            records = [record for record in records if record.key in keys]
        chosen = RecordBatch(DEVICE_TELEMETRY, batch.partition, records, batch.epoch)
        if definition.sites:
            chosen = _of_sites(chosen, frozenset(definition.sites))
        if chosen.records:
            fold(chosen, 0, partition)

    return wanted


def _of_sites(batch: RecordBatch, sites: frozenset[int]) -> RecordBatch:
    decoded = batch.decoded(decode_telemetry_record, 0)
    records = [record for record, event in decoded if not isinstance(event, MalformedError) and event.site_id in sites]
    return RecordBatch(batch.topic, batch.partition, records, batch.epoch)
