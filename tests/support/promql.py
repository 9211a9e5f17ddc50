"""Reads PromQL far enough to say which metrics and labels an expression uses, and how; raises `ValueError` on what it does not understand."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![smhdwy\d]))
  | (?P<duration>(?:\d+(?:ms|[smhdwy]))+)
  | (?P<variable>\$\{?[A-Za-z_]\w*\}?)
  | (?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
  | (?P<operator>=~|!~|==|!=|<=|>=|[-+*/%^<>={}()\[\],:@])
    )""",
    re.VERBOSE,
)

AGGREGATIONS = frozenset({"sum", "min", "max", "avg", "count", "stddev", "topk", "bottomk", "quantile", "group"})
OF_COUNTERS = frozenset({"rate", "increase", "irate"})
OF_GAUGES = frozenset({"deriv", "predict_linear", "delta"})
FUNCTIONS = (
    OF_COUNTERS
    | OF_GAUGES
    | {"histogram_quantile", "absent", "changes", "clamp_min", "clamp_max", "time", "max_over_time", "last_over_time", "vector"}
)
WORDS = frozenset({"and", "or", "unless", "offset", "bool"})
GROUPING = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})


@dataclass
class Selector:
    """A metric as it is used: with which label matchers, and directly inside which function."""

    metric: str
    matchers: dict[str, tuple[str, str]]
    function: str


@dataclass
class Expression:
    """What an expression uses."""

    selectors: list[Selector] = field(default_factory=list)
    grouped_by: set[str] = field(default_factory=set)


def tokens(text: str) -> Iterator[tuple[str, str]]:
    """Kind and text of each token."""
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"cannot read {text[at:]!r} in {text!r}")
        kind = found.lastgroup
        assert kind is not None
        yield kind, found[kind]
        at = found.end()


def read(text: str) -> Expression:
    """The metrics and labels of an expression."""
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [*tokens(text), ("end", "")]
        self._at = 0
        self._found = Expression()
        self._open: list[str] = []

    def read(self) -> Expression:
        called = ""
        while (token := self._next())[0] != "end":
            kind, word = token
            if kind == "name" and word in GROUPING:
                self._grouping(word)
            elif kind == "name" and word not in WORDS:
                called = self._name(word)
                continue
            elif word in {"(", "["}:
                self._open.append(called if word == "(" else word)
            elif word in {")", "]"} and (not self._open or (self._open.pop() == "[") != (word == "]")):
                raise ValueError(f"{word!r} closes nothing in {self._text!r}")
            called = ""
        if self._open:
            raise ValueError(f"something is not closed in {self._text!r}")
        return self._found

    def _next(self) -> tuple[str, str]:
        self._at += 1
        return self._tokens[self._at - 1]

    @property
    def _coming(self) -> str:
        return self._tokens[self._at][1]

    def _name(self, word: str) -> str:
        """A function or an aggregation, which is given back, or a metric."""
        if self._coming == "(" or (word in AGGREGATIONS and self._coming in GROUPING):
            if word not in AGGREGATIONS | FUNCTIONS:
                raise ValueError(f"unknown function {word!r} in {self._text!r}")
            if self._coming in GROUPING:
                self._grouping(self._next()[1])
            return word
        self._found.selectors.append(Selector(word, self._matchers(), self._open[-1] if self._open else ""))
        return ""

    def _matchers(self) -> dict[str, tuple[str, str]]:
        matchers: dict[str, tuple[str, str]] = {}
        if self._coming != "{":
            return matchers
        self._next()
        while self._coming != "}":
            (kind, label), (_, operator), (value_kind, value) = self._next(), self._next(), self._next()
            if kind != "name" or operator not in {"=", "!=", "=~", "!~"} or value_kind != "string":
                raise ValueError(f"not a matcher: {label}{operator}{value} in {self._text!r}")
            matchers[label] = operator, value[1:-1]
            if self._coming == ",":
                self._next()
        self._next()
        return matchers

    def _grouping(self, word: str) -> None:
        if self._next()[1] != "(":
            raise ValueError(f"{word} without labels in {self._text!r}")
        while (token := self._next())[1] != ")":
            if token[0] == "name":
                self._found.grouped_by.add(token[1])
            elif token[1] != ",":
                raise ValueError(f"{token[1]!r} is no label in {self._text!r}")
