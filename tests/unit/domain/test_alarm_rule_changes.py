"""What applying rules would change; rules in words, and what is said of those that are probably not meant so."""

from typing import Any

import pytest

from ems_streams.domain.alarm_rule_advice import advice_on
from ems_streams.domain.alarm_rule_changes import Change, changes_to
from ems_streams.domain.alarm_rule_words import condition_in_words, scope_in_words, severity_in_words
from ems_streams.domain.alarm_rules import AlarmRule

HOT = {"kind": "threshold", "metric": "temperature", "above": 70, "clearAt": 65}


def a_rule(rule_id: str = "hot", **fields: Any) -> AlarmRule:
    return AlarmRule.model_validate({"id": rule_id, "title": "Hot", "severity": "WARNING", "condition": HOT} | fields)


def test_rules_are_added_changed_and_left_alone_and_removed_only_when_asked() -> None:
    current = {each.id: each for each in (a_rule("a"), a_rule("b"), a_rule("c"))}
    wanted = [a_rule("b"), a_rule("c", severity="CRITICAL", condition={**HOT, "above": 80}, escalate=None), a_rule("d")]

    kept, pruned = (changes_to(current, wanted, prune=prune) for prune in (False, True))

    assert [rule.id for rule in kept.added] == ["d"]
    assert kept.changed == ((wanted[1], (Change("severity", "WARNING", "CRITICAL"), Change("condition.above", 70.0, 80.0))),)
    assert (kept.removed, kept.unchanged) == ((), ("b",))
    assert [rule.id for rule in kept.put] == ["d", "c"]
    assert (pruned.removed, pruned.added) == (("a",), kept.added)


def test_members_that_come_and_go_are_told() -> None:
    escalate = {"afterS": 60, "severity": "CRITICAL"}
    ((_, differences),) = changes_to({"hot": a_rule(description="old")}, [a_rule(escalate=escalate)], prune=False).changed

    assert differences == (
        Change("description", "old", None),
        Change("escalate", None, {"afterS": 60.0, "severity": "CRITICAL"}),
    )


def test_nothing_changes_when_all_is_as_wanted() -> None:
    assert changes_to({"hot": a_rule()}, [a_rule()], prune=True).nothing
    assert not changes_to({"hot": a_rule()}, [], prune=True).nothing


def test_what_is_no_rule_is_replaced_by_one_or_removed() -> None:
    found = changes_to({"hot": None, "x": None}, [a_rule()], prune=True)

    assert ([rule.id for rule in found.added], found.removed) == (["hot"], ("x",))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (HOT, "temperature above 70, clear at 65"),
        ({"kind": "threshold", "metric": "voltage", "below": 432.5, "forS": 10}, "voltage below 432.5 for 10 s"),
        ({**HOT, "forS": 7200}, "temperature above 70 for 2 h, clear at 65"),
        (
            {"kind": "rateOfChange", "metric": "temperature", "abovePerMinute": 10, "clearAtPerMinute": 3, "overS": 120},
            "temperature over 2 min above 10/min, clear at 3/min",
        ),
        ({"kind": "rateOfChange", "metric": "t", "belowPerS": -0.1, "overS": 90, "forS": 5}, "t over 90 s below -0.1/s for 5 s"),
        ({"kind": "missingData", "forS": 3600}, "no telemetry for 60 min"),
        ({"kind": "missingData", "metric": "energyKwh", "forS": 172_800}, "no energyKwh for 2 d"),
        (
            {"kind": "windowStatistic", "window": "15m", "statistic": "p95", "metric": "temperature", "above": 65, "clearAt": 60},
            "p95 of temperature in 15m above 65, clear at 60",
        ),
        ({"kind": "windowStatistic", "window": "1d", "statistic": "energyKwh", "below": 1}, "energyKwh in 1d below 1"),
    ],
)
def test_conditions_in_words(condition: dict[str, Any], expected: str) -> None:
    assert condition_in_words(a_rule(condition=condition).condition) == expected


def test_scopes_and_severities_in_words() -> None:
    assert scope_in_words(a_rule().scope) == "all devices"
    scope = {"deviceTypes": ["BATTERY"], "siteIds": [7, 8], "serialNumbers": ["a", "b", "c", "d", "e"]}
    assert scope_in_words(a_rule(scope=scope).scope) == "type=BATTERY site=7,8 device=a,b,c and 2 more"
    assert severity_in_words(a_rule()) == "WARNING"
    assert severity_in_words(a_rule(escalate={"afterS": 900, "severity": "CRITICAL"})) == "WARNING, CRITICAL after 15 min"


PLAIN = {"kind": "threshold", "metric": "temperature", "above": 70}
HOURLY = {"kind": "windowStatistic", "window": "1h", "statistic": "mean", "metric": "t", "above": 1}
SOON = {"afterS": 60, "severity": "CRITICAL"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"condition": PLAIN}, ["has neither hysteresis nor a duration"]),
        ({"condition": {**PLAIN, "clearAt": 70}}, ["has neither hysteresis nor a duration"]),
        ({"condition": {**PLAIN, "forS": 1}}, []),
        ({"condition": {**PLAIN, "clearForS": 1}}, []),
        ({"condition": HOT}, []),
        ({"condition": {"kind": "rateOfChange", "metric": "t", "abovePerS": 1, "overS": 60}}, ["has neither hysteresis nor a duration"]),
        ({"condition": {"kind": "missingData", "forS": 29}}, ["raises after a pause of 29 s"]),
        ({"condition": {"kind": "missingData", "forS": 30}}, []),
        ({"condition": HOURLY}, []),
        ({"condition": HOURLY, "escalate": SOON}, ["escalates before the next window of 1h can clear it"]),
        ({"condition": HOURLY, "escalate": {**SOON, "afterS": 3600}}, []),
        ({"condition": {**HOT, "forS": 60}, "escalate": SOON}, ["escalates sooner than its condition"]),
        ({"condition": {**HOT, "forS": 59}, "escalate": SOON}, []),
    ],
)
def test_what_is_probably_not_meant_is_said(fields: dict[str, Any], expected: list[str]) -> None:
    said = list(advice_on(a_rule(**fields)))

    assert len(said) == len(expected)
    assert all(one.startswith(start) for one, start in zip(said, expected, strict=True))
