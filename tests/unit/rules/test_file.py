"""Files of alarm rules: what is accepted, and what is said of each mistake, with its line and column."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from ems_streams.domain.alarm_conditions import MissingData, Threshold
from ems_streams.rules.file import RulesFileError, load_rules, parse_rules

GOOD = """\
rules:
  - id: battery-hot
    title: Battery hot
    severity: WARNING
    scope:
      deviceTypes: [BATTERY]
      siteIds: [7]
    condition:
      kind: threshold
      metric: temperature
      above: 45
      clearAt: 42
      forS: 60
    escalate:
      afterS: 900
      severity: CRITICAL
  - id: meter-quiet
    title: Meter quiet
    severity: INFO
    condition:
      kind: missingData
      forS: 600
"""


def one(condition: str) -> str:
    return f"rules:\n- id: a\n  title: A\n  severity: INFO\n  condition: {{{condition}}}\n"


def edited(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def bomb(before: str, after: str) -> str:
    aliases = [(chr(98 + level), ", ".join([f"*{chr(97 + level)}"] * 10)) for level in range(8)]
    return "a: &a {k: 1}\n" + "".join(f"{name}: &{name} {before}[{each}]{after}\n" for name, each in aliases)


IN_LAST = "    severity: INFO"
MISTAKES: dict[str, tuple[str | bytes, str]] = {
    # what is no YAML, or not this YAML
    "empty": ("", ": is empty; expected the member rules with a list"),
    "only a comment": ("# rules: []\n", ": is empty; expected the member rules with a list"),
    "text": ("hello", ": is 'hello'; expected the member rules with a list"),
    "a list at the top": ("- id: x\n", ": is [{'id': 'x'}]; expected the member rules with a list: write rules: above the list"),
    "rules without value": ("rules:\n", ":1:1: rules: has no value; expected a list"),
    "no rule": ("rules: []", ":1:1: rules=[]: expected at least 1"),
    "too many rules": ("rules:\n" + "".join(f"- {{id: r{number}, title: T, severity: INFO, condition: {{kind: missingData, forS: 9}}}}\n" for number in range(1001)), ":1:1: rules: expected at most 1000"),
    "rules by name": ("rules: {a: 1}", ":1:1: rules: expected a list"),
    "a rule that is text": ("rules: [a]", ":1:9: rules[0]='a': expected the members id, title, description, severity, enabled, scope, condition,"),
    "another name at the top": (edited("rules:", "rule:"), ":1:1: rule: there is no such member; expected some of rules; did you mean rules?"),
    "a bracket that is not closed": (edited("[7]", "[7"), ":8:14: is no YAML: expected ',' or ']', but got ':', while parsing a flow sequence from line 7 on"),
    "a quote that is not closed": (edited("Battery hot", "'Battery hot"), ":23:1: is no YAML: found unexpected end of stream, while scanning a quoted scalar from line 3 on"),
    "a tab": (edited(IN_LAST, "\tseverity: INFO"), ":19:1: is no YAML: a tab; expected spaces to indent with"),
    "a tab within": (edited("temperature", "temperature\n\t  above: 3"), ":11:1: is no YAML: a tab; expected spaces to indent with"),
    "wrong indentation": (edited("    title: Battery hot", "   title: Battery hot"), ":3:4: is no YAML: expected <block end>, but found '<block mapping start>'"),
    "a colon in a text": (edited("Battery hot", "Battery: hot"), ":3:19: is no YAML: a colon where none can be; expected text with a colon in quotes"),
    "text that begins with a brace": (edited("Battery hot", "{value} hot"), ":3:20: is no YAML: expected <block end>, but found '<scalar>'; text that begins with { must be in quotes"),
    "text that begins with @": (edited("Battery hot", "@hot"), ":3:12: is no YAML: found character '@' that cannot start any token; text that begins with @ must be in quotes"),
    "a sign that begins no text, within braces": (one("kind: threshold, metric: t, above: %5"), ":5:50: is no YAML: found character '%' that cannot start any token; text that begins with % must be in quotes"),
    "a sign that begins no text, in a list": (edited("[7]", "[%7]"), ":7:17: is no YAML: found character '%' that cannot start any token; expected text that begins so in quotes"),
    "braces where the indentation is wrong": (edited("    scope:", "   scope: {}\n    x:"), ":5:4: is no YAML: expected <block end>, but found '<block mapping start>': this line is indented otherwise than those that it belongs to"),
    "a comma that is missing within braces": (one("kind: threshold metric: t"), ":5:37: is no YAML: expected ',' or '}', but got ':', while parsing a flow mapping from line 5 on"),
    "a merge of nothing": (edited(IN_LAST, f"{IN_LAST}\n    <<: 5"), ":20:9: is no YAML: << with something that has no members; expected an alias such as *defaults, or a list of such"),
    "bytes in a tag": (edited("Battery hot", "!!binary aGk="), ":3:12: rules[0].title: has the tag !!binary; expected plain values without tags"),
    "a placeholder alone, without quotes": (edited(IN_LAST, IN_LAST + "\n    message: {value}"), ":20:5: rules[1].message: expected text; one that begins with { must be in quotes"),
    "two documents": ("rules: []\n---\nrules: []\n", ":2:1: is no YAML: a second document (---); expected one"),
    "an unknown alias": (edited("[7]", "*sites"), ":7:16: is no YAML: found undefined alias 'sites'"),
    "an alias of itself": ("rules: &a [*a]", ":1:8: has an alias within its own anchor; expected values that end"),
    "aliases that fill the memory": (bomb("", ""), ": has 345679021 values with all aliases written out; expected at most 100000"),
    "merges that fill the memory": (bomb("{<<: ", "}"), " values with all aliases written out; expected at most 100000"),
    "a tag": (edited("Battery hot", "!secret x"), ":3:12: is no YAML: could not determine a constructor for the tag '!secret'; expected plain values without tags"),
    "code in a tag": (edited("Battery hot", "!!python/object/apply:os.system [ls]"), "python/object/apply:os.system'; expected plain values without tags"),
    "nested too deeply": ("rules: " + "[" * 5000, ": is nested too deeply; expected a few levels"),
    "too many values": ("rules: [" + "1," * 100_000 + "]", ": has more than 100000 values; expected at most that many"),
    "too large": (b"#" * 1_048_577, ": has more than 1048576 bytes; expected at most that many"),
    "no UTF-8": (GOOD.replace("hot", "hei\u00df").encode("latin-1"), ":2:20: byte 26 (0xdf) is no UTF-8; expected YAML as UTF-8"),
    "UTF-16": (GOOD.encode("utf-16"), ": is UTF-16; expected YAML as UTF-8: save it as that"),
    "a control character": (edited("Battery hot", "Battery\0hot"), ":3:19: is no YAML: a character that cannot be in a text (#x00); expected it left out"),
    "a member twice": (edited(IN_LAST, f"{IN_LAST}\n{IN_LAST}"), ":20:5: rules[1].severity: is there already on line 19; expected once"),
    "a name that YAML reads as a number": (edited(IN_LAST, f"{IN_LAST}\n    1: x"), ":20:5: rules[1].1: YAML reads this name as a number; expected text: put it into quotes"),
    "a name that YAML reads as a truth": (edited(IN_LAST, f"{IN_LAST}\n    on: x"), ":20:5: rules[1].on: YAML reads this name as true or false"),
    "a list as a name": (edited(IN_LAST, f"{IN_LAST}\n    ? [a]\n    : x"), ":20:7: rules[1]: has a list or members where a name is expected"),
    "a date that is none": (edited("Battery hot", "2025-13-45"), ":3:12: is no YAML: a value that cannot be (month must be in 1..12); expected it in quotes"),
    # names
    "no id": (edited("- id: battery-hot\n    title", "- title"), ":2:5: rules[0].id: is missing; expected a name of its own, such as battery-hot"),
    "an id that is no name": (edited("battery-hot", "Battery Hot"), ":2:9: rules[0].id='Battery Hot': expected small letters, digits and hyphens, beginning with a letter"),
    "an id that is too long": (edited("battery-hot", "x" * 65), ":2:9: rules[0].id='" + "x" * 65 + "': expected at most 64 characters"),
    "an id that is a number": (edited("battery-hot", "7"), ":2:9: rules[0].id=7: expected text, and YAML reads this as a number: put it into quotes"),
    "an id twice": (edited("meter-quiet", "battery-hot"), ":17:9: rules[1].id='battery-hot': is the id of rules[0] on line 2 already; expected one of its own"),
    "a title that YAML reads as a truth": (edited("Battery hot", "on"), ":3:12: rules[0].title=true: expected text, and YAML reads this as true or false: put it into quotes"),
    "a title that YAML reads as a date": (edited("Battery hot", "2025-01-01"), ":3:12: rules[0].title=2025-01-01: expected text, and YAML reads this as a date"),
    "an empty title": (edited("Battery hot", "''"), ":3:12: rules[0].title='': expected at least 1 character"),
    "a title without value": (edited("Battery hot", ""), ":3:5: rules[0].title: has no value; expected text"),
    "a title of two lines": (edited("Battery hot", '"a\\nb"'), ":3:12: rules[0].title='a\\nb': expected one line of text"),
    "a misspelt member": (edited("severity: W", "sevrity: W"), ":4:5: rules[0].sevrity: there is no such member; expected some of condition, description, enabled"),
    "a misspelt member, meant": (edited("severity: W", "sevrity: W"), "severity, title; did you mean severity?"),
    "a member as in Python": (edited("forS", "for_s"), ":13:7: rules[0].condition.for_s: there is no such member; expected some of above, below, clearAt, clearForS, forS, kind, metric; did you mean forS?"),
    "a member of another tool": (edited("clearAt", "hysteresis"), ":12:7: rules[0].condition.hysteresis: there is no such member; expected some of above, below, clearAt, clearForS, forS, kind, metric; did you mean clearAt?"),
    "a member that nobody means": (edited("clearAt", "zzz"), "expected some of above, below, clearAt, clearForS, forS, kind, metric"),
    "a member of the scope in the rule": (edited("    scope:\n      d", "    siteIds: [1]\n    scope:\n      d"), ":5:5: rules[0].siteIds: there is no such member; expected some of condition, description, enabled, escalate, id, message, scope, severity, title; did you mean scope.siteIds?"),
    "a member of the rule in the condition": (edited("      above", "      title: x\n      above"), ":11:7: rules[0].condition.title: there is no such member; expected some of above, below, clearAt, clearForS, forS, kind, metric; did you mean title one level further out?"),
    # severity, scope, message, escalation
    "a severity in small letters": (edited("WARNING", "warning"), ":4:15: rules[0].severity='warning': expected 'INFO', 'WARNING' or 'CRITICAL'; did you mean WARNING?"),
    "an unknown severity": (edited("WARNING", "LOUD"), ":4:15: rules[0].severity='LOUD': expected 'INFO', 'WARNING' or 'CRITICAL'"),
    "a severity of another tool": (edited("WARNING", "HIGH"), "expected 'INFO', 'WARNING' or 'CRITICAL'; did you mean CRITICAL?"),
    "no severity": (edited("    severity: WARNING\n", ""), ":2:5: rules[0].severity: is missing; expected INFO, WARNING or CRITICAL"),
    "enabled by a number": (edited(IN_LAST, f"{IN_LAST}\n    enabled: 1"), ":20:14: rules[1].enabled=1: expected true or false"),
    "an empty scope list": (edited("[BATTERY]", "[]"), ":6:7: rules[0].scope.deviceTypes=[]: expected at least 1"),
    "a scope without a list": (edited("[BATTERY]", "BATTERY"), ":6:20: rules[0].scope.deviceTypes='BATTERY': expected a list: write [BATTERY]"),
    "a scope that is a list": (edited("scope:\n      deviceTypes: [BATTERY]\n      siteIds: [7]", "scope: [BATTERY]"), ":5:5: rules[0].scope=['BATTERY']: expected the members deviceTypes, siteIds, serialNumbers"),
    "a device type that is a number": (edited("[BATTERY]", "[BATTERY, 9]"), ":6:30: rules[0].scope.deviceTypes[1]=9: expected text, and YAML reads this as a number"),
    "a site in quotes": (edited("[7]", "['7']"), ":7:17: rules[0].scope.siteIds[0]='7': expected a whole number: write 7 without quotes"),
    "a negative site": (edited("[7]", "[-7]"), ":7:17: rules[0].scope.siteIds[0]=-7: expected at least 0"),
    "a serial number with a slash": (edited("siteIds: [7]", "serialNumbers: [a/b]"), ":7:23: rules[0].scope.serialNumbers[0]='a/b': expected a serial number: a letter or digit, then"),
    "an unknown placeholder": (edited(IN_LAST, IN_LAST + "\n    message: '{serial} is quiet'"), ":20:14: rules[1].message='{serial} is quiet': {serial} is no placeholder: expected some of"),
    "an unknown placeholder, meant": (edited(IN_LAST, IN_LAST + "\n    message: '{serial} is quiet'"), "did you mean {serialNumber}?"),
    "a brace that is not closed": (edited(IN_LAST, IN_LAST + "\n    message: '{value is'"), "a brace without the other one: expected placeholders such as {value}"),
    "an escalation downwards": (edited("CRITICAL", "INFO"), ":14:5: rules[0].escalate: severity INFO is not above that of the rule, WARNING: expected a higher one"),
    "an escalation to the same": (edited("CRITICAL", "WARNING"), ":14:5: rules[0].escalate: severity WARNING is not above that of the rule, WARNING"),
    "an escalation to nothing": (edited("      severity: CRITICAL\n", ""), ":14:5: rules[0].escalate.severity: is missing; expected INFO, WARNING or CRITICAL"),
    "an escalation at once": (edited("900", "0"), ":15:15: rules[0].escalate.afterS=0: expected greater than 0"),
    # conditions
    "no condition": (edited(GOOD[GOOD.rindex("    condition"):], ""), ":17:5: rules[1].condition: is missing; expected kind, and what belongs to it"),
    "a condition as text": (edited("kind: missingData\n      forS: 600", "temperature > 3"), ":21:7: rules[1].condition='temperature > 3': expected the members kind, metric and others"),
    "no kind": (edited("      kind: threshold\n", ""), ":8:5: rules[0].condition.kind: is missing; expected threshold, rateOfChange, missingData or windowStatistic"),
    "a kind without value": (edited("threshold", ""), ":9:7: rules[0].condition.kind: has no value; expected threshold, rateOfChange, missingData or windowStatistic"),
    "a misspelt kind": (edited("threshold", "treshold"), ":9:13: rules[0].condition.kind='treshold': expected threshold, rateOfChange, missingData or windowStatistic; did you mean threshold?"),
    "a metric that is none": (edited("temperature", "cell temp"), ":10:15: rules[0].condition.metric='cell temp': expected the name of a metric: a letter, then up to 63"),
    "no metric": (edited("      metric: temperature\n", ""), ":8:5: rules[0].condition.metric: is missing; expected the name of a metric, such as temperature"),
    "no limit": (edited("      above: 45\n      clearAt: 42\n", ""), ":8:5: rules[0].condition: has no limit; expected exactly one of above and below"),
    "two limits": (edited("above: 45", "above: 45\n      below: 3"), ":8:5: rules[0].condition: has above and below; expected exactly one of above and below"),
    "cleared on the wrong side": (edited("42", "47"), ":12:16: rules[0].condition.clearAt=47: expected at most 45, the value of above: it must be on the good side of the limit"),
    "cleared on the wrong side below": (edited("above: 45", "below: 45"), ":12:16: rules[0].condition.clearAt=42: expected at least 45, the value of below"),
    "NaN": (edited("45", ".nan"), ":11:14: rules[0].condition.above=nan: expected a finite number"),
    "infinity": (edited("45", "-.inf"), ":11:14: rules[0].condition.above=-inf: expected a finite number"),
    "a number in quotes": (edited("45", "'45'"), ":11:14: rules[0].condition.above='45': expected a number, and YAML reads this as text: write 45.0, without quotes"),
    "a number that YAML takes for text": (edited("45", "1e3"), ":11:14: rules[0].condition.above='1e3': expected a number, and YAML reads this as text: write 1000.0"),
    "a number with a unit": (edited("45", "45 C"), ":11:14: rules[0].condition.above='45 C': expected a number without a unit"),
    "a decimal comma": (edited("45", "45,5"), ":11:14: rules[0].condition.above='45,5': expected a number with a point: write 45.5"),
    "a decimal comma within braces": (one("kind: threshold, metric: t, above: 45,5"), ":5:53: rules[0].condition.5: stands alone behind a comma, which parts members; expected name: value, and a point in decimals"),
    "a number that YAML takes for octal": (edited("45", "0105"), ":11:14: rules[0].condition.above=0105: YAML reads this as 69; expected a plain decimal number, or text in quotes"),
    "a number that YAML takes for a time": (edited("60", "1:30"), ":13:13: rules[0].condition.forS=1:30: YAML reads this as 90; expected a plain decimal number, or text in quotes"),
    "a site that YAML takes for octal": (edited("[7]", "[010]"), ":7:17: rules[0].scope.siteIds[0]=010: YAML reads this as 8; expected a plain decimal number"),
    "a serial number that YAML takes for octal": (edited("siteIds: [7]", "serialNumbers: [007]"), ":7:23: rules[0].scope.serialNumbers[0]=007: YAML reads this as 7; expected a plain decimal number, or text in quotes"),
    "a limit with a unit of time": (one("kind: rateOfChange, metric: t, abovePerS: 5s, overS: 9"), ":5:57: rules[0].condition.abovePerS='5s': expected a number without a unit"),
    "a limit beyond all": (edited("45", "1.0e+301"), ":11:14: rules[0].condition.above=1e+301: expected at most 1e+300"),
    "a truth for a number": (edited("45", "yes"), ":11:14: rules[0].condition.above=true: expected a number"),
    "a list for a number": (edited("45", "[45]"), ":11:7: rules[0].condition.above=[45]: expected a number"),
    "a number that no computer holds": (edited("45", "1" + "0" * 400), ":11:14: rules[0].condition.above=1000"),
    "a number of thousands of digits": (edited("45", "1" * 5000), ":11:14: is no YAML: a value that cannot be (Exceeds the limit (4300 digits)"),
    "a duration with a unit": (edited("60", "5m"), ":13:13: rules[0].condition.forS='5m': expected a number of seconds: 5m is 300"),
    "a duration with a unit in full": (edited("60", "5 minutes"), ":13:13: rules[0].condition.forS='5 minutes': expected a number of seconds: 5 minutes is 300"),
    "a duration in the form of ISO 8601": (edited("60", "PT5M"), ":13:13: rules[0].condition.forS='PT5M': expected a number of seconds"),
    "a negative duration": (edited("60", "-1"), ":13:13: rules[0].condition.forS=-1: expected at least 0"),
    "a duration of more than a month": (edited("60", "2592001"), ":13:13: rules[0].condition.forS=2592001: expected at most 2592000"),
    "nothing missing": (one("kind: missingData, forS: 0"), ":5:40: rules[0].condition.forS=0: expected greater than 0"),
    "a rate without a span": (one("kind: rateOfChange, metric: t, abovePerMinute: 3"), ":5:3: rules[0].condition.overS: is missing; expected the span of the rate"),
    "a rate over too much": (one("kind: rateOfChange, metric: t, abovePerS: 3, overS: 7200"), ":5:67: rules[0].condition.overS=7200: expected at most 3600"),
    "a rate of two units": (one("kind: rateOfChange, metric: t, abovePerS: 3, belowPerMinute: 3, overS: 9"), ":5:3: rules[0].condition: has abovePerS and belowPerMinute; expected exactly one of abovePerS,"),
    "a rate of an unknown unit": (one("kind: rateOfChange, metric: t, abovePerHour: 3, overS: 9"), ":5:46: rules[0].condition.abovePerHour: there is no such member"),
    "a rate cleared in another unit": (one("kind: rateOfChange, metric: t, abovePerMinute: 3, clearAtPerS: 1, overS: 9"), ":5:78: rules[0].condition.clearAtPerS=1: expected clearAtPerMinute, in the unit of the limit"),
    "a rate with the limit of a threshold": (one("kind: rateOfChange, metric: t, above: 3, overS: 9"), ":5:46: rules[0].condition.above: there is no such member"),
    "a window that there is not": (one("kind: windowStatistic, window: 5m, statistic: mean, metric: t, above: 3"), ":5:46: rules[0].condition.window='5m': expected '1m', '15m', '1h' or '1d'"),
    "a statistic of another name": (one("kind: windowStatistic, window: 1h, statistic: avg, metric: t, above: 3"), "'last' or 'energyKwh'; did you mean mean?"),
    "a statistic of nothing": (one("kind: windowStatistic, window: 1h, statistic: mean, above: 3"), ":5:3: rules[0].condition.metric: is missing; expected the metric that mean is of"),
    "energy of a metric": (one("kind: windowStatistic, window: 1h, statistic: energyKwh, metric: t, above: 3"), "rules[0].condition.metric='t': expected no metric: energyKwh is that of the whole window"),
}  # fmt: skip


def said(data: str | bytes) -> list[str]:
    rules, problems = parse_rules(data if isinstance(data, bytes) else data.encode())
    assert not rules or not problems
    return [problem.in_file(Path("rules.yaml")) for problem in problems]


def test_a_good_file_is_what_it_says() -> None:
    rules, problems = parse_rules(GOOD.encode())

    assert problems == []
    assert [rule.id for rule in rules] == ["battery-hot", "meter-quiet"]
    hot, quiet = (rule.condition for rule in rules)
    assert isinstance(hot, Threshold)
    assert (hot.above, hot.clear_at, hot.for_s) == (45.0, 42.0, 60.0)
    assert isinstance(quiet, MissingData)
    assert (quiet.metric, quiet.for_s) == (None, 600.0)
    assert rules[0].scope.device_types == ("BATTERY",)


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_said_with_place_value_and_expectation(name: str) -> None:
    data, expected = MISTAKES[name]

    problems = said(data)

    assert any(expected in problem for problem in problems), problems
    assert all(problem.startswith("rules.yaml") for problem in problems)
    assert not any(word in str(problems).lower() for word in ("pydantic", "traceback", "errors.pydantic", "input should"))
    assert all(len(problem) < 500 for problem in problems)


def test_one_mistake_is_one_problem() -> None:
    several = {
        name: problems
        for name, (data, _) in MISTAKES.items()
        if len(problems := said(data)) != 1 and name not in {"a rate with the limit of a threshold", "a rate of an unknown unit"}
    }

    # Of a name that is wrong at the top, the right one is missing as well; of a misspelt one too.
    assert sorted(several) == ["a misspelt member", "a misspelt member, meant", "another name at the top"]


def test_all_mistakes_of_a_file_are_said_at_once_and_in_its_order() -> None:
    text = GOOD
    for old, new in (
        (IN_LAST, f"{IN_LAST}\n{IN_LAST}"), ("battery-hot", "Battery"), ("WARNING", "loud"), ("[7]", "[x]"), ("42", "99"), ("900", "15m"), ("600", "10m"),
    ):  # fmt: skip
        text = text.replace(old, new, 1)

    problems = said(text)

    assert [int(problem.split(":")[1]) for problem in problems] == [2, 4, 7, 12, 15, 20, 23]
    assert problems == sorted(problems, key=positions)


def positions(problem: str) -> Iterable[int]:
    return [int(part) for part in problem.split(":")[1:3]]


def test_defaults_may_be_written_once_and_merged() -> None:
    text = one("kind: missingData, forS: 9").replace("- id: a", "- &first\n  id: a") + "- <<: *first\n  id: b\n"

    rules, problems = parse_rules(text.encode())

    assert problems == []
    assert [(rule.id, rule.title) for rule in rules] == [("a", "A"), ("b", "A")]
    assert said(text + "  sevrity: INFO\n")[0].startswith("rules.yaml:9:3: rules[1].sevrity: there is no such member")


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert said(b"\xef\xbb\xbf" + GOOD.encode()) == []


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "nowhere.yaml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(RulesFileError) as caught:
            load_rules(path)
        assert str(caught.value) == f"{path}: cannot be read ({reason}); expected a file of alarm rules"


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(RulesFileError, match="/dev/zero: has more than 1048576 bytes"):
        load_rules(Path("/dev/zero"))
