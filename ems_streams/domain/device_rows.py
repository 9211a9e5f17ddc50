"""Rows of a file of devices as entries of the registry: what a row does not say stays as it is registered.

Fields are those of a record of `device-registry`, by their names there; `limits.NAME` is one limit. An empty cell of CSV says nothing; null in JSON takes a name or
the limits away. Who is in a file is registered: such a device is no longer provisioned, unless the row says that it is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from ems_streams.domain.file_rows import Row
from ems_streams.domain.json_text import is_writable
from ems_streams.domain.maintenance import DeviceType
from ems_streams.domain.refusals import shown
from ems_streams.domain.registry import RegistryEntry, provisional_device_id
from ems_streams.domain.silence import TIMEOUT_LIMIT, registered_timeout
from ems_streams.errors import MalformedError

FIELDS: Final = ("serialNumber", "siteId", "deviceType", "deviceId", "name", "limits", "provisioned")
LIMIT_PREFIX: Final = "limits."
NAME_MAX: Final = 200
LIMITS_MAX_BYTES: Final = 65_536
"""As JSON: an entry has to fit into a record of Kafka, with room to spare."""
_NUMBERS: Final = frozenset({"siteId", "deviceId"})
_TAKEN_AWAY: Final[dict[str, Any]] = {"name": None, "limits": {}}
_TYPE: Final = TypeAdapter(DeviceType)

Find = Callable[[str], RegistryEntry | None]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a row.

    Attributes:
        field: By its name in the registry; None when it is the row as such.
        value: As far as it is short.
        expected: In words.
    """

    field: str | None
    value: str | None
    expected: str

    def __str__(self) -> str:
        return self.expected if self.field is None else f"{self.field}={self.value}: {self.expected}"


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is no device, with all that is wrong with it."""

    row: Row
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A row as an entry of the registry; `own_id` when the number of the device is the row's own."""

    row: Row
    entry: RegistryEntry
    own_id: bool


def field_of(column: str, renamed: Mapping[str, str]) -> str | None:
    """The field that a column is; None when it is none."""
    name = renamed.get(column, column)
    return name if name in FIELDS or (name.startswith(LIMIT_PREFIX) and name != LIMIT_PREFIX) else None


def devices_of(rows: Iterable[Row], find: Find, renamed: Mapping[str, str], *, texts: bool) -> Iterator[DeviceRow | BadRow]:
    """Each row as an entry, or what is wrong with it.

    Args:
        rows: Of the file.
        find: What is registered.
        renamed: Fields by columns that are called otherwise.
        texts: Whether values are texts that may mean numbers, as in CSV.
    """
    for row in rows:
        if isinstance(row.fields, MalformedError):
            yield BadRow(row, (Problem(None, None, row.fields.detail),))
            continue
        yield _device(row, _values(row.fields, renamed, texts=texts), find)


def _values(fields: Mapping[str, Any], renamed: Mapping[str, str], *, texts: bool) -> dict[str, Any]:
    found = {}
    for column, value in fields.items():
        name = field_of(column, renamed)
        if name is None:
            continue
        if not texts:
            found[name] = value
        elif value.strip():
            found[name] = value if name == "name" else _meant(name, value.strip())
    return found


def _meant(name: str, text: str) -> Any:
    """Numbers, limits and the like as such; what is none is left to the check, which words the error."""
    if name in _NUMBERS:
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text
    if name == "provisioned":
        return {"true": True, "false": False}.get(text.lower(), text)
    if name == "limits" or name.startswith(LIMIT_PREFIX):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
    return text


def _device(row: Row, values: dict[str, Any], find: Find) -> DeviceRow | BadRow:
    serial_number = values.get("serialNumber")
    known = find(serial_number) if isinstance(serial_number, str) else None
    own_id = values.get("deviceId") is not None
    try:
        entry = RegistryEntry.model_validate(_merged(values, known))
    except ValidationError as error:
        return BadRow(row, tuple(_problem(each) for each in error.errors(include_url=False, include_context=False)))
    problems = tuple(_further_problems(entry, values))
    return BadRow(row, problems) if problems else DeviceRow(row, entry, own_id)


def _merged(values: dict[str, Any], known: RegistryEntry | None) -> dict[str, Any]:
    if known is None:
        # A serial number that is none is found by the check; a text with half a character in it has no bytes.
        serial_number = str(values.get("serialNumber")).encode("utf-8", "replace").decode()
        merged: dict[str, Any] = {"deviceId": provisional_device_id(serial_number)}
    else:
        merged = {
            "deviceId": known.device_id, "siteId": known.site_id, "deviceType": known.device_type, "name": known.name, "limits": known.limits,
        }  # fmt: skip
    for name, value in values.items():
        if value is None:
            merged.update({name: _TAKEN_AWAY[name]} if name in _TAKEN_AWAY else {})
        elif not name.startswith(LIMIT_PREFIX):
            merged[name] = value
    single = {name.removeprefix(LIMIT_PREFIX): value for name, value in values.items() if name.startswith(LIMIT_PREFIX)}
    if single and isinstance(merged.get("limits", {}), dict):
        limits = {**merged.get("limits", {}), **single}
        merged["limits"] = {name: value for name, value in limits.items() if value is not None}
    if merged.get("name") == "":
        merged["name"] = None
    return merged


def _problem(error: Any) -> Problem:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return Problem(name, "nothing", "expected, since the registry does not know it" if name == "siteId" else "expected a value")
    expected = error["msg"].replace("Input should be", "expected").replace("String should", "expected a text that should")
    return Problem(name, shown(error["input"]), expected.replace("dictionary", "JSON object"))


def _further_problems(entry: RegistryEntry, values: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        if values.get("deviceType") is not None:
            _TYPE.validate_python(entry.device_type)
    except ValidationError as error:
        problem = _problem(error.errors(include_url=False, include_context=False)[0])
        yield Problem("deviceType", problem.value, problem.expected)
    if entry.name is not None and (len(entry.name) > NAME_MAX or "\0" in entry.name or not is_writable(entry.name)):
        yield Problem("name", shown(entry.name), f"expected at most {NAME_MAX} characters of UTF-8, and no NUL")
    if len(entry.limits) and not (is_writable(entry.limits) and len(orjson.dumps(entry.limits)) <= LIMITS_MAX_BYTES):
        expected = f"expected JSON in UTF-8 of at most {LIMITS_MAX_BYTES // 1024} KiB and 250 levels, whole numbers of at most 64 bits"
        yield Problem("limits", shown(entry.limits), expected)
    try:
        registered_timeout(entry)
    except MalformedError as error:
        yield Problem(f"limits.{TIMEOUT_LIMIT}", shown(entry.limits[TIMEOUT_LIMIT]), error.detail.rpartition(": ")[2])
