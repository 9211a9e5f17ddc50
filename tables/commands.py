"""`commands`: every command that is not done with, and those that were not long ago.

One table holds four kinds of records. In the order of their keys: how often the partition's courier has connected; each command by device and id; of each device
that has something open what that is; of each device which of its commands are remembered, under its serial number.
"""

from collections.abc import Iterator

import faust

from ems_streams.domain import commands_codec
from ems_streams.domain.commands import Command, DeviceHistory, DeviceQueue
from ems_streams.domain.commands_codec import CommandRecord
from ems_streams.kafka.catalogue import COMMANDS_TABLE
from ems_streams.kafka.partition_state import Codec, PartitionState
from ems_streams.kafka.state_table import StateTable

CONNECTION_KEY = b"\x01connection"
_COMMAND_PREFIX = b"\x02"
_QUEUE_PREFIX = b"\x03"
_QUEUES_END = b"\x04"
_SCANNED_AT_ONCE = 5_000


def declare(app: faust.App, partitions: int) -> StateTable[CommandRecord]:
    """Declare the table on an app."""
    return StateTable(app, COMMANDS_TABLE, Codec(commands_codec.encode, commands_codec.decode), partitions)


def command_key(command_id: str) -> bytes:
    """Key of a command."""
    return _COMMAND_PREFIX + command_id.encode()


def queue_key(serial_number: bytes) -> bytes:
    """Key of what a device has open."""
    return _QUEUE_PREFIX + serial_number


def command_of(partition: PartitionState[CommandRecord], command_id: str) -> Command | None:
    """The command of an id."""
    record = partition.get(command_key(command_id))
    return record if isinstance(record, Command) else None


def queue_of(partition: PartitionState[CommandRecord], serial_number: bytes) -> DeviceQueue:
    """What a device has open."""
    record = partition.get(queue_key(serial_number))
    return record if isinstance(record, DeviceQueue) else DeviceQueue()


def history_of(partition: PartitionState[CommandRecord], serial_number: bytes) -> DeviceHistory:
    """What is remembered of a device."""
    record = partition.get(serial_number)
    return record if isinstance(record, DeviceHistory) else DeviceHistory()


def connections_of(partition: PartitionState[CommandRecord]) -> int:
    """How often the courier of the partition has connected."""
    record = partition.get(CONNECTION_KEY)
    return record if isinstance(record, int) else 0


def devices_with_work(partition: PartitionState[CommandRecord]) -> Iterator[bytes]:
    """Serial numbers of the devices that have something open, as of now."""
    found = {key for key in partition.keys_in_memory() if key.startswith(_QUEUE_PREFIX)}
    first = _QUEUE_PREFIX
    while page := [key for key, _ in partition.stored(first, _SCANNED_AT_ONCE) if key < _QUEUES_END]:
        found.update(page)
        first = page[-1] + b"\0"
    for key in sorted(found):
        if partition.peek(key) is not None:
            yield key.removeprefix(_QUEUE_PREFIX)
