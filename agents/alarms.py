"""Agent `alarms`: telemetry, closed windows and time by the alarm rules -> the life of alarms on `alarm-events`.

What people are told of it is decided by the agent `notifications`, as for transitions: the facts are here, whoever is under maintenance.
"""

from functools import partial
from typing import Final

from agents.alarm_book import book_of
from agents.alarm_clock import clock_of, look_at_all_again, wind_up
from agents.status import GAP_HEARTBEATS
from ems_streams.domain.alarm_folds import Arrival, is_news, observe, observe_window
from ems_streams.domain.alarm_memory import DeviceMemory
from ems_streams.domain.alarm_plan import fingerprint
from ems_streams.domain.alarm_rules import AlarmRule, decode_rule
from ems_streams.domain.alarm_table import AlarmInput
from ems_streams.domain.alarm_windows import ClosedWindow, decode_closed_window
from ems_streams.domain.alarms import decode_acknowledgement
from ems_streams.domain.events import decode
from ems_streams.domain.promotions import PROMOTED_HEADER
from ems_streams.domain.registry import RegistryEntry
from ems_streams.domain.telemetry_record import TelemetryRecord, decode_telemetry_record
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.errors import MalformedError
from ems_streams.kafka.catalogue import (
    ALARM_ACKNOWLEDGEMENTS,
    ALARM_RULES,
    DEVICE_AGGREGATES,
    DEVICE_REGISTRY,
    DEVICE_TELEMETRY,
    INGRESS_HEARTBEATS,
)
from ems_streams.kafka.dead_letters import good_records, publish_dead_letter
from ems_streams.kafka.engine import BatchAgent
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.state_table import StateTable
from ems_streams.settings import Settings
from tables.alarms import FIRST_DEVICE_KEY, RULES_KEY, Record, Removed, forget_devices, is_of_removed, memory_of, rules_of

NAME: Final = "alarms"
SOURCES: Final = (DEVICE_TELEMETRY, DEVICE_AGGREGATES, INGRESS_HEARTBEATS, DEVICE_REGISTRY, ALARM_RULES, ALARM_ACKNOWLEDGEMENTS)


def agent(table: StateTable[Record], settings: Settings) -> BatchAgent[Record]:
    """The agent on its table; alarms are published at once, what is remembered of values by the interval."""
    gap_ms = round(GAP_HEARTBEATS * settings.heartbeat_interval_s * 1000)
    fold = partial(fold_batch, gap_ms=gap_ms)
    # A message is judged by the rules that were there before the worker was.
    return BatchAgent(NAME, SOURCES, table, fold, settings.status_commit_interval_s, read_first=(ALARM_RULES,))


def fold_batch(batch: RecordBatch, start: int, partition: PartitionState[Record], *, gap_ms: int) -> None:
    """Look at what came by the rules, and let time go on; `gap_ms` is how far apart heartbeats are a break in listening."""
    if batch.topic == INGRESS_HEARTBEATS:
        wind_up(partition, gap_ms).take_heartbeats(batch, start)
    elif batch.topic == DEVICE_AGGREGATES:
        _fold_windows(batch, start, partition)
    elif batch.topic == DEVICE_REGISTRY:
        _fold_registry(batch, start, partition)
    elif batch.topic == ALARM_RULES:
        _fold_rules(batch, start, partition)
    elif batch.topic == ALARM_ACKNOWLEDGEMENTS:
        _fold_acknowledgements(batch, start, partition)
    else:
        _fold_telemetry(batch, start, partition)
        if (clock := clock_of(partition)) is not None:
            clock.after(batch)


def _fold_telemetry(batch: RecordBatch, start: int, partition: PartitionState[Record]) -> None:
    book = book_of(partition)
    plans = book.plans
    if plans.empty:
        return
    put = partition.put
    # The aggregates agent sends what is malformed to the dead letters.
    for record, telemetry in good_records(batch, decode_telemetry_record, start, partition, None):
        key = telemetry.key
        arrived_ms = record.timestamp
        at_ms = min(arrived_ms, telemetry.timestamp_ms)
        memory = memory_of(partition, key)
        if memory is None:
            if plans.of(telemetry.device_type, telemetry.site_id, telemetry.serial_number).ignores_telemetry:
                continue
            if is_of_removed(partition, key, arrived_ms):
                continue
            memory = _new_memory(telemetry)
        elif memory.site_id != telemetry.site_id or memory.device_type != telemetry.device_type:
            if not is_news(memory, at_ms, arrived_ms):
                continue
            _move(partition, memory, telemetry, at_ms)
        plan = memory.plan_by(plans)
        # Also one that only its windows made known: with its first message the time begins in which it can be missed.
        first = memory.newest_ms < 0
        steps = observe(memory, plan, telemetry.metrics, Arrival(at_ms, arrived_ms, record.offset))
        put(key, memory)
        if steps:
            book.take(memory, steps)
        if (steps or first) and (clock := clock_of(partition)) is not None:
            clock.touched(key, memory)


