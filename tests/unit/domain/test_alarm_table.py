"""The life of an alarm as a truth table: every state with every input, and what the alarm says after it."""

from datetime import datetime
from typing import Any

import pytest

from ems_streams.domain.alarm_table import AlarmInput, AlarmState, next_state
from ems_streams.domain.alarms import Acknowledgement, Alarm, AlarmEvidence, acknowledged, alarm_event, cleared, escalated
from ems_streams.domain.alarms import AlarmEventType as Type
from ems_streams.domain.events import Severity
from ems_streams.domain.timestamps import from_epoch_ms
from tests.unit.domain.builders import NOON_MS

R, A, C = AlarmState.RAISED, AlarmState.ACKNOWLEDGED, AlarmState.CLEARED
ENDS = {*AlarmInput} - {AlarmInput.ACKNOWLEDGE, AlarmInput.ESCALATE}
WANTED: dict[tuple[AlarmState, AlarmInput], AlarmState | None] = {
    (R, AlarmInput.ACKNOWLEDGE): A,
    (R, AlarmInput.ESCALATE): R,
    **{(R, end): C for end in ENDS},
    (A, AlarmInput.ACKNOWLEDGE): None,
    (A, AlarmInput.ESCALATE): None,
    **{(A, end): C for end in ENDS},
    **{(C, any_): None for any_ in AlarmInput},
}


def at(seconds: float) -> datetime:
    return from_epoch_ms(NOON_MS + round(seconds * 1000))


def alarm(**changes: Any) -> Alarm:
    fields: dict[str, Any] = {
        "alarm_id": "0" * 32, "rule_id": "hot", "serial_number": "A", "device_id": 1, "site_id": 7, "device_type": "METER", "state": R,
        "severity": Severity.WARNING, "title": "Hot", "message": "It is hot.", "kind": "threshold", "metric": "t", "value": 81.0, "limit": 80.0,
        "began_at": at(0), "raised_at": at(10), "evidence": AlarmEvidence(topic="device-telemetry", partition=0, offset=4),
        "escalates_at": at(60), "escalates_to": Severity.CRITICAL,
    }  # fmt: skip
    return Alarm(**(fields | changes))


def note(by: str = "Ann", comment: str | None = "On it") -> Acknowledgement:
    return Acknowledgement(alarm_id="0" * 32, serial_number="A", acknowledged_by=by, comment=comment, timestamp=at(30))


@pytest.mark.parametrize("state", AlarmState)
@pytest.mark.parametrize("happened", AlarmInput)
def test_every_state_with_every_input(state: AlarmState, happened: AlarmInput) -> None:
    assert next_state(state, happened) is WANTED[state, happened]
    before = alarm(state=state)
    if happened is AlarmInput.ACKNOWLEDGE:
        after = acknowledged(before, note(), at(30))
    elif happened is AlarmInput.ESCALATE:
        after = escalated(before)
    else:
        after = cleared(before, happened, "why", at(40))
    assert (None if after is None else after.state) is WANTED[state, happened]


def test_an_alarm_that_was_acknowledged_and_then_cleared_says_both() -> None:
    taken = acknowledged(alarm(), note(), at(30))
    assert taken is not None
    assert (taken.acknowledged_by, taken.acknowledged_comment, taken.acknowledged_at, taken.escalates_at) == ("Ann", "On it", at(30), None)
    over = cleared(taken, AlarmInput.CONDITION_OVER, "t is 20", at(40), value=20.0)
    assert over is not None
    assert (over.acknowledged_by, over.cleared_at, over.clear_cause, over.cleared_value) == ("Ann", at(40), AlarmInput.CONDITION_OVER, 20.0)
    assert acknowledged(over, note("Bob"), at(50)) is None


def test_an_acknowledgement_of_a_clock_that_is_behind_is_not_before_the_alarm() -> None:
    taken = acknowledged(alarm(), note(), at(5))
    assert taken is not None
    assert taken.acknowledged_at == at(10)


def test_an_alarm_escalates_once_and_says_when() -> None:
    graver = escalated(alarm())
    assert graver is not None
    assert (graver.severity, graver.escalated_at, graver.escalates_at, graver.escalates_to) == (Severity.CRITICAL, at(60), None, None)
    assert escalated(graver) is None
    assert escalated(alarm(escalates_at=None, escalates_to=None)) is None


def test_each_step_has_an_id_of_its_own_that_stays() -> None:
    ids = [alarm_event(alarm(), each, at(10)).event_id for each in Type]
    assert len(set(ids)) == len(Type)
    assert ids == [alarm_event(alarm(severity=Severity.INFO), each, at(11)).event_id for each in Type]
