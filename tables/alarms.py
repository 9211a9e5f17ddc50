"""`alarms`: what is remembered of each device for the rules, the alarms themselves, and the rules of the partition.

One table holds five kinds of records: what is remembered of a device, or for a while that it was removed, under its serial number; under keys of their own, which come
before all of those, each alarm under its id, the alarm rules, and the listening of the partition.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import faust
from pydantic import ValidationError

from ems_streams.domain import alarm_memory
from ems_streams.domain.alarm_index import Entry, entry_in, entry_of
from ems_streams.domain.alarm_memory import DeviceMemory
from ems_streams.domain.alarm_rule_set import RuleSet, decode_rule_set
from ems_streams.domain.alarms import Alarm
from ems_streams.domain.silence import LISTENING_VERSION, Listening, decode_listening, encode_listening
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.kafka.catalogue import ALARMS_TABLE
from ems_streams.kafka.partition_state import Codec, PartitionState
from ems_streams.kafka.state_table import StateTable


class Removed(NamedTuple):
    """A device that is in the registry no more: what arrived before is of one that is gone, and so are windows that had begun.

    Attributes:
        at_ms: When it was removed, by the clock of who did it.
    """

    at_ms: int

    @property
    def forgotten_ms(self) -> int:
        """When it need not be known any more, once all is folded that had arrived by then."""
        return self.at_ms + _REMOVED_KEPT_MS


Record = DeviceMemory | Alarm | RuleSet | Listening | Removed

RULES_KEY = b"\x01rules"
LISTENING_KEY = b"\x01listening"
_ALARM_PREFIX = b"\x01alarm\x00"
_AFTER_ALARMS = b"\x01alarm\x01"
FIRST_DEVICE_KEY = b"\x02"
"""Every serial number comes behind this, and no other key does."""
_ALARM_VERSION = 0x82
_RULES_VERSION = 0x83
_REMOVED_VERSION = 0x84
_TIME = struct.Struct(">q")
_REMOVED_KEPT_MS = 2 * 86_400_000
"""More than the longest window, a local day of 25 hours, and its wait for late messages."""
_READ_AT_ONCE = 5_000
_INDEX = "index"


def declare(app: faust.App, partitions: int) -> StateTable[Record]:
    """Declare the table on an app."""
    return StateTable(app, ALARMS_TABLE, Codec(encode, decode), partitions)


def encode(record: Record) -> bytes:
    """A record as bytes, the first of which is its version."""
    if isinstance(record, DeviceMemory):
        return alarm_memory.encode(record)
    if isinstance(record, Alarm):
        return bytes((_ALARM_VERSION,)) + record.encode()
    if isinstance(record, Removed):
        return bytes((_REMOVED_VERSION,)) + _TIME.pack(record.at_ms)
    return encode_listening(record) if isinstance(record, Listening) else bytes((_RULES_VERSION,)) + record.encode()


def decode(data: bytes) -> Record:
    """The record of its bytes, told apart by the first one; raises `StateCodecError`."""
    version = data[0] if data else None
    if version == LISTENING_VERSION:
        return decode_listening(data)
    if version == _RULES_VERSION:
        return decode_rule_set(data[1:])
    if version == _REMOVED_VERSION:
        return _decode_removed(data)
    if version != _ALARM_VERSION:
        return alarm_memory.decode(data)
    try:
        return Alarm.model_validate_json(data[1:])
    except ValidationError as error:
        raise StateCodecError("alarm", str(error).replace("\n", " ")) from None


def _decode_removed(data: bytes) -> Removed:
    try:
        return Removed(*_TIME.unpack(data[1:]))
    except struct.error as error:
        raise StateCodecError("removed device", str(error)) from None


def alarm_key(alarm_id: str) -> bytes:
    """Key of an alarm."""
    return _ALARM_PREFIX + alarm_id.encode()


def memory_of(partition: PartitionState[Record], key: bytes) -> DeviceMemory | None:
    """What is remembered of the device with that key."""
    record = partition.get(key)
    return record if isinstance(record, DeviceMemory) else None


def is_of_removed(partition: PartitionState[Record], key: bytes, begun_ms: int) -> bool:
    """Whether what arrived, or began, then is of a device that was removed afterwards. To be asked only of a device of which nothing is remembered."""
    record = partition.get(key)
    return isinstance(record, Removed) and begun_ms <= record.at_ms


def alarm_of(partition: PartitionState[Record], alarm_id: str) -> Alarm | None:
    """The alarm of an id."""
    record = partition.get(alarm_key(alarm_id))
    return record if isinstance(record, Alarm) else None


def rules_of(partition: PartitionState[Record]) -> RuleSet:
    """The alarm rules that the partition has read of."""
    record = partition.get(RULES_KEY)
    return record if isinstance(record, RuleSet) else RuleSet()


def listening_of(partition: PartitionState[Record]) -> Listening:
    """Of the partition; one that was never listened to at first."""
    record = partition.get(LISTENING_KEY)
    return record if isinstance(record, Listening) else Listening()


def index_of(partition: PartitionState[Record]) -> dict[str, Entry]:
    """The entry of each alarm by its id, kept in memory; made from what is stored when it is asked for first. Only this module changes it."""
    found: dict[str, Entry] | None = partition.derived.get(_INDEX)
    if found is None:
        found = partition.derived[_INDEX] = {entry.alarm_id: entry for entry in _entries(partition)}
    return found


def put_alarm(partition: PartitionState[Record], alarm: Alarm) -> None:
    """Keep an alarm, in place of what it was before."""
    index_of(partition)[alarm.alarm_id] = entry_of(alarm)
    partition.put(alarm_key(alarm.alarm_id), alarm)


def delete_alarm(partition: PartitionState[Record], alarm_id: str) -> None:
    """Forget an alarm."""
    index_of(partition).pop(alarm_id, None)
    partition.delete(alarm_key(alarm_id))


def active_alarms_of(partition: PartitionState[Record], key: bytes) -> list[Alarm]:
    """Alarms of the device with that key that are not cleared, the oldest first."""
    memory = memory_of(partition, key)
    held = () if memory is None else memory.rules.values()
    found = [alarm for each in held if each.alarm_id and (alarm := alarm_of(partition, each.alarm_id)) is not None]
    return sorted(found, key=lambda alarm: (alarm.raised_at, alarm.alarm_id))


def forget_devices(partition: PartitionState[Record]) -> None:
    """Forget what is remembered of every device; alarms stay."""
    first = FIRST_DEVICE_KEY
    while stored := partition.stored(first, _READ_AT_ONCE):
        for key, _ in stored:
            partition.delete(key)
        first = stored[-1][0] + b"\x00"
    for key in partition.keys_in_memory():
        if key >= FIRST_DEVICE_KEY:
            partition.delete(key)


def _entries(partition: PartitionState[Record]) -> Iterator[Entry]:
    in_memory = [key for key in partition.keys_in_memory() if key.startswith(_ALARM_PREFIX)]
    for key in dict.fromkeys((*_stored_alarms(partition), *in_memory)):
        held = partition.peek(key)
        if isinstance(held, Alarm):
            yield entry_of(held)
        elif isinstance(held, bytes):
            yield entry_in(held[1:])


def _stored_alarms(partition: PartitionState[Record]) -> Iterator[bytes]:
    first = _ALARM_PREFIX
    while True:
        stored = partition.stored(first, _READ_AT_ONCE)
        for key, _ in stored:
            if key >= _AFTER_ALARMS:
                return
            yield key
        if len(stored) < _READ_AT_ONCE:
            return
        first = stored[-1][0] + b"\x00"
