"""What people read of alarms."""

from typing import Any

import pytest

from ems_streams.domain.alarm_table import AlarmInput
from ems_streams.domain.alarm_words import in_words, message_of, notification_of, over_in_words
from ems_streams.domain.alarms import AlarmEventType, acknowledged, alarm_event, cleared, escalated
from tests.unit.domain.alarm_cases import rule
from tests.unit.domain.test_alarm_table import alarm, at, note

FACTS = {"serialNumber": "INV-001", "siteId": 7, "deviceType": "METER"}


@pytest.mark.parametrize(
    ("condition", "value", "found", "over"),
    [
        ({"kind": "threshold", "metric": "t", "above": 80.0, "forS": 60.0}, 85.25, "t is 85.25, above 80 for 60 s", "t is 20"),
        ({"kind": "threshold", "metric": "t", "below": -1.5}, -2.0, "t is -2, below -1.5", "t is 20"),
        ({"kind": "rateOfChange", "metric": "t", "abovePerMinute": 30.0, "overS": 60.0}, 0.6,
         "t changes by 36 per minute over 60 s, above 30", "t changes by 1200 per minute"),
        ({"kind": "rateOfChange", "metric": "t", "belowPerS": -1.0, "overS": 5.0, "forS": 2.0}, -3.0,
         "t changes by -3 per second over 5 s, below -1 for 2 s", "t changes by 20 per second"),
        ({"kind": "missingData", "forS": 60.0}, 60.0, "no telemetry for 60 s", "telemetry has come again"),
        ({"kind": "missingData", "metric": "t", "forS": 60.0}, 60.0, "no t for 60 s", "t has come again"),
        ({"kind": "windowStatistic", "window": "15m", "statistic": "p95", "metric": "t", "above": 80.0}, 81.0,
         "p95 of t in 15m is 81, above 80", "p95 is 20"),
        ({"kind": "windowStatistic", "window": "1h", "statistic": "energyKwh", "below": 5.0}, 1.0, "energyKwh in 1h is 1, below 5",
         "energyKwh is 20"),
    ],
)  # fmt: skip
def test_a_condition_in_words(condition: dict[str, Any], value: float, found: str, over: str) -> None:
    assert in_words(rule(condition), value) == found
    assert message_of(rule(condition), FACTS, value) == f"Too much at INV-001 (site 7): {found}."
    assert over_in_words(rule(condition), 20.0) == over


def test_a_rule_has_words_of_its_own() -> None:
    own = rule({"kind": "threshold", "metric": "t", "above": 80.0}, message="{serialNumber} of {deviceType} has {value}, not {limit}")
    assert message_of(own, FACTS, 85.123456789) == "INV-001 of METER has 85.1235, not 80"


def test_own_words_of_a_rate_have_the_unit_of_the_rule() -> None:
    rate = {"kind": "rateOfChange", "metric": "t", "overS": 60.0}
    per_minute, per_second = (rule(rate | {name: 30.0}, message="{value}, not {limit}") for name in ("abovePerMinute", "abovePerS"))
    assert message_of(per_minute, FACTS, 0.6) == "36, not 30"
    assert message_of(per_second, FACTS, 31.0) == "31, not 30"


def test_each_step_in_words() -> None:
    raised = alarm()
    up, noted = escalated(raised), acknowledged(raised, note(), at(30))
    over = cleared(raised, AlarmInput.CONDITION_OVER, "t is 20", at(40), value=20.0)
    steps = zip(AlarmEventType, (raised, up, noted, over), strict=True)
    told = [notification_of(alarm_event(each, event_type, at(40))) for event_type, each in steps if each is not None]
    assert [(each.kind, each.severity, each.title) for each in told] == [
        ("ALARM_RAISED", "WARNING", "A: Hot"),
        ("ALARM_ESCALATED", "CRITICAL", "A: Hot is CRITICAL now"),
        ("ALARM_ACKNOWLEDGED", "WARNING", "A: Hot was acknowledged"),
        ("ALARM_CLEARED", "WARNING", "A: Hot is over"),
    ]
    assert [each.message for each in told] == [
        "It is hot.",
        "Hot at A (site 7), raised at 2025-10-04T12:00:10Z, is CRITICAL now: nobody has acknowledged it. It is hot.",
        "Hot at A (site 7), raised at 2025-10-04T12:00:10Z, was acknowledged by Ann: On it.",
        "Hot at A (site 7), raised at 2025-10-04T12:00:10Z, is over: t is 20.",
    ]
    assert (told[2].data["comment"], told[3].data["clearedValue"], told[0].data["limit"]) == ("On it", 20.0, 80.0)
    assert len({each.notification_id for each in told}) == 4
