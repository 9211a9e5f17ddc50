"""Agent `status`: reports, telemetry and silence -> real transitions on `device-status`, from the state machine in `device-status`."""

from functools import partial

from agents.silent_devices import silent_devices_of, watch
from ems_streams.domain.events import StatusReport, decode
from ems_streams.domain.registry import RegistryEntry
from ems_streams.domain.silence import RegisteredTimeout, SilencePolicy, registered_timeout
from ems_streams.domain.status import DeviceStatusState, Transition, on_new_identity, on_registration, on_report, on_telemetry
from ems_streams.domain.telemetry_record import TelemetryRecord, decode_telemetry_record
from ems_streams.errors import MalformedError
from ems_streams.kafka.catalogue import DEVICE_REGISTRY, DEVICE_STATUS, DEVICE_STATUS_REPORTS, DEVICE_TELEMETRY, INGRESS_HEARTBEATS
from ems_streams.kafka.dead_letters import good_records, publish_dead_letter, wrong_key
from ems_streams.kafka.engine import BatchAgent
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.state_table import StateTable
from ems_streams.settings import Settings
from tables.device_status import FIRST_DEVICE_KEY, Record, registered_timeout_ms, state_of, timeout_key

NAME = "status"
SOURCES = (DEVICE_TELEMETRY, DEVICE_STATUS_REPORTS, INGRESS_HEARTBEATS, DEVICE_REGISTRY)
GAP_HEARTBEATS = 4
"""So many heartbeats may fail in a row before nobody counts as having listened."""

REMOVED = RegisteredTimeout(0)
"""A device that is taken out of the registry is no longer waited for."""

decode_report = partial(decode, StatusReport)


def agent(table: StateTable[Record], settings: Settings) -> BatchAgent[Record]:
    """The agent on its table; transitions are published at once, times of last life by the interval."""
    fold = partial(fold_batch, policy=silence_policy(settings))
    return BatchAgent(NAME, SOURCES, table, fold, settings.status_commit_interval_s)


def silence_policy(settings: Settings) -> SilencePolicy:
    """How long silence has to last in this installation."""
    return SilencePolicy(
        default_ms=round(settings.silence_timeout_s * 1000),
        by_type_ms={device_type: round(seconds * 1000) for device_type, seconds in settings.silence_timeouts.items()},
        gap_ms=round(GAP_HEARTBEATS * settings.heartbeat_interval_s * 1000),
    )


def fold_batch(batch: RecordBatch, start: int, partition: PartitionState[Record], *, policy: SilencePolicy) -> None:
    """Run the state machine of each device over what it said, over the sign of life that telemetry is, and over its silence."""
    if batch.topic == INGRESS_HEARTBEATS:
        watch(partition, policy).take_heartbeats(batch, start)
        return
    if batch.topic == DEVICE_REGISTRY:
        _fold_registry(batch, start, partition)
        return
    if batch.topic == DEVICE_TELEMETRY:
        _fold_telemetry(batch, start, partition)
    else:
        _fold_reports(batch, start, partition)
    if (silent_devices := silent_devices_of(partition)) is not None:
        silent_devices.after(batch)


def _fold_telemetry(batch: RecordBatch, start: int, partition: PartitionState[Record]) -> None:
    put, origin = partition.put, (batch.topic, batch.partition)
    # The aggregates agent sends what is malformed to the dead letters.
    for record, telemetry in good_records(batch, decode_telemetry_record, start, partition, None):
        key = telemetry.key
        state = state_of(partition, key)
        if state is not None and (state.device_type != telemetry.device_type or state.site_id != telemetry.site_id):
            _identify(partition, key, state, telemetry)
        transition = on_telemetry(state, telemetry, origin, record.offset, record.timestamp)
        if transition is not None:
            _change(partition, key, state, transition)
        elif state is not None:
            put(key, state)


def _identify(partition: PartitionState[Record], key: bytes, state: DeviceStatusState, telemetry: TelemetryRecord) -> None:
    # Devices of another type may have another timeout.
    if on_new_identity(state, telemetry) and (silent_devices := silent_devices_of(partition)) is not None:
        silent_devices.woken(key, state)


def _fold_reports(batch: RecordBatch, start: int, partition: PartitionState[Record]) -> None:
    for record, report in good_records(batch, decode_report, start, partition, NAME):
        state = state_of(partition, report.key)
        transition = on_report(state, report, (batch.topic, batch.partition), record.offset, record.timestamp)
        if transition is not None:
            _change(partition, report.key, state, transition)
        elif state is not None:
            partition.put(report.key, state)


def _change(partition: PartitionState[Record], key: bytes, known: DeviceStatusState | None, transition: Transition) -> None:
    state = transition.state
    if known is None:
        state.silence_timeout_ms = registered_timeout_ms(partition, key)
    partition.put(key, state)
    partition.publish(DEVICE_STATUS, key, transition.event.encode())
    if (silent_devices := silent_devices_of(partition)) is not None:
        silent_devices.woken(key, state)


def _decode_entry(value: bytes | None) -> tuple[RegistryEntry, RegisteredTimeout | None] | None:
    """A registry record with the timeout in it; None for one that removes its device."""
    if value is None:
        return None
    entry = decode(RegistryEntry, value)
    return entry, registered_timeout(entry)


def _fold_registry(batch: RecordBatch, start: int, partition: PartitionState[Record]) -> None:
    for record, entry in batch.decoded(_decode_entry, start):
        if isinstance(entry, MalformedError):
            publish_dead_letter(partition, batch, record, entry, NAME)
        elif entry is None:
            # Below it are keys of the table's own.
            if (key := record.key or b"") >= FIRST_DEVICE_KEY:
                _register(partition, key, REMOVED)
        elif record.key != (key := entry[0].serial_number.encode()):
            publish_dead_letter(partition, batch, record, wrong_key(record.key, key), NAME)
        else:
            _register(partition, key, entry[1])
            _move(partition, key, entry[0], record.timestamp)


def _register(partition: PartitionState[Record], key: bytes, timeout: RegisteredTimeout | None) -> None:
    if partition.get(timeout_key(key)) == timeout:
        return
    if timeout is None:
        partition.delete(timeout_key(key))
    else:
        partition.put(timeout_key(key), timeout)
    state = state_of(partition, key)
    if state is None:
        return
    state.silence_timeout_ms = None if timeout is None else timeout.timeout_ms
    partition.put(key, state)
    if (silent_devices := silent_devices_of(partition)) is not None:
        silent_devices.woken(key, state)


def _move(partition: PartitionState[Record], key: bytes, entry: RegistryEntry, at_ms: int) -> None:
    """Take over from the registry where and what a device is: one that says nothing any more would stay where it was, for whoever may see that site, for ever.

    An entry from before its last message says nothing new: the message follows from it. While a worker catches up, messages from before an entry may come behind it;
    then the device is where they say until its next message.
    """
    state = state_of(partition, key)
    if state is None or at_ms <= state.heard_ms or not on_registration(state, entry):
        return
    partition.put(key, state)
    # Devices of another type may have another timeout.
    if (silent_devices := silent_devices_of(partition)) is not None:
        silent_devices.woken(key, state)
