"""Rows of files that people have made: CSV, JSON lines and JSON arrays, each row with its line, and a broken one without its neighbours.

Texts are expected as they are read with `errors="surrogateescape"`: bytes that are not of the encoding spoil their row only.
"""

import csv
import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from ems_streams.domain.refusals import shown, type_name
from ems_streams.errors import MalformedError

BYTE_ORDER_MARK: Final = "\ufeff"
_NOT_ENCODED: Final = frozenset(map(chr, range(0xDC80, 0xDD00)))


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        line: Line of the file that it begins in, from 1.
        text: As it is in the file.
        fields: By name of column, or what is wrong with it. Cells of CSV are texts as they stand, empty ones included.
    """

    line: int
    text: str
    fields: Mapping[str, Any] | MalformedError


@dataclass(slots=True)
class _Lines:
    """Lines, counted; what a record has swallowed can be given back."""

    source: Iterator[str]
    count: int = 0
    taken: list[str] = field(default_factory=list)
    _again: deque[str] = field(default_factory=deque)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self.source)
        self.count += 1
        self.taken.append(line)
        return line

    def give_back_all_but_the_first(self) -> None:
        rest = self.taken[1:]
        self._again.extendleft(reversed(rest))
        self.count -= len(rest)
        del self.taken[1:]


def csv_rows(lines: Iterable[str], check_names: Callable[[Sequence[str]], None] = lambda _: None) -> Iterator[Row]:
    """Rows of a CSV file whose first line names the columns; cells in quotes may have commas and line ends in them.

    A quote that is never closed, or not where it must be, costs the line that it is in, and not those that it swallows. Raises
    `MalformedError` for a header with a name twice or without any, and what `check_names` raises for its names.
    """
    source = _Lines(iter(lines))
    reader = csv.reader(source, strict=True)
    names = _header(reader)
    check_names(names)
    while True:
        source.taken.clear()
        cells: list[str] | None = None
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = MalformedError("invalid_row", f"expected cells separated by commas, quotes closed: {error}")
        else:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) == len(names):
                yield _row(source, dict(zip(names, cells, strict=True)))
                continue
            problem = MalformedError("invalid_row", f"{len(cells)} cells, expected {len(names)}")
        source.give_back_all_but_the_first()
        reader = csv.reader(source, strict=True)
        yield _row(source, problem)


def json_line_rows(lines: Iterable[str]) -> Iterator[Row]:
    """Rows of a file with a JSON object in each line."""
    for number, text in enumerate(lines, 1):
        line = text.removeprefix(BYTE_ORDER_MARK)
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            yield Row(number, line, MalformedError("invalid_json", str(error)))
            continue
        yield Row(number, line, _object(value))


def json_array_rows(text: str) -> Iterator[Row]:
    """Rows of a JSON array of objects, one after the other; of a file that begins with an object, its lines.

    Raises `MalformedError` with the line where it stops being JSON: what is behind that nobody can tell.
    """
    text = text.removeprefix(BYTE_ORDER_MARK)
    start = _skip_space(text, 0)
    if text[start : start + 1] == "{":
        yield from json_line_rows(text.split("\n"))
        return
    if text[start : start + 1] != "[":
        raise MalformedError("invalid_json", f"line {_line_of(text, start)}: expected an array of objects, or an object in each line")
    decoder = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
    line, counted, at = _line_of(text, start), start, _skip_space(text, start + 1)
    if text[at : at + 1] == "]":
        _expect_nothing(text, at + 1)
        return
    while True:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            position = getattr(error, "pos", at)
            raise MalformedError("invalid_json", f"line {_line_of(text, position)}: {getattr(error, 'msg', error)}") from None
        line, counted = line + text.count("\n", counted, at), at
        yield Row(line, text[at:end], _object(value))
        end = _skip_space(text, end)
        if text[end : end + 1] == "]":
            _expect_nothing(text, end + 1)
            return
        if text[end : end + 1] != ",":
            raise MalformedError("invalid_json", f"line {_line_of(text, end)}: expected a comma or the end of the array")
        at = _skip_space(text, end + 1)


def _header(reader: Iterator[list[str]]) -> list[str]:
    try:
        names = [name.strip().removeprefix(BYTE_ORDER_MARK).strip() for name in next(reader, [])]
    except csv.Error as error:
        raise MalformedError("invalid_header", f"expected names of columns, separated by commas: {error}") from None
    twice = sorted({name for name in names if names.count(name) > 1})
    if not any(names):
        raise MalformedError("invalid_header", "empty: expected names of columns in the first line")
    if twice or "" in names:
        raise MalformedError("invalid_header", f"{','.join(names)}: must give each column a name, and no name twice")
    return names


def _row(source: _Lines, fields: Mapping[str, str] | MalformedError) -> Row:
    text = "".join(source.taken)
    if not text.isascii() and not _NOT_ENCODED.isdisjoint(text):
        fields = MalformedError("invalid_encoding", "has bytes that are no UTF-8: expected a file in UTF-8")
    return Row(source.count - len(source.taken) + 1, text, fields)


def _object(value: Any) -> Mapping[str, Any] | MalformedError:
    return value if isinstance(value, dict) else MalformedError("invalid_row", f"{type_name(value)}: expected a JSON object")


def _expect_nothing(text: str, at: int) -> None:
    """Raises `MalformedError` for anything behind the array, such as another one: its devices would be missing without a word."""
    at = _skip_space(text, at)
    if at < len(text):
        raise MalformedError("invalid_json", f"line {_line_of(text, at)}: expected nothing behind the array")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{shown(text)} is larger than any number")
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _skip_space(text: str, at: int) -> int:
    while text[at : at + 1] in {" ", "\t", "\r", "\n"}:
        at += 1
    return at


def _line_of(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
