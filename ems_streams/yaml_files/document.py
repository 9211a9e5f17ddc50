"""YAML files as people write them: what a file says, where each part of it stands, and what is wrong with it as YAML."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

MAX_BYTES: Final = 1024 * 1024
VALUES_MAX: Final = 100_000
"""Values of a file with all its aliases written out: a few lines of these could be more than any memory."""

Place = tuple[Any, ...]
"""Keys and indexes down to a value."""

_MERGE: Final = "tag:yaml.org,2002:merge"
_TEXT: Final = "tag:yaml.org,2002:str"
_UNQUOTED: Final = re.compile(r"(?::|-)\s+([{@`%&*!|>])")
_OTHER_BASE: Final = re.compile(r"[-+]?(?:0[0-9_]+|[0-9_]+(?::[0-5]?[0-9])+(?:\.[0-9_]*)?)")
"""Numbers that are others than they seem: 010 is 8, and 1:30 is 90."""
_SEEN_AS_NUMBER_CHARS: Final = 40
_TAGGED: Final = ("binary", "omap", "pairs", "set")
_READ_AS: Final = {"bool": "true or false", "int": "a number", "float": "a number", "null": "nothing", "timestamp": "a date"}


class Mark(NamedTuple):
    """Line and column, both from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in a file.

    Attributes:
        mark: Where; None when it is about the file as a whole.
        place: The same in words, such as `channels.ops.url`; empty for the file as a whole.
        value: What stands there, as it is shown; None when it says nothing.
        text: What is wrong, and what is expected.
    """

    mark: Mark | None
    place: str
    text: str
    value: str | None = None

    @property
    def said(self) -> str:
        """Value and expectation."""
        return self.text if self.value is None else f"{self.value}: {self.text}"

    @property
    def line(self) -> int | None:
        """Line, from 1."""
        return None if self.mark is None else self.mark.line

    def __str__(self) -> str:
        where = "" if self.mark is None else f"line {self.mark.line}: "
        return where + self._what

    def in_file(self, path: Path) -> str:
        """With file, line and column, in the form that editors jump to."""
        where = "" if self.mark is None else f":{self.mark.line}:{self.mark.column}"
        return f"{path}{where}: {self._what}"

    @property
    def _what(self) -> str:
        value = "" if self.value is None else f"={self.value}"
        return f"{self.place}{value}: {self.text}" if self.place else self.text


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says.

    Attributes:
        content: Its values.
        keys: Where the key of each place stands, or the beginning of an element of a list.
        values: Where the value of each place begins.
    """

    content: Any
    keys: dict[Place, Mark] = field(default_factory=dict)
    values: dict[Place, Mark] = field(default_factory=dict)

    def mark_of(self, place: Place, *, value: bool = False) -> Mark | None:
        """Where a place stands, or the nearest one around it that stands in the file."""
        if value and place in self.values:
            return self.values[place]
        return next((self.keys[place[:length]] for length in range(len(place), 0, -1) if place[:length] in self.keys), None)


