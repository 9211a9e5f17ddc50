"""Alarm rules: which are accepted, which devices they concern, and how they are stored."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ems_streams.domain.alarm_rule_set import RuleSet, decode_rule_set, rule_set_of
from ems_streams.domain.alarm_rules import AlarmRule, decode_rule, rule_view
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.errors import MalformedError

HOT = {"kind": "threshold", "metric": "temperature", "above": 70, "clearAt": 65}


def a_rule(**fields: Any) -> AlarmRule:
    return AlarmRule.model_validate({"id": "hot", "title": "Hot", "severity": "WARNING", "condition": HOT} | fields)


def test_a_limit_above_raises_beyond_itself_and_clears_at_or_below_where_that_is_said() -> None:
    limits = a_rule().condition.limits

    assert [limits.breached(value) for value in (70.0, 70.001)] == [False, True]
    assert [limits.cleared(value) for value in (70.0, 65.001, 65.0)] == [False, False, True]


def test_a_limit_below_is_the_same_upside_down() -> None:
    limits = a_rule(condition={"kind": "threshold", "metric": "stateOfCharge", "below": 10, "clearAt": 15}).condition.limits

    assert [limits.breached(value) for value in (10.0, 9.99)] == [False, True]
    assert [limits.cleared(value) for value in (10.0, 14.9, 15.0)] == [False, False, True]


def test_without_hysteresis_an_alarm_is_over_at_the_limit() -> None:
    limits = a_rule(condition={"kind": "threshold", "metric": "temperature", "above": 70}).condition.limits

    assert (limits.breached(70.0), limits.cleared(70.0)) == (False, True)


@pytest.mark.parametrize(
    ("fields", "raise_at", "clear_at"),
    [
        ({"abovePerMinute": 6, "clearAtPerMinute": 3}, 0.1, 0.05),
        ({"abovePerS": 6}, 6.0, 6.0),
        ({"belowPerS": -2, "clearAtPerS": -1}, -2.0, -1.0),
    ],
)
def test_rates_are_compared_per_second_whatever_unit_they_are_given_in(fields: Mapping[str, Any], raise_at: float, clear_at: float) -> None:
    limits = a_rule(condition={"kind": "rateOfChange", "metric": "temperature", "overS": 60, **fields}).condition.limits

    assert (limits.raise_at, limits.clear_at) == (pytest.approx(raise_at), pytest.approx(clear_at))


WRONG: list[tuple[Mapping[str, Any], str]] = [
    ({"condition": {**HOT, "below": 3}}, "has above and below; expected exactly one of above and below"),
    ({"condition": {"kind": "threshold", "metric": "temperature"}}, "has no limit; expected exactly one of above and below"),
    ({"condition": {**HOT, "clearAt": 71}}, "expected at most 70"),
    ({"condition": {"kind": "threshold", "metric": "t", "below": 7, "clearAt": 6}}, "expected at least 7"),
    ({"condition": {"kind": "rateOfChange", "metric": "t", "abovePerS": 1, "belowPerMinute": 1, "overS": 5}}, "exactly one of abovePerS"),
    ({"condition": {"kind": "rateOfChange", "metric": "t", "abovePerS": 1, "clearAtPerMinute": 1, "overS": 5}}, "expected clearAtPerS"),
    (
        {"condition": {"kind": "rateOfChange", "metric": "t", "abovePerMinute": 1, "clearAtPerS": 1, "overS": 5}},
        "expected clearAtPerMinute",
    ),
    ({"condition": {"kind": "rateOfChange", "metric": "t", "abovePerS": 1, "overS": 3601}}, "less than or equal to 3600"),
    ({"condition": {"kind": "missingData"}}, "Field required"),
    ({"condition": {"kind": "windowStatistic", "window": "1h", "statistic": "mean", "above": 1}}, "metric that mean is of"),
    ({"condition": {"kind": "windowStatistic", "window": "1h", "statistic": "energyKwh", "metric": "t", "above": 1}}, "expected no metric"),
    (
        {"condition": {"kind": "windowStatistic", "window": "5m", "statistic": "mean", "metric": "t", "above": 1}},
        "'1m', '15m', '1h' or '1d'",
    ),
    ({"escalate": {"afterS": 60, "severity": "WARNING"}}, "expected a higher one"),
    ({"escalate": {"afterS": 0, "severity": "CRITICAL"}}, "greater than 0"),
    ({"message": "{serial} is hot"}, "did you mean {serialNumber}?"),
    ({"id": "Hot!"}, "should match pattern"),
    ({"scope": {"siteIds": []}}, "at least 1 item"),
    ({"scope": {"sites": [1]}}, "Extra inputs are not permitted"),
    ({"enabled": "no"}, "valid boolean"),
]


@pytest.mark.parametrize(("fields", "expected"), WRONG)
def test_what_cannot_be_meant_is_refused(fields: Mapping[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        a_rule(**fields)

    assert expected in str(caught.value)


def test_all_mistakes_of_a_rule_are_found_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        a_rule(id="?", severity="LOUD", condition={**HOT, "clearAt": 90}, message="{what}", scope={"siteIds": ["x"]})

    assert {error["loc"][0] for error in caught.value.errors()} == {"id", "severity", "condition", "message", "scope"}


def test_a_message_has_the_facts_and_a_question_mark_for_what_is_not_known() -> None:
    rule = a_rule(message="{serialNumber}: {value} C is above {limit} C ({metric})")

    assert rule.message_for({"serialNumber": "INV-1", "value": 71.23456789, "limit": 70.0}) == "INV-1: 71.2346 C is above 70 C (?)"
    assert a_rule().message_for({}) is None


def test_a_record_is_the_rule_again() -> None:
    rule = a_rule(scope={"deviceTypes": ["BATTERY"], "siteIds": [7]}, escalate={"afterS": 60, "severity": "CRITICAL"}, description="why")

    assert decode_rule(rule.key, rule.encode()) == rule == AlarmRule.model_validate(rule_view(rule))
    assert rule_view(rule)["condition"]["clearAt"] == 65.0


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (b"other", a_rule().encode(), "key_mismatch"),
        (b"hot", b"{", "invalid_json"),
        (b"hot", b'{"id":"hot"}', "invalid_field"),
        (b"hot", b"", "empty"),
    ],
)
def test_a_record_that_is_no_rule_is_malformed(key: bytes, value: bytes, reason: str) -> None:
    with pytest.raises(MalformedError) as caught:
        decode_rule(key, value)

    assert caught.value.reason == reason


def ids(rules: RuleSet, *device: Any) -> list[str]:
    return [rule.id for rule in rules.concerning(*device)]


def test_a_device_is_concerned_when_it_matches_everything_that_the_scope_names() -> None:
    rules = rule_set_of(
        [
            a_rule(id="all"),
            a_rule(id="type", scope={"deviceTypes": ["BATTERY"]}),
            a_rule(id="site", scope={"siteIds": [7, 8]}),
            a_rule(id="both", scope={"deviceTypes": ["BATTERY"], "siteIds": [7]}),
            a_rule(id="device", scope={"serialNumbers": ["BAT-1"]}),
            a_rule(id="device-elsewhere", scope={"serialNumbers": ["BAT-1"], "siteIds": [9]}),
            a_rule(id="off", enabled=False),
        ]
    )

    assert ids(rules, "BATTERY", 7, "BAT-1") == ["all", "both", "device", "site", "type"]
    assert ids(rules, "BATTERY", 7, "BAT-2") == ["all", "both", "site", "type"]
    assert ids(rules, "METER", 8, "MTR-1") == ["all", "site"]
    assert ids(rules, None, 1, "X") == ["all"]


def test_answers_change_with_the_rules() -> None:
    rules = rule_set_of([a_rule()])
    assert ids(rules, "METER", 1, "M") == ["hot"]
    assert not rules.put(a_rule())
    version = rules.version

    assert rules.put(a_rule(scope={"serialNumbers": ["M"]}))
    assert (ids(rules, "METER", 1, "M"), ids(rules, "METER", 1, "N")) == (["hot"], [])
    assert rules.remove("hot") is not None
    assert rules.remove("hot") is None
    assert ids(rules, "METER", 1, "M") == []
    assert rules.version == version + 2


scopes = st.fixed_dictionaries(
    {},
    optional={
        "deviceTypes": st.lists(st.sampled_from(["A", "B"]), min_size=1),
        "siteIds": st.lists(st.sampled_from([1, 2]), min_size=1),
        "serialNumbers": st.lists(st.sampled_from(["x", "y"]), min_size=1),
    },
)


@given(
    st.lists(st.tuples(scopes, st.booleans()), max_size=6),
    st.sampled_from([None, "A", "B"]),
    st.sampled_from([1, 2]),
    st.sampled_from("xyz"),
)
def test_the_index_finds_what_asking_every_rule_finds(
    made: list[tuple[dict[str, Any], bool]], device_type: str | None, site_id: int, serial_number: str
) -> None:
    every = [a_rule(id=f"r{number}", scope=scope, enabled=enabled) for number, (scope, enabled) in enumerate(made)]
    rules = decode_rule_set(rule_set_of(every).encode())

    expected = [each.id for each in every if each.enabled and each.scope.covers(device_type, site_id, serial_number)]
    assert ids(rules, device_type, site_id, serial_number) == expected == ids(rules, device_type, site_id, serial_number)


def test_a_damaged_set_of_rules_is_told_as_such() -> None:
    with pytest.raises(StateCodecError, match="alarm rules"):
        decode_rule_set(b'[{"id":1}]')
