"""Agent `notifications`: transitions and alarms become what people are told, unless the device flaps or is under maintenance."""

from functools import partial
from typing import Final

from ems_streams.domain import alarm_notices
from ems_streams.domain.alarm_notices import AlarmNotices, on_alarm_event
from ems_streams.domain.alarms import decode_alarm_event
from ems_streams.domain.due_index import NEVER_MS
from ems_streams.domain.events import Notification, StatusEvent, decode
from ems_streams.domain.flapping import FlappingPolicy
from ems_streams.domain.maintenance import MaintenanceWindow, decode_window
from ems_streams.domain.notices import DeviceNotices, due_ms, on_transition, tick
from ems_streams.errors import MalformedError
from ems_streams.kafka.catalogue import ALARM_EVENTS, DEVICE_NOTIFICATIONS, DEVICE_STATUS, INGRESS_HEARTBEATS, MAINTENANCE_WINDOWS
from ems_streams.kafka.dead_letters import good_records, publish_dead_letter
from ems_streams.kafka.due_keys import DueKeys
from ems_streams.kafka.engine import BatchAgent
from ems_streams.kafka.heartbeats import HeartbeatGate, heartbeats
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.state_table import StateTable
from ems_streams.settings import Settings
from tables import notifications
from tables.notifications import FIRST_DEVICE_KEY, WINDOWS_KEY, Record, alarm_notices_of, alarms_key, notices_of, serial_key, windows_of

NAME: Final = "notifications"
SOURCES: Final = (DEVICE_STATUS, ALARM_EVENTS, INGRESS_HEARTBEATS, MAINTENANCE_WINDOWS)
_GATE: Final = "gate"
_DUE: Final = "due"

decode_transition = partial(decode, StatusEvent)


def agent(table: StateTable[Record], settings: Settings) -> BatchAgent[Record]:
    """The agent on its table."""
    fold = partial(fold_batch, policy=flapping_policy(settings))
    # Nobody is told of a device that is under maintenance since before the worker was there.
    return BatchAgent(NAME, SOURCES, table, fold, settings.status_commit_interval_s, read_first=(MAINTENANCE_WINDOWS,))


def flapping_policy(settings: Settings) -> FlappingPolicy:
    """What is flapping in this installation."""
    return FlappingPolicy(settings.flapping_threshold, round(settings.flapping_half_life_s * 1000))


def fold_batch(batch: RecordBatch, start: int, partition: PartitionState[Record], *, policy: FlappingPolicy) -> None:
    """Tell people of transitions and alarms, keep the maintenance windows, and let time go on for devices that flap or were under maintenance."""
    if batch.topic == INGRESS_HEARTBEATS:
        _let_time_pass(batch, start, partition, policy)
    elif batch.topic == MAINTENANCE_WINDOWS:
        _fold_windows(batch, start, partition)
    elif batch.topic == ALARM_EVENTS:
        _fold_alarms(batch, start, partition)
    else:
        _fold_transitions(batch, start, partition, policy)


def _fold_transitions(batch: RecordBatch, start: int, partition: PartitionState[Record], policy: FlappingPolicy) -> None:
    windows = windows_of(partition)
    for record, event in good_records(batch, decode_transition, start, partition, NAME):
        notices, told = on_transition(notices_of(partition, event.key), event, record.timestamp, windows, policy)
        partition.put(event.key, notices)
        for each in told:
            partition.publish(DEVICE_NOTIFICATIONS, event.key, each.encode())
        if (due := partition.derived.get(_DUE)) is not None:
            due.touched((event.key,), due_ms(notices, windows, policy))


def _fold_alarms(batch: RecordBatch, start: int, partition: PartitionState[Record]) -> None:
    windows = windows_of(partition)
    for record, event in good_records(batch, decode_alarm_event, start, partition, NAME):
        notices = alarm_notices_of(partition, event.key)
        told = on_alarm_event(notices, event, record.timestamp, windows)
        _put_alarms(partition, event.key, notices, told)
        if notices.held_back and (due := partition.derived.get(_DUE)) is not None:
            due.touched((alarms_key(event.key),), alarm_notices.due_ms(notices, windows))


def _put_alarms(partition: PartitionState[Record], key: bytes, notices: AlarmNotices, told: list[Notification]) -> None:
    if notices.empty:
        partition.delete(alarms_key(key))
    else:
        partition.put(alarms_key(key), notices)
    for each in told:
        partition.publish(DEVICE_NOTIFICATIONS, key, each.encode())


def _decode_window(value: bytes | None) -> MaintenanceWindow | None:
    return None if value is None else decode_window(value)


def _fold_windows(batch: RecordBatch, start: int, partition: PartitionState[Record]) -> None:
    windows = windows_of(partition)
    for record, window in batch.decoded(_decode_window, start):
        if isinstance(window, MalformedError):
            publish_dead_letter(partition, batch, record, window, NAME)
        elif window is None:
            windows.remove((record.key or b"").decode(errors="replace"))
        elif record.key != window.key:
            error = MalformedError("key_mismatch", f"key={record.key!r}: must be the window's id {window.window_id!r}")
            publish_dead_letter(partition, batch, record, error, NAME)
        else:
            windows.put(window)
    windows.forget_old(batch.records[-1].timestamp)
    partition.put(WINDOWS_KEY, windows)
    # Devices may be due earlier than they were: all are looked at anew.
    partition.derived.pop(_DUE, None)


def _let_time_pass(batch: RecordBatch, start: int, partition: PartitionState[Record], policy: FlappingPolicy) -> None:
    gate = partition.derived.get(_GATE)
    if gate is None:
        gate = partition.derived[_GATE] = HeartbeatGate(DEVICE_STATUS)
    # What is no heartbeat is put aside by the aggregates agent.
    for record, heartbeat in heartbeats(batch, start, partition, None):
        gate.take(record, heartbeat)
    now_ms = gate.advance(partition.positions.get(DEVICE_STATUS, -1))
    if now_ms is None:
        return
    windows = windows_of(partition)
    for key in _due_keys(partition, policy).due(now_ms):
        held = partition.get(key)
        if isinstance(held, AlarmNotices):
            _put_alarms(partition, serial_key(key), held, alarm_notices.tick(held, now_ms, windows))
        elif isinstance(held, DeviceNotices):
            told = tick(held, now_ms, windows, policy)
            partition.put(key, held)
            for each in told:
                partition.publish(DEVICE_NOTIFICATIONS, key, each.encode())


def _due_keys(partition: PartitionState[Record], policy: FlappingPolicy) -> DueKeys[Record]:
    due: DueKeys[Record] | None = partition.derived.get(_DUE)
    if due is None:

        def when(held: Record | bytes) -> int:
            record = notifications.decode(held) if isinstance(held, bytes) else held
            if isinstance(record, AlarmNotices):
                return alarm_notices.due_ms(record, windows_of(partition))
            return due_ms(record, windows_of(partition), policy) if isinstance(record, DeviceNotices) else NEVER_MS

        due = partition.derived[_DUE] = DueKeys(partition, when, FIRST_DEVICE_KEY)
    return due
