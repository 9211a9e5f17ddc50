"""What rehearsals of alerts rest on: none is left out, and a rule in a hurry asks for the same."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.metric_use import alerts
from tests.support.prometheus import in_a_hurry, seconds

REHEARSALS = sorted((Path(__file__).parents[2] / "chaos").glob("test_alerts_*.py"))
_DURATION = re.compile(r"(?<=\[)\d+[smhd]|(?<=offset )\d+[smhd]")


def test_each_alert_is_rehearsed() -> None:
    rehearsed = {name for path in REHEARSALS for name in re.findall(r'"(Ems[A-Z]\w+)"', path.read_text())}
    assert rehearsed == {each["alert"] for each in alerts()}


@pytest.mark.parametrize("rule", alerts(), ids=lambda each: each["alert"])
def test_a_rule_in_a_hurry_is_the_same_but_for_its_times(rule: dict[str, Any]) -> None:
    hurried = in_a_hurry(rule)
    assert _DURATION.sub("", hurried["expr"]) == _DURATION.sub("", rule["expr"])
    assert {**hurried, "expr": "", "for": ""} == {**rule, "expr": "", "for": ""}
    usual, short = ([seconds(each) for each in _DURATION.findall(one["expr"])] for one in (rule, hurried))
    assert short == [max(60.0, each / 5) for each in usual]
    assert ("for" in hurried) == ("for" in rule)
    if "for" in rule:
        assert seconds(hurried["for"]) == max(2.0, seconds(rule["for"]) / 60)
