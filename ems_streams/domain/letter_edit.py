"""What a person changes of a dead letter before it goes back: fields of its JSON, all of its value, its key, its MQTT topic."""

import base64
import binascii
import re
from typing import Any, Final, NamedTuple

import orjson
from pydantic import Field

from ems_streams.domain.events import Event
from ems_streams.domain.json_text import read_json
from ems_streams.domain.refusals import type_name
from ems_streams.errors import MalformedError, UsageError

_STEP: Final = re.compile(r"""\.?([A-Za-z_][\w$-]*)|\[(\d+)\]|\[\s*"((?:[^"\\]|\\.)*)"\s*\]""")

Path = tuple[str | int, ...]


class Edited(NamedTuple):
    """A letter as it is to go back."""

    key: bytes | None
    value: bytes | None
    mqtt_topic: str | None


class Edit(Event):
    """Changes; without any the letter goes back as it is.

    Attributes:
        sets: New values by path, such as `telemetryData.powerKw`.
        unsets: Paths that are taken out.
        value: All of the value, as base64, in place of what it was.
        key: In place of the key; the record then goes to the partition of that key.
        mqtt_topic: In place of the MQTT topic, for what never was a Kafka record.
    """

    sets: dict[str, Any] = Field(default_factory=dict)
    unsets: tuple[str, ...] = ()
    value: str | None = None
    key: str | None = None
    mqtt_topic: str | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is changed."""
        return not (self.sets or self.unsets) and self.value is None and self.key is None and self.mqtt_topic is None

    def check(self) -> None:
        """Raises `UsageError` for paths that are none, and for a value that is no base64."""
        for text in (*self.sets, *self.unsets):
            parse_path(text)
        self._replacement()

    def apply(self, key: bytes | None, value: bytes | None) -> Edited:
        """The changed letter; raises `MalformedError` with the reason `cannot_edit` when a path leads nowhere."""
        replaced = value if self.value is None else self._replacement()
        if self.sets or self.unsets:
            replaced = self._with_fields(replaced)
        return Edited(key if self.key is None else self.key.encode(), replaced, self.mqtt_topic)

    def _replacement(self) -> bytes | None:
        try:
            return None if self.value is None else base64.b64decode(self.value, validate=True)
        except (binascii.Error, ValueError):
            raise UsageError("the new value is no base64") from None

    def _with_fields(self, value: bytes | None) -> bytes:
        try:
            document = read_json(value or b"")
        except ValueError as error:
            raise _cannot_edit(f"the value is no JSON ({error}), so no field of it can be set: replace all of it") from None
        for text, content in self.sets.items():
            document = _set(document, parse_path(text), content, text)
        for text in self.unsets:
            _unset(document, parse_path(text), text)
        try:
            return orjson.dumps(document)
        except TypeError as error:
            raise _cannot_edit(f"after the edit it cannot be written as JSON: {error}") from None


def parse_set(text: str) -> tuple[str, Any]:
    """Path and value of `path=value`; the value is JSON, or else a text. Raises `UsageError`."""
    path, equals, content = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text!r}: expected PATH=VALUE, such as telemetryData.powerKw=45.2")
    parse_path(path)
    try:
        return path, orjson.loads(content)
    except orjson.JSONDecodeError:
        return path, content


def parse_path(text: str) -> Path:
    """Steps of a path: names, and indexes in brackets; a leading `$` is the whole. Raises `UsageError`."""
    rest = text.removeprefix("$.") if text.startswith("$.") else text.removeprefix("$") if text.startswith("$[") else text
    steps: list[str | int] = []
    at = 0
    while at < len(rest):
        found = _STEP.match(rest, at)
        # A name follows a dot, unless it is the first step; only then.
        if found is None or (found[1] is not None and (rest[at] == ".") != bool(steps)):
            raise UsageError(f'{text!r}: expected a path such as telemetryData.powerKw, readings[0].value or ["a name"].x')
        steps.append(found[1] if found[1] is not None else int(found[2]) if found[2] is not None else _unquoted(found[3]))
        at = found.end()
    if not steps:
        raise UsageError(f"{text!r}: expected a path such as telemetryData.powerKw")
    return tuple(steps)


def _unquoted(text: str) -> str:
    try:
        return str(orjson.loads(f'"{text}"'))
    except orjson.JSONDecodeError:
        raise UsageError(f"{text!r}: expected a JSON text in brackets") from None


def _set(document: Any, path: Path, content: Any, text: str) -> Any:
    step, rest = path[0], path[1:]
    if isinstance(step, str):
        if not isinstance(document, dict):
            raise _cannot_edit(f"{text}: {step!r} is looked for in {type_name(document)}, and not in an object")
        # What is missing on the way is made.
        document[step] = _set(document.get(step, {}), rest, content, text) if rest else content
        return document
    if not isinstance(document, list) or not 0 <= step <= len(document) - bool(rest):
        raise _cannot_edit(f"{text}: there is no element {step}")
    if step == len(document):
        document.append(content)
    else:
        document[step] = _set(document[step], rest, content, text) if rest else content
    return document


def _unset(document: Any, path: Path, text: str) -> None:
    for step in path[:-1]:
        document = _member(document, step, text)
    _member(document, path[-1], text)
    del document[path[-1]]


def _member(document: Any, step: str | int, text: str) -> Any:
    if isinstance(step, str) and isinstance(document, dict) and step in document:
        return document[step]
    if isinstance(step, int) and isinstance(document, list) and step < len(document):
        return document[step]
    raise _cannot_edit(f"{text}: there is no {step!r}")


def _cannot_edit(detail: str) -> MalformedError:
    return MalformedError("cannot_edit", detail)
