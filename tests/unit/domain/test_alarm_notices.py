"""What people are told of alarms: each step outside of maintenance, and afterwards how an alarm stands, if that is not what they know."""

import pytest

from ems_streams.domain.alarm_notices import AlarmNotices, decode, due_ms, encode, on_alarm_event, tick
from ems_streams.domain.alarm_table import AlarmInput
from ems_streams.domain.alarms import Alarm, AlarmEvent, AlarmEventType, acknowledged, alarm_event, cleared, escalated
from ems_streams.domain.due_index import NEVER_MS
from ems_streams.domain.maintenance import MaintenanceWindows, window_of
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.domain.timestamps import to_epoch_ms
from tests.unit.domain.builders import NOON_MS
from tests.unit.domain.test_alarm_table import alarm, at, note

BEGIN_S, END_S = 100, 200


def windows() -> MaintenanceWindows:
    found = MaintenanceWindows()
    times = {"startsAt": at(BEGIN_S).isoformat(), "endsAt": at(END_S).isoformat()}
    found.put(window_of({"windowId": "mw", "sites": [7], "reason": "swap", "createdBy": "me", **times}))
    return found


def life(raised_s: float) -> dict[str, tuple[Alarm, AlarmEventType]]:
    raised = alarm(began_at=at(raised_s), raised_at=at(raised_s), escalates_at=at(raised_s + 5))
    up, noted = escalated(raised), acknowledged(raised, note(), at(raised_s + 6))
    over = cleared(raised, AlarmInput.CONDITION_OVER, "t is 20", at(raised_s + 7))
    assert up is not None
    assert noted is not None
    assert over is not None
    return {
        "raised": (raised, AlarmEventType.ALARM_RAISED),
        "escalated": (up, AlarmEventType.ALARM_ESCALATED),
        "acknowledged": (noted, AlarmEventType.ALARM_ACKNOWLEDGED),
        "cleared": (over, AlarmEventType.ALARM_CLEARED),
    }


def step(what: str, at_s: float, raised_s: float = 0) -> AlarmEvent:
    subject, event_type = life(raised_s)[what]
    return alarm_event(subject, event_type, at(at_s))


def told(events: list[AlarmEvent], now_s: float) -> list[str]:
    """Kinds that people are told, with `*` for what comes after maintenance only."""
    notices, known, found = AlarmNotices(), windows(), []
    for event in events:
        found += on_alarm_event(notices, event, to_epoch_ms(event.timestamp), known)
        notices = decode(encode(notices))
    found += tick(notices, NOON_MS + round(now_s * 1000), known)
    return [each.kind.removeprefix("ALARM_") + "*" * ("maintenanceWindowId" in each.data) for each in found]


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        ([("raised", 10), ("escalated", 15), ("acknowledged", 16), ("cleared", 17)], ["RAISED", "ESCALATED", "ACKNOWLEDGED", "CLEARED"]),
        ([("raised", 110)], ["RAISED*"]),
        ([("raised", 110), ("escalated", 120)], ["ESCALATED*"]),
        ([("raised", 110), ("acknowledged", 120)], ["ACKNOWLEDGED*"]),
        ([("raised", 110), ("cleared", 120)], []),
        ([("raised", 10), ("cleared", 120)], ["RAISED", "CLEARED*"]),
        ([("raised", 110), ("cleared", 220)], []),
        ([("raised", 110), ("escalated", 220)], ["ESCALATED*"]),
        ([("raised", 10), ("escalated", 120), ("cleared", 220)], ["RAISED", "CLEARED*"]),
    ],
)
def test_what_people_are_told(events: list[tuple[str, float]], wanted: list[str]) -> None:
    assert told([step(what, at_s, events[0][1]) for what, at_s in events], END_S) == wanted


def test_nothing_is_told_before_the_window_is_over() -> None:
    assert told([step("raised", 110, 110)], END_S - 0.001) == []
    notices = AlarmNotices()
    on_alarm_event(notices, step("raised", 110, 110), NOON_MS + 110_000, windows())
    assert due_ms(notices, windows()) == NOON_MS + END_S * 1000


def test_alarms_of_the_place_that_a_device_has_moved_to_do_not_wait_for_the_windows_of_the_old_one() -> None:
    known, notices = windows(), AlarmNotices()
    times = {"startsAt": at(BEGIN_S).isoformat(), "endsAt": at(9_000).isoformat()}
    known.put(window_of({"windowId": "long", "sites": [6], "reason": "swap", "createdBy": "me", **times}))
    old = alarm(alarm_id="a" * 32, site_id=6, began_at=at(110), raised_at=at(110))
    for event in (alarm_event(old, AlarmEventType.ALARM_RAISED, at(110)), step("raised", 120, 120)):
        assert on_alarm_event(notices, event, to_epoch_ms(event.timestamp), known) == []
    assert due_ms(notices, known) == NOON_MS + END_S * 1000
    assert [each.site_id for each in tick(notices, NOON_MS + END_S * 1000, known)] == [7]
    assert [each.site_id for each in tick(notices, NOON_MS + 9_000_000, known)] == [6]


def test_a_window_that_is_removed_tells_at_once() -> None:
    notices = AlarmNotices()
    on_alarm_event(notices, step("raised", 110, 110), NOON_MS + 110_000, windows())
    assert [each.kind for each in tick(notices, NOON_MS + 120_000, MaintenanceWindows())] == ["ALARM_RAISED"]


def test_a_device_whose_clock_is_ahead_is_not_in_a_window_that_is_not_there_yet() -> None:
    notices = AlarmNotices()
    assert on_alarm_event(notices, step("raised", 110, 110), NOON_MS + 50_000, windows())


def test_nothing_is_remembered_of_what_is_over_and_told() -> None:
    notices = AlarmNotices()
    on_alarm_event(notices, step("raised", 10), NOON_MS + 10_000, windows())
    assert not notices.empty
    on_alarm_event(notices, step("cleared", 17), NOON_MS + 17_000, windows())
    assert notices.empty
    assert due_ms(notices, windows()) == NEVER_MS


def test_the_same_event_makes_the_same_notification() -> None:
    event = step("cleared", 17)
    first, second = (on_alarm_event(AlarmNotices({event.alarm_id}), event, NOON_MS, MaintenanceWindows()) for _ in range(2))
    assert first == second
    [notification] = first
    assert (notification.severity, notification.title) == ("WARNING", "A: Hot is over")
    assert notification.data["clearCause"] == "CONDITION_OVER"


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'[[],[[{"a":1},"w"]],0]'])
def test_damage_is_said(data: bytes) -> None:
    with pytest.raises(StateCodecError, match="stored alarm notices cannot be read"):
        decode(data)
