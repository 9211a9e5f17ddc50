"""What the how-to on alarm rules says is so."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from ems_streams.domain.alarm_conditions import KINDS
from ems_streams.domain.alarm_rules import PLACEHOLDERS, AlarmRule, Escalation, Scope
from ems_streams.rules.file import load_rules, parse_rules
from ems_streams.rules.trial import FileSource, try_on_file
from ems_streams.settings import Settings
from ems_streams.yaml_files.shape import names_of

HOWTO = Path(__file__).parents[3] / "docs" / "howto"
TEXT = (HOWTO / "alarm-rules.md").read_text()


def test_the_figures_of_hysteresis_and_duration_are_those_of_the_data() -> None:
    source = FileSource(HOWTO / "noisy-temperature.csv", None, [])
    result = try_on_file(Settings.load(), load_rules(HOWTO / "alarm-rules.example.yaml"), source, lambda _done, _total: None)

    told = [int(figure) for figure in re.findall(r"^\| `above: 45[^|]*` \| (\d+) \|", TEXT, re.MULTILINE)]

    assert [each.alarms for each in result.by_rule] == told
    assert len(told) == 4
    assert source.bad == []


def test_the_rules_that_it_shows_are_right() -> None:
    shown = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)

    assert len(shown) == 2
    assert [parse_rules(each.encode())[1] for each in shown] == [[], []]


def test_the_mistakes_that_it_shows_are_said_so() -> None:
    good = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)[0]
    wrong = good.replace("WARNING", "warning").replace("forS", "for")
    told = re.search(r"```\n(rules\.yaml:.*?)```", TEXT, re.DOTALL)
    assert told is not None

    said = [problem.in_file(Path("rules.yaml")) for problem in parse_rules(wrong.encode())[1]]

    assert said == told[1].splitlines()


@pytest.mark.parametrize("model", [AlarmRule, Scope, Escalation, *KINDS.values()])
def test_every_member_is_in_it(model: type[BaseModel]) -> None:
    assert [name for name in (*names_of(model), *PLACEHOLDERS) if f"`{name}" not in TEXT and f"{{{name}}}" not in TEXT] == []
