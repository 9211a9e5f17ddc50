"""Whatever is in a file of rules, it is read or its mistakes are said; nothing is raised, and rules that are read can be written and read again."""

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.alarm_rules import AlarmRule, rule_view
from ems_streams.rules.builtin import builtin_rules
from ems_streams.rules.file import parse_rules

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(), st.binary(max_size=4),
    st.sampled_from(["threshold", "rateOfChange", "missingData", "windowStatistic", "WARNING", "energyKwh", "15m", "1e3", "5m", "{value}", "<<"]),
)  # fmt: skip
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.one_of(st.text(max_size=5), st.integers(), st.sampled_from(["kind", "metric"])), inner, max_size=3), max_leaves=6,
)  # fmt: skip


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(found for key, each in inner for found in places(each, (*place, key)))]


def put(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = put(copy[place[0]], place[1:], new)
    return copy


def checked(data: bytes) -> tuple[AlarmRule, ...]:
    rules, problems = parse_rules(data)
    assert bool(rules) != bool(problems)
    assert all(str(problem) for problem in problems)
    return rules


GOOD = yaml.safe_load(
    yaml.safe_dump({"rules": [rule_view(rule) for rule in builtin_rules() if rule.id in {"battery-hot", "meter-power-factor-low"}]})
)


@given(st.data())
def test_a_value_of_any_kind_at_any_place_is_read_or_said_to_be_wrong(data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(places(GOOD)))
    checked(yaml.safe_dump(put(GOOD, place, data.draw(values)), allow_unicode=True).encode(errors="replace"))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_said_to_be_wrong(data: bytes) -> None:
    checked(data)


@given(st.data())
def test_a_file_with_a_piece_cut_out_or_put_in_is_read_or_said_to_be_wrong(data: st.DataObject) -> None:
    text = yaml.safe_dump(GOOD)
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 20)))
    checked((text[:begin] + data.draw(st.text(alphabet="{}[]:-&*!|>'\"%@#,? \t\n\0aé", max_size=6)) + text[end:]).encode())


def test_rules_are_the_same_after_they_were_written_and_read() -> None:
    text = yaml.safe_dump({"rules": [rule_view(rule) for rule in builtin_rules()]}, sort_keys=False, allow_unicode=True)

    assert checked(text.encode()) == builtin_rules()