def read_document(path: Path, what: str) -> tuple[Document | None, list[Problem]]:
    """What a file says, None when it is no YAML, and what is wrong with it; `what` says what kind of file is expected."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        return None, [Problem(None, "", f"cannot be read ({error.strerror or error}); expected {what}")]
    return parse_document(data)


def parse_document(data: bytes) -> tuple[Document | None, list[Problem]]:
    """The same of the bytes of a file."""
    if len(data) > MAX_BYTES:
        return None, [Problem(None, "", f"has more than {MAX_BYTES} bytes; expected at most that many")]
    text = ""
    try:
        text = data.decode("utf-8-sig")
        return _read(text)
    except UnicodeDecodeError as error:
        problem = _of_bytes(data, error.start)
    except yaml.YAMLError as error:
        problem = _of_yaml(error, text)
    except _TooManyError:
        problem = Problem(None, "", f"has more than {VALUES_MAX} values; expected at most that many")
    except RecursionError:
        problem = Problem(None, "", "is nested too deeply; expected a few levels")
    return None, [problem]


def _read(text: str) -> tuple[Document | None, list[Problem]]:
    loader = _Loader(text)
    root = loader.get_single_node()
    if (problem := _too_much(root)) is not None:
        return None, [problem]
    survey = _Survey(root)
    if survey.unreadable:
        return None, survey.problems
    content = None if root is None else loader.construct_document(root)
    return Document(content, survey.keys, survey.values), survey.problems


class _ValueError(yaml.constructor.ConstructorError):  # type: ignore[misc]
    """A value that cannot be, and where it stands."""


class _TooManyError(Exception):
    """More values than are read."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """As the safe one; gives up early, and says where a value stands that cannot be."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._values = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        self._values += 1
        if self._values > VALUES_MAX:
            raise _TooManyError
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            # A date such as 2025-13-01, or a number of thousands of digits.
            raise _ValueError(
                None, None, f"a value that cannot be ({str(error).split(';')[0]}); expected it in quotes", node.start_mark
            ) from None


