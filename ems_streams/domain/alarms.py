"""Alarms: what is known of one, from when it was raised until it is cleared, and each step of its life as an event.

Everything is a function of the records that were read: an alarm has the same id, the same times and the same events after every recovery. All times are
those of the evidence. An alarm that was acknowledged and then cleared says both, who and when.
"""

from collections.abc import Container
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from ems_streams.domain.alarm_table import AlarmInput, AlarmState, next_state
from ems_streams.domain.events import Event, SerialNumber, Severity, Time, decode
from ems_streams.domain.identifiers import event_id, notification_id

ALARM_ID: Final = r"^[0-9a-f]{32}$"

AlarmId = Annotated[str, StringConstraints(pattern=ALARM_ID)]
Author = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120, pattern=r"^[^\x00-\x1f]*$")]
Comment = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]


class AlarmEventType(StrEnum):
    """Steps in the life of an alarm; each happens to an alarm once at the most."""

    ALARM_RAISED = "ALARM_RAISED"
    ALARM_ESCALATED = "ALARM_ESCALATED"
    ALARM_ACKNOWLEDGED = "ALARM_ACKNOWLEDGED"
    ALARM_CLEARED = "ALARM_CLEARED"


class AlarmEvidence(Event):
    """The record that an alarm began with; of missing data the last one that came."""

    topic: str
    partition: int
    offset: int


class Alarm(Event):
    """An alarm as it is now, stored and shown in this form.

    Attributes:
        alarm_id: Of device, rule and the record that it began with.
        kind: Of the rule's condition, such as `threshold`.
        metric: That it is about; None for any telemetry, and for the energy of a window.
        value: That raised it: of the metric, its rate per second, or of the statistic; of missing data the seconds without any.
        limit: That the value was compared with, in its unit.
        began_at: Since when the condition held; `raised_at` is later by the duration that the rule asks for.
        message: What people are told.
        severity: As escalated.
        escalates_at: When the severity goes up unless it is acknowledged before.
        escalates_to: What it becomes then.
        cleared_because: In words, beside `clear_cause`.
    """

    alarm_id: AlarmId
    rule_id: str
    serial_number: SerialNumber
    device_id: int
    site_id: int
    device_type: str
    state: AlarmState
    severity: Severity
    title: str
    message: str
    kind: str
    metric: str | None = None
    value: float | None = None
    limit: float | None = None
    began_at: Time
    raised_at: Time
    evidence: AlarmEvidence
    escalates_at: Time | None = None
    escalates_to: Severity | None = None
    escalated_at: Time | None = None
    acknowledged_at: Time | None = None
    acknowledged_by: str | None = None
    acknowledged_comment: str | None = None
    cleared_at: Time | None = None
    clear_cause: AlarmInput | None = None
    cleared_because: str | None = None
    cleared_value: float | None = None

    @property
    def key(self) -> bytes:
        """Key of the records about it."""
        return self.serial_number.encode()

    @property
    def active(self) -> bool:
        """Whether it is not cleared."""
        return self.state is not AlarmState.CLEARED

    def view(self) -> dict[str, Any]:
        """As JSON for people and programs; what has not happened is null."""
        return self.model_dump(mode="json", by_alias=True, include=set(Alarm.model_fields))


class AlarmEvent(Alarm):
    """A record of `alarm-events`: a step in the life of an alarm, and how the alarm was after it. The key is the serial number.

    Attributes:
        event_id: The same on every replay; an alarm has one of each type at the most.
        timestamp: When it happened, in the time of the evidence.
    """

    event_id: str
    event_type: AlarmEventType
    timestamp: Time


class Acknowledgement(Event):
    """A record of `alarm-acknowledgements`: somebody has taken note of an alarm. The key is the serial number of its device."""

    alarm_id: AlarmId
    serial_number: SerialNumber
    acknowledged_by: Author
    comment: Comment | None = None
    timestamp: Time
    event_type: Annotated[str, Field(pattern=r"^ALARM_ACKNOWLEDGEMENT$")] = "ALARM_ACKNOWLEDGEMENT"

    @property
    def key(self) -> bytes:
        """Key of the record."""
        return self.serial_number.encode()


decode_acknowledgement = partial(decode, Acknowledgement)
decode_alarm_event = partial(decode, AlarmEvent)


def new_alarm_id(serial_number: str, rule_id: str, evidence: AlarmEvidence, known: Container[str]) -> str:
    """Id of the alarm that a rule raises at a device, from the record on that it began with.

    Args:
        serial_number: Device.
        rule_id: Rule.
        evidence: That record.
        known: Ids that there are already: missing data that a changed rule looks at anew rest on the same record.
    """
    repetition = 0
    while True:
        kind = f"alarm:{rule_id}" if not repetition else f"alarm:{rule_id}:{repetition}"
        found = event_id(serial_number, evidence.topic, evidence.partition, evidence.offset, kind)
        if found not in known:
            return found
        repetition += 1


def alarm_event(alarm: Alarm, event_type: AlarmEventType, at: datetime) -> AlarmEvent:
    """The event of what has just happened to an alarm."""
    fields = {name: getattr(alarm, name) for name in Alarm.model_fields}
    return AlarmEvent.model_construct(**fields, event_id=notification_id(alarm.alarm_id, event_type), event_type=event_type, timestamp=at)


def acknowledged(alarm: Alarm, acknowledgement: Acknowledgement, at: datetime) -> Alarm | None:
    """The alarm after somebody took note of it; None when that changes nothing.

    Args:
        alarm: As it is.
        acknowledgement: Who, and what they say.
        at: When; its own time, but not after it was recorded.
    """
    state = next_state(alarm.state, AlarmInput.ACKNOWLEDGE)
    if state is None:
        return None
    return alarm.model_copy(
        update={
            "state": state,
            # Never before it was raised: devices' clocks and ours need not agree.
            "acknowledged_at": max(at, alarm.raised_at),
            "acknowledged_by": acknowledgement.acknowledged_by,
            "acknowledged_comment": acknowledgement.comment,
            "escalates_at": None,
            "escalates_to": None,
        }
    )


def escalated(alarm: Alarm) -> Alarm | None:
    """The alarm after nobody took note of it in time; None when that changes nothing."""
    state = next_state(alarm.state, AlarmInput.ESCALATE)
    if state is None or alarm.escalates_at is None or alarm.escalates_to is None:
        return None
    return alarm.model_copy(
        update={
            "state": state,
            "severity": alarm.escalates_to,
            "escalated_at": alarm.escalates_at,
            "escalates_at": None,
            "escalates_to": None,
        }
    )


def cleared(alarm: Alarm, cause: AlarmInput, because: str, at: datetime, *, value: float | None = None) -> Alarm | None:
    """The alarm after it is over; None when it was already.

    Args:
        alarm: As it is.
        cause: What of the table's inputs it was.
        because: The same in words.
        at: When.
        value: That cleared it, if it was one.
    """
    state = next_state(alarm.state, cause)
    if state is None:
        return None
    return alarm.model_copy(
        update={
            "state": state,
            "cleared_at": max(at, alarm.raised_at),
            "clear_cause": cause,
            "cleared_because": because,
            "cleared_value": value,
            "escalates_at": None,
            "escalates_to": None,
        }
    )
