"""What the agent `alarms` does with what its folds have found: alarms are raised, led on and cleared, and each step is published."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from agents.alarm_meters import count_event
from ems_streams.domain.alarm_folds import Clear, Escalate, Raise, Step
from ems_streams.domain.alarm_index import Entry, is_crowded, outlived
from ems_streams.domain.alarm_memory import DeviceMemory
from ems_streams.domain.alarm_plan import Check, Plans
from ems_streams.domain.alarm_raising import raised
from ems_streams.domain.alarm_table import AlarmInput, AlarmState
from ems_streams.domain.alarm_words import CLEARING_CAUSES, over_in_words
from ems_streams.domain.alarms import (
    Acknowledgement,
    Alarm,
    AlarmEventType,
    AlarmEvidence,
    acknowledged,
    alarm_event,
    cleared,
    escalated,
    new_alarm_id,
)
from ems_streams.domain.due_index import NEVER_MS
from ems_streams.domain.timestamps import from_epoch_ms
from ems_streams.kafka.catalogue import ALARM_EVENTS, DEVICE_AGGREGATES, DEVICE_TELEMETRY
from ems_streams.kafka.partition_state import PartitionState
from tables.alarms import Record, alarm_of, delete_alarm, index_of, memory_of, put_alarm, rules_of

_NAME: Final = "book"
MISSING_DATA: Final = "missingData"
PURGE_INTERVAL_MS: Final = 60_000


class AlarmBook:
    """The alarms of one partition, and the plans of its devices; what it keeps itself is derived from the states.

    Attributes:
        plans: Of the devices, by the rules as they are.
    """

    def __init__(self, partition: PartitionState[Record]) -> None:
        self._partition = partition
        self._purged_ms = 0
        self.plans = Plans(rules_of(partition))

    def rules_changed(self) -> None:
        """The rules are others: plans are made anew when they are needed."""
        self.plans = Plans(rules_of(self._partition))

    def take(self, memory: DeviceMemory, steps: Iterable[Step]) -> None:
        """Raise, clear and escalate what a fold of a device has found."""
        for step in steps:
            if isinstance(step, Raise):
                self._raise(memory, step)
            elif isinstance(step, Clear):
                rule = rules_of(self._partition).by_id.get(step.rule_id)
                self._clear(step.alarm_id, AlarmInput.CONDITION_OVER, over_in_words(rule, step.value), step.at_ms, value=step.value)
            else:
                self._escalate(step)

    def acknowledge(self, acknowledgement: Acknowledgement, recorded_ms: int) -> None:
        """Somebody has taken note of an alarm; one that is cleared, or not known any more, stays as it is."""
        alarm = alarm_of(self._partition, acknowledgement.alarm_id)
        if alarm is None or alarm.serial_number != acknowledgement.serial_number:
            return
        at = min(acknowledgement.timestamp, from_epoch_ms(recorded_ms))
        after = acknowledged(alarm, acknowledgement, at)
        if after is None:
            return
        memory = memory_of(self._partition, alarm.key)
        if memory is not None and (held := memory.rules.get(alarm.rule_id)) is not None:
            held.escalates_ms = NEVER_MS
            self._partition.put(alarm.key, memory)
        self._put(after, AlarmEventType.ALARM_ACKNOWLEDGED, after.acknowledged_at or at)

    def clear_device(self, memory: DeviceMemory, cause: AlarmInput, at_ms: int) -> None:
        """Clear all alarms of a device, and forget what its rules remember."""
        for held in memory.rules.values():
            if held.alarm_id:
                self._clear(held.alarm_id, cause, CLEARING_CAUSES[cause], at_ms)
        memory.rules.clear()
        memory.samples.clear()

    def clear_rule(self, rule_id: str, cause: AlarmInput, at_ms: int) -> None:
        """Clear all alarms of a rule."""
        for entry in [
            each for each in index_of(self._partition).values() if each.rule_id == rule_id and each.state is not AlarmState.CLEARED
        ]:
            self._clear(entry.alarm_id, cause, CLEARING_CAUSES[cause], at_ms)
            key = entry.serial_number.encode()
            memory = memory_of(self._partition, key)
            if memory is not None and memory.rules.pop(rule_id, None) is not None:
                self._partition.put(key, memory)

    def purge(self, now_ms: int) -> None:
        """Forget alarms that have been over for long, once in a while."""
        if now_ms - self._purged_ms < PURGE_INTERVAL_MS:
            return
        self._purged_ms = now_ms
        entries = index_of(self._partition)
        crowded = is_crowded(entries.values())
        for entry in outlived(entries.values(), now_ms):
            if crowded or not self._is_counted_on(entry):
                delete_alarm(self._partition, entry.alarm_id)

    def _is_counted_on(self, entry: Entry) -> bool:
        """Whether a changed rule could raise another alarm on the same evidence: by this one it is known that its id is taken."""
        alarm, memory = alarm_of(self._partition, entry.alarm_id), memory_of(self._partition, entry.serial_number.encode())
        if alarm is None or memory is None or alarm.kind != MISSING_DATA:
            return False
        return alarm.evidence.offset in {memory.heard_offset, *(heard.offset for heard in memory.heard.values())}

    def _raise(self, memory: DeviceMemory, step: Raise) -> None:
        of_window = isinstance(step.check, Check) and step.check.of_window
        topic = DEVICE_AGGREGATES if of_window else DEVICE_TELEMETRY
        evidence = AlarmEvidence(topic=topic, partition=self._partition.partition, offset=step.held.offset)
        new_id = new_alarm_id(memory.serial_number, step.check.rule_id, evidence, index_of(self._partition))
        alarm = raised(memory, step, evidence, new_id)
        self._put(alarm, AlarmEventType.ALARM_RAISED, alarm.raised_at)

    def _clear(self, cleared_id: str, cause: AlarmInput, because: str, at_ms: int, *, value: float | None = None) -> None:
        alarm = alarm_of(self._partition, cleared_id)
        after = None if alarm is None else cleared(alarm, cause, because, from_epoch_ms(at_ms), value=value)
        if after is not None:
            assert after.cleared_at is not None, "just set"
            self._put(after, AlarmEventType.ALARM_CLEARED, after.cleared_at)

    def _escalate(self, step: Escalate) -> None:
        alarm = alarm_of(self._partition, step.alarm_id)
        after = None if alarm is None else escalated(alarm)
        if after is not None:
            self._put(after, AlarmEventType.ALARM_ESCALATED, after.escalated_at or after.raised_at)

    def _put(self, alarm: Alarm, event_type: AlarmEventType, at: datetime) -> None:
        put_alarm(self._partition, alarm)
        count_event(alarm, event_type)
        self._partition.publish(ALARM_EVENTS, alarm.key, alarm_event(alarm, event_type, at).encode())


def book_of(partition: PartitionState[Record]) -> AlarmBook:
    """That of a partition; made from its states when it is asked for first."""
    found: AlarmBook | None = partition.derived.get(_NAME)
    if found is None:
        found = partition.derived[_NAME] = AlarmBook(partition)
    return found
