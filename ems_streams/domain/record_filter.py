"""Which records somebody wants to see: by key, device, text and fields; pure, over records that are decoded already."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from ems_streams.errors import MalformedError

HEADERS: Final = "headers"
_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq, "!=": operator.ne, ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
_CONDITION: Final = re.compile(r"(?P<path>[A-Za-z_][\w.-]*)\s*(?P<operator>!=|>=|<=|=|>|<)\s*(?P<value>.*)", re.DOTALL)
_ABSENT: Final = object()


class Record(Protocol):
    """What a filter looks at."""

    @property
    def key(self) -> str | bytes | None:
        """Key; text where it is one."""

    @property
    def headers(self) -> Mapping[str, str | bytes]:
        """Headers; texts where they are."""

    @property
    def value(self) -> Any:
        """Decoded JSON, text, bytes or None."""

    @property
    def raw(self) -> bytes:
        """The value's bytes."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of one field, such as `telemetryData.powerKw>=5` or `headers.dlt-stage=ingress`.

    Numbers are compared as numbers, everything else as text. A field that is not there equals nothing.
    """

    path: tuple[str, ...]
    operator: str
    value: str

    def matches(self, record: Record) -> bool:
        """Whether the record is so."""
        first, rest = self.path[0], self.path[1:]
        # The names of headers have no dots in them, but keys of objects in values could: these are out of reach.
        found = record.headers.get(".".join(rest), _ABSENT) if first == HEADERS and rest else _at(record.value, self.path)
        if found is _ABSENT:
            return self.operator == "!="
        compare = _OPERATORS[self.operator]
        if isinstance(found, int | float) and not isinstance(found, bool):
            try:
                return compare(found, float(self.value))
            except ValueError:
                return self.operator == "!="
        if self.operator in {"=", "!="}:
            return compare(_text(found), self.value)
        return isinstance(found, str) and compare(found, self.value)


def condition(text: str) -> Condition:
    """A condition of its text; raises `MalformedError`."""
    parts = _CONDITION.fullmatch(text.strip())
    if parts is None:
        raise MalformedError(
            "invalid_condition", f"{text!r}: expected FIELD=VALUE, or with one of != >= <= > <, such as telemetryData.powerKw>=5"
        )
    return Condition(tuple(parts["path"].split(".")), parts["operator"], parts["value"].strip())


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """What a record must be; all of it, and what is not given is no matter.

    Attributes:
        device: Its key, or the `serialNumber` of its value.
        key: Its key.
        pattern: Found somewhere in its value's bytes, or its key.
        conditions: Of its fields.
    """

    device: str | None = None
    key: str | None = None
    pattern: "re.Pattern[str] | None" = None
    conditions: Sequence[Condition] = field(default=())

    def matches(self, record: Record) -> bool:
        """Whether the record is wanted."""
        return (
            (self.key is None or record.key == self.key)
            and (self.device is None or _is_of(record, self.device))
            and (self.pattern is None or self._has_text(record, self.pattern))
            and all(each.matches(record) for each in self.conditions)
        )

    @staticmethod
    def _has_text(record: Record, pattern: "re.Pattern[str]") -> bool:
        key = record.key if isinstance(record.key, str) else ""
        return pattern.search(record.raw.decode(errors="replace")) is not None or pattern.search(key) is not None


def _is_of(record: Record, serial_number: str) -> bool:
    return record.key == serial_number or (isinstance(record.value, dict) and record.value.get("serialNumber") == serial_number)


def _at(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return _ABSENT
        value = value[name]
    return value


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