def _fold_windows(batch: RecordBatch, start: int, partition: PartitionState[Record]) -> None:
    book = book_of(partition)
    plans = book.plans
    if not plans.with_windows:
        return
    for record, closed in good_records(batch, decode_closed_window, start, partition, NAME):
        # What a replay has promoted is history: nobody is alarmed by it.
        if any(name == PROMOTED_HEADER for name, _ in record.headers):
            continue
        memory = memory_of(partition, closed.key)
        if memory is None:
            # It closes after its end: what it tells of may be from before the device was removed.
            if is_of_removed(partition, closed.key, to_epoch_ms(closed.window_start)):
                continue
            memory = _new_memory(closed)
        plan = memory.plan_by(plans)
        # A window of a device that has moved since is one of the place where it was.
        if closed.window not in plan.windows or memory.site_id != closed.site_id or memory.device_type != closed.device_type:
            continue
        arrival = Arrival(min(to_epoch_ms(closed.window_end), record.timestamp), record.timestamp, record.offset)
        steps = observe_window(memory, plan, closed, arrival)
        partition.put(closed.key, memory)
        if steps:
            book.take(memory, steps)
            if (clock := clock_of(partition)) is not None:
                clock.touched(closed.key, memory)


def _fold_acknowledgements(batch: RecordBatch, start: int, partition: PartitionState[Record]) -> None:
    for record, acknowledgement in good_records(batch, decode_acknowledgement, start, partition, NAME):
        book_of(partition).acknowledge(acknowledgement, record.timestamp)


def _fold_rules(batch: RecordBatch, start: int, partition: PartitionState[Record]) -> None:
    book, rules = book_of(partition), rules_of(partition)
    version = rules.version
    for index in range(start, len(batch)):
        record = batch.records[index]
        rule: AlarmRule | None = None
        if record.value is not None:
            try:
                rule = decode_rule(record.key, record.value)
            except MalformedError as error:
                publish_dead_letter(partition, batch, record, error, NAME)
                continue
        rule_id = (record.key or b"").decode(errors="replace")
        before = rules.by_id.get(rule_id)
        if rule is None:
            rules.remove(rule_id)
        else:
            rules.put(rule)
        cause = _cause(before, rule)
        if cause is not None:
            book.clear_rule(rule_id, cause, record.timestamp)
    if rules.version != version:
        partition.put(RULES_KEY, rules)
        book.rules_changed()
        if book.plans.empty:
            # From here on nothing is looked at: what is remembered would be taken for the present when there are rules again.
            forget_devices(partition)
        look_at_all_again(partition)
        # Durable at once: after a crash, telemetry is not to be looked at again by the rules before these.
        partition.urgent.set()


def _cause(before: AlarmRule | None, after: AlarmRule | None) -> AlarmInput | None:
    """Why the alarms of a rule are over when it has become another one; None when they are not."""
    if before is None:
        return None
    if after is None:
        return AlarmInput.RULE_REMOVED
    if fingerprint(before) == fingerprint(after):
        return None
    return AlarmInput.RULE_CHANGED if after.enabled else AlarmInput.RULE_DISABLED


def _decode_entry(value: bytes | None) -> RegistryEntry | None:
    return None if value is None else decode(RegistryEntry, value)


def _fold_registry(batch: RecordBatch, start: int, partition: PartitionState[Record]) -> None:
    for record, entry in batch.decoded(_decode_entry, start):
        key = record.key or b""
        # Below it are keys of the table's own, which no device can have.
        if key < FIRST_DEVICE_KEY:
            continue
        memory = memory_of(partition, key)
        # The status agent puts aside what is no entry. An entry from before the last message says nothing new: the message follows from it.
        if isinstance(entry, MalformedError) or (memory is not None and record.timestamp <= memory.heard_ms):
            continue
        if entry is None:
            if memory is not None:
                book_of(partition).clear_device(memory, AlarmInput.DEVICE_REMOVED, record.timestamp)
            _remove(partition, key, record.timestamp)
        elif memory is None:
            continue
        elif (entry.site_id, entry.device_type) != (memory.site_id, memory.device_type) and record.key == entry.serial_number.encode():
            _move(partition, memory, entry, record.timestamp)
            partition.put(key, memory)


def _remove(partition: PartitionState[Record], key: bytes, at_ms: int) -> None:
    """What it has sent and is not folded yet must not bring it back: nobody would ever clear what is raised of it then."""
    removed = Removed(at_ms)
    partition.put(key, removed)
    if (clock := clock_of(partition)) is not None:
        clock.removed(key, removed)


def _new_memory(told: TelemetryRecord | ClosedWindow) -> DeviceMemory:
    return DeviceMemory(told.serial_number, told.device_id, told.site_id, told.device_type)


def _move(partition: PartitionState[Record], memory: DeviceMemory, told: TelemetryRecord | RegistryEntry, at_ms: int) -> None:
    """The device is at another site, or is of another type: what was of the old one is over."""
    book_of(partition).clear_device(memory, AlarmInput.DEVICE_MOVED, at_ms)
    memory.device_id, memory.site_id, memory.device_type = told.device_id, told.site_id, told.device_type
    memory.plans = None
    # By the rules of the new place it may be due where by those of the old one it never was.
    memory.plan_by(book_of(partition).plans)
    if (clock := clock_of(partition)) is not None:
        clock.touched(memory.serial_number.encode(), memory)
