"""Files of alarm rules: what they say, or every mistake with its place, its value and what is expected."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, get_args

from pydantic import Field, ValidationError

from ems_streams.domain.alarm_conditions import RulePart
from ems_streams.domain.alarm_rules import AlarmRule, RuleId, Text, Title
from ems_streams.domain.events import MetricName, SerialNumber
from ems_streams.domain.maintenance import DeviceType
from ems_streams.errors import UsageError
from ems_streams.yaml_files.document import Document, Problem, parse_document, read_document, words
from ems_streams.yaml_files.explain import Wording, explain, shown

RULES_MAX: Final = 1000


def _pattern(kind: Any) -> str:
    pattern: str = get_args(kind)[1].pattern
    return pattern


WORDING: Final = Wording(
    patterns={
        _pattern(RuleId): "small letters, digits and hyphens, beginning with a letter, such as battery-hot",
        _pattern(Title): "one line of text",
        _pattern(Text): "text without NUL",
        _pattern(MetricName): "the name of a metric: a letter, then up to 63 letters, digits and _",
        _pattern(SerialNumber): "a serial number: a letter or digit, then up to 63 of letters, digits and _.:-",
        _pattern(DeviceType): "a device type, such as BATTERY: a letter, then up to 63 of letters, digits, _ and -",
    },
    missing={
        "rules": "expected a list of rules",
        "id": "expected a name of its own, such as battery-hot",
        "title": "expected what people are told, in a few words",
        "severity": "expected INFO, WARNING or CRITICAL",
        "condition": "expected kind, and what belongs to it",
        "metric": "expected the name of a metric, such as temperature",
        "forS": "expected a number of seconds",
        "overS": "expected the span of the rate, a number of seconds up to 3600",
        "afterS": "expected a number of seconds",
        "window": "expected '1m', '15m', '1h' or '1d'",
        "statistic": "expected count, sum, min, max, mean, stddev, p50, p95, p99, last or energyKwh",
    },
    meant={
        "name": "title",
        "text": "message",
        "type": "kind",
        "level": "severity",
        "priority": "severity",
        "active": "enabled",
        "when": "condition",
        "greaterThan": "above",
        "gt": "above",
        "max": "above",
        "threshold": "above",
        "lessThan": "below",
        "lt": "below",
        "min": "below",
        "hysteresis": "clearAt",
        "clear": "clearAt",
        "clearAbove": "clearAt",
        "clearBelow": "clearAt",
        "for": "forS",
        "duration": "forS",
        "forMinutes": "forS",
        "clearFor": "clearForS",
        "over": "overS",
        "span": "overS",
        "after": "afterS",
        "aggregate": "statistic",
        "avg": "mean",
        "average": "mean",
        "std": "stddev",
        "energy": "energyKwh",
        "WARN": "WARNING",
        "ERROR": "CRITICAL",
        "HIGH": "CRITICAL",
        "MEDIUM": "WARNING",
        "LOW": "INFO",
        "sites": "siteIds",
        "types": "deviceTypes",
        "devices": "serialNumbers",
    },
)


class RulesFile(RulePart):
    """A whole file."""

    rules: Annotated[tuple[AlarmRule, ...], Field(min_length=1, max_length=RULES_MAX)]


class RulesFileError(UsageError):
    """A file of rules that cannot be used; the text has a line for each mistake."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        super().__init__("\n".join(problem.in_file(path) for problem in problems))
        self.problems = problems


def load_rules(path: Path) -> tuple[AlarmRule, ...]:
    """The rules of a file, in its order; raises `RulesFileError` with all mistakes."""
    rules, problems = read_rules(path)
    if problems:
        raise RulesFileError(path, problems)
    return rules


def read_rules(path: Path) -> tuple[tuple[AlarmRule, ...], list[Problem]]:
    """The rules of a file, or its mistakes in the order in which they stand there."""
    document, problems = read_document(path, "a file of alarm rules")
    return _checked(document, problems)


def parse_rules(data: bytes) -> tuple[tuple[AlarmRule, ...], list[Problem]]:
    """The same of the bytes of a file."""
    document, problems = parse_document(data)
    return _checked(document, problems)


def _checked(document: Document | None, problems: list[Problem]) -> tuple[tuple[AlarmRule, ...], list[Problem]]:
    if document is None:
        return (), problems
    rules, found = _validated(document)
    # Of a value that is told of already, what it was taken for is of no interest.
    told = {(each.mark, each.place) for each in problems}
    every = [*problems, *(each for each in found if (each.mark, each.place) not in told), *_named_twice(document)]
    return (() if every else rules), sorted(every, key=lambda each: each.mark or (0, 0))


def _validated(document: Document) -> tuple[tuple[AlarmRule, ...], list[Problem]]:
    content = document.content
    if not isinstance(content, dict):
        what = "is empty" if content is None else f"is {shown(content)}"
        more = ": write rules: above the list" if isinstance(content, list) else ""
        return (), [Problem(None, "", f"{what}; expected the member rules with a list{more}")]
    try:
        return RulesFile.model_validate(content, by_alias=True, by_name=False).rules, []
    except ValidationError as error:
        return (), explain(error, RulesFile, document, WORDING)


def _named_twice(document: Document) -> Iterator[Problem]:
    rules: Any = document.content.get("rules") if isinstance(document.content, dict) else None
    first: dict[str, int] = {}
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        rule_id = rule.get("id") if isinstance(rule, dict) else None
        if not isinstance(rule_id, str):
            continue
        place = ("rules", index, "id")
        if rule_id in first:
            there = document.mark_of(("rules", first[rule_id], "id"))
            on_line = "" if there is None else f" on line {there.line}"
            text = f"is the id of rules[{first[rule_id]}]{on_line} already; expected one of its own"
            yield Problem(document.mark_of(place, value=True), words(place), text, shown(rule_id))
        first.setdefault(rule_id, index)