def words(place: Place) -> str:
    """A place as people write it: `rules[2].condition.above`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


class _Survey:
    """Where everything stands, and keys that are there twice, of which YAML would drop one without a word, or that are no text."""

    def __init__(self, root: yaml.Node | None) -> None:
        self.keys: dict[Place, Mark] = {}
        self.values: dict[Place, Mark] = {}
        self.problems: list[Problem] = []
        self.unreadable = False
        self._waiting: list[tuple[yaml.Node, Place]] = [] if root is None else [(root, ())]
        while self._waiting:
            node, place = self._waiting.pop()
            if isinstance(node, yaml.MappingNode):
                self._mapping(node, place)
            elif isinstance(node, yaml.SequenceNode):
                for index, value in enumerate(node.value):
                    self._found((*place, index), value, _mark(value))

    def _mapping(self, node: yaml.MappingNode, place: Place) -> None:
        own: dict[Place, Mark] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                # What is merged stands elsewhere, and what is written here goes before it.
                continue
            if not isinstance(key, yaml.ScalarNode) or key.tag != _TEXT:
                # The end of `above: 45,5` within braces.
                alone = node.flow_style is True and isinstance(value, yaml.ScalarNode) and value.value == "" and value.style is None
                self._no_name(key, place, alone=alone)
                continue
            here = (*place, key.value)
            if here in own:
                self.problems.append(Problem(_mark(key), words(here), f"is there already on line {own[here].line}; expected once"))
                continue
            own[here] = _mark(key)
            self._found(here, value, own[here])

    def _found(self, place: Place, value: yaml.Node, key: Mark) -> None:
        self.keys[place] = key
        self.values[place] = _mark(value)
        self._waiting.append((value, place))
        kind = value.tag.rpartition(":")[2]
        if kind in _TAGGED:
            self.problems.append(Problem(_mark(value), words(place), f"has the tag !!{kind}; expected plain values without tags"))
        elif kind in {"int", "float"} and _is_another_number(value):
            read_as = yaml.constructor.SafeConstructor().construct_object(value)
            text = f"YAML reads this as {read_as}; expected a plain decimal number, or text in quotes"
            self.problems.append(Problem(_mark(value), words(place), text, value.value))

    def _no_name(self, key: yaml.Node, place: Place, *, alone: bool) -> None:
        if isinstance(key, yaml.ScalarNode):
            read_as = _READ_AS.get(key.tag.rpartition(":")[2], "no text")
            text = f"YAML reads this name as {read_as}; expected text: put it into quotes"
            if alone:
                text = "stands alone behind a comma, which parts members; expected name: value, and a point in decimals"
            self.problems.append(Problem(_mark(key), words((*place, key.value)), text))
        else:
            self.problems.append(Problem(_mark(key), words(place), "has a list or members where a name is expected"))
            self.unreadable = True


def _is_another_number(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and len(node.value) <= _SEEN_AS_NUMBER_CHARS and _OTHER_BASE.fullmatch(node.value) is not None


def _too_much(root: yaml.Node | None) -> Problem | None:
    """Why a document may not be unfolded: aliases that contain themselves, or are too many when they are written out."""
    sizes: dict[int, int] = {}
    within: set[int] = set()

    def size(node: yaml.Node) -> int:
        known = sizes.get(id(node))
        if known is not None:
            return known
        if id(node) in within:
            raise _EndlessError(node)
        within.add(id(node))
        total = 1 + sum(size(child) for child in _children(node))
        within.discard(id(node))
        sizes[id(node)] = total
        return total

    try:
        total = 0 if root is None else size(root)
    except _EndlessError as error:
        return Problem(_mark(error.node), "", "has an alias within its own anchor; expected values that end")
    if total > VALUES_MAX:
        return Problem(None, "", f"has {total} values with all aliases written out; expected at most {VALUES_MAX}")
    return None


class _EndlessError(Exception):
    def __init__(self, node: yaml.Node) -> None:
        super().__init__()
        self.node = node


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _mark(node: yaml.Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)


def _of_bytes(data: bytes, position: int) -> Problem:
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return Problem(None, "", "is UTF-16; expected YAML as UTF-8: save it as that")
    line_start = data.rfind(b"\n", 0, position) + 1
    mark = Mark(data.count(b"\n", 0, position) + 1, position - line_start + 1)
    return Problem(mark, "", f"byte {position} (0x{data[position]:02x}) is no UTF-8; expected YAML as UTF-8")


def _of_yaml(error: yaml.YAMLError, text: str) -> Problem:
    if isinstance(error, yaml.reader.ReaderError):
        line_start = text.rfind("\n", 0, error.position) + 1
        mark = Mark(text.count("\n", 0, error.position) + 1, error.position - line_start + 1)
        return Problem(mark, "", f"is no YAML: a character that cannot be in a text (#x{error.character:02x}); expected it left out")
    where = getattr(error, "problem_mark", None)
    mark_there = None if where is None else Mark(where.line + 1, where.column + 1)
    return Problem(mark_there, "", f"is no YAML: {_in_words(error, text, mark_there)}")


def _in_words(error: yaml.YAMLError, text: str, mark: Mark | None) -> str:
    said = str(getattr(error, "problem", None) or error).splitlines()[0]
    lines = text.splitlines()
    line = lines[mark.line - 1] if mark is not None and mark.line <= len(lines) else ""
    if "\\t" in said or "\t" in line[: len(line) - len(line.lstrip())]:
        said = "a tab; expected spaces to indent with"
    elif "for merging" in said:
        said = "<< with something that has no members; expected an alias such as *defaults, or a list of such"
    elif isinstance(error, yaml.constructor.ConstructorError) and not isinstance(error, _ValueError):
        said += "; expected plain values without tags"
    elif "but found another document" in said:
        said = "a second document (---); expected one"
    elif said == "mapping values are not allowed here":
        said = "a colon where none can be; expected text with a colon in quotes, and members below each other"
    elif (begins := _unquoted(line, mark, said)) is not None:
        said += f"; text that begins with {begins} must be in quotes"
    elif "cannot start any token" in said:
        said += "; expected text that begins so in quotes"
    elif "<block end>" in said and mark is not None and not line[: mark.column - 1].strip():
        said += ": this line is indented otherwise than those that it belongs to"
    elif getattr(error, "context", None) and getattr(error, "context_mark", None):
        said += f", {error.context} from line {error.context_mark.line + 1} on"
    return said


def _unquoted(line: str, mark: Mark | None, said: str) -> str | None:
    """The sign that has made something else of a text, if one before the mistake, or at it, may have."""
    before = [found for found in _UNQUOTED.finditer(line) if mark is None or found.start(1) < mark.column]
    # Within braces that are still open these are meant.
    return before[-1][1] if before and not (before[-1][1] == "{" and "',' or" in said) else None
