"""Records of the tables' changelogs as a release wrote them: a line each of `tests/data/states/RELEASE.jsonl`.

`python -m tests.support.record_states` writes it.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import tables.alarms
import tables.device_aggregates
import tables.device_status
import tables.notifications
from ems_streams.domain import commands_codec, site_codec
from ems_streams.kafka.catalogue import (
    ALARMS_TABLE,
    COMMANDS_TABLE,
    DEVICE_AGGREGATES_TABLE,
    DEVICE_STATUS_TABLE,
    NOTIFICATIONS_TABLE,
    SITE_WINDOWS_TABLE,
)
from ems_streams.kafka.partition_state import Codec

DIRECTORY = Path(__file__).parents[1] / "data" / "states"
CODECS: Mapping[str, Codec[Any]] = {
    DEVICE_AGGREGATES_TABLE: Codec(tables.device_aggregates.encode, tables.device_aggregates.decode),
    DEVICE_STATUS_TABLE: Codec(tables.device_status.encode, tables.device_status.decode),
    SITE_WINDOWS_TABLE: Codec(site_codec.encode, site_codec.decode),
    NOTIFICATIONS_TABLE: Codec(tables.notifications.encode, tables.notifications.decode),
    ALARMS_TABLE: Codec(tables.alarms.encode, tables.alarms.decode),
    COMMANDS_TABLE: Codec(commands_codec.encode, commands_codec.decode),
}
KINDS: Mapping[str, frozenset[int]] = {
    DEVICE_AGGREGATES_TABLE: frozenset({0x02, 0x51}),
    DEVICE_STATUS_TABLE: frozenset({0x02, 0x81, 0x82}),
    SITE_WINDOWS_TABLE: frozenset(range(0x11, 0x19)),
    NOTIFICATIONS_TABLE: frozenset({0x01, 0x81, 0x82}),
    ALARMS_TABLE: frozenset({0x01, 0x81, 0x82, 0x83}),
    COMMANDS_TABLE: frozenset({0x01, 0x41, 0x81, 0xC1}),
}
"""Every kind of record that is written today, by its version. Who makes a new one records it: `python -m tests.support.record_states`."""


@dataclass(frozen=True, slots=True)
class RecordedState:
    """A record of a changelog.

    Attributes:
        table: Whose it is.
        key: Its key.
        value: Its bytes, the first of which is the version.
        meaning: What the release that wrote it took it for: `meaning_of` its state.
    """

    table: str
    key: bytes
    value: bytes
    meaning: Any

    @property
    def kind(self) -> tuple[str, int]:
        """Table and version, by which kinds of records are told apart."""
        return self.table, self.value[0]


def read(path: Path) -> Iterator[RecordedState]:
    """The records of a file."""
    for line in path.read_text().splitlines():
        each = json.loads(line)
        yield RecordedState(each["table"], base64.b85decode(each["key"]), base64.b85decode(each["value"]), each["meaning"])


def write(path: Path, records: Sequence[RecordedState]) -> None:
    """Write a file of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for each in records:
            line = {
                "table": each.table,
                "key": base64.b85encode(each.key).decode(),
                "value": base64.b85encode(each.value).decode(),
                "meaning": each.meaning,
            }
            file.write(json.dumps(line) + "\n")


def meaning_of(state: Any) -> Any:
    """A state as JSON, field by field, whatever it is made of."""
    for known, view in _VIEWS:
        if isinstance(state, known):
            return view(state)
    # A compiled class has neither slots nor a dictionary that Python sees.
    fields = [name for name in dir(state) if not name.startswith("_") and not callable(getattr(state, name))]
    assert fields, f"{type(state)} is not known here"
    return {name: meaning_of(getattr(state, name)) for name in fields}


_VIEWS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Enum, lambda value: value.value),
    ((bytes, bytearray, memoryview), lambda value: bytes(value).hex()),
    (BaseModel, lambda value: value.model_dump(mode="json")),
    ((str, int, float, type(None)), lambda value: value),
    ((datetime, timedelta), str),
    (Mapping, lambda value: {str(meaning_of(key)): meaning_of(each) for key, each in value.items()}),
    ((set, frozenset), lambda value: sorted(map(str, map(meaning_of, value)))),
    ((list, tuple), lambda value: [meaning_of(each) for each in value]),
)


def differs(wanted: Any, found: Any) -> bool:
    """Whether something that was meant is meant no more; what a later release has added is no difference."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return any(name not in found or differs(value, found[name]) for name, value in wanted.items())
    return bool(wanted != found)


def of_each_kind(records: Sequence[RecordedState], most: int = 3) -> list[RecordedState]:
    """A few of each kind: the smallest, the largest, and one between."""
    kinds: dict[tuple[str, int], list[RecordedState]] = {}
    for each in records:
        kinds.setdefault(each.kind, []).append(each)
    chosen: list[RecordedState] = []
    for _, found in sorted(kinds.items()):
        by_size = sorted(found, key=lambda each: (len(each.value), each.key))
        chosen += {by_size[index].key: by_size[index] for index in (0, len(by_size) // 2, -1)[:most]}.values()
    return chosen
