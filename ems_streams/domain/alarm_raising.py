"""From what a rule has found at a device to the alarm that is made of it."""

from ems_streams.domain.alarm_folds import Raise
from ems_streams.domain.alarm_memory import DeviceMemory
from ems_streams.domain.alarm_table import AlarmState
from ems_streams.domain.alarm_words import limit_of, message_of
from ems_streams.domain.alarms import Alarm, AlarmEvidence
from ems_streams.domain.due_index import NEVER_MS
from ems_streams.domain.timestamps import from_epoch_ms


def raised(memory: DeviceMemory, step: Raise, evidence: AlarmEvidence, alarm_id: str) -> Alarm:
    """The alarm of a condition that has held for long enough; what is remembered of the rule is led on to it.

    Args:
        memory: Of the device.
        step: What was found.
        evidence: The record that it began with.
        alarm_id: Of the alarm to be.
    """
    rule, held = step.check.rule, step.held
    escalate = rule.escalate
    escalates_ms = None if escalate is None else step.at_ms + round(escalate.after_s * 1000)
    held.alarm_id = alarm_id
    held.escalates_ms = NEVER_MS if escalates_ms is None else escalates_ms
    facts = {"serialNumber": memory.serial_number, "siteId": memory.site_id, "deviceType": memory.device_type}
    return Alarm(
        alarm_id=alarm_id,
        rule_id=rule.id,
        serial_number=memory.serial_number,
        device_id=memory.device_id,
        site_id=memory.site_id,
        device_type=memory.device_type,
        state=AlarmState.RAISED,
        severity=rule.severity,
        title=rule.title,
        message=message_of(rule, facts, step.value),
        kind=rule.condition.kind,
        metric=rule.condition.metric,
        value=step.value,
        limit=limit_of(rule),
        began_at=from_epoch_ms(held.since_ms),
        raised_at=from_epoch_ms(step.at_ms),
        evidence=evidence,
        escalates_at=None if escalates_ms is None else from_epoch_ms(escalates_ms),
        escalates_to=None if escalate is None else escalate.severity,
    )
