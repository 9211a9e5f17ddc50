"""`device-aggregates`: statistics per device and metric, over all time and per window.

One table holds two kinds of records: the state of every device under its serial number, and each quarter of an hour of it that may still be
corrected under a key of its own, so that what changes seldom is not written again with what changes always.
"""

import struct

import faust

from ems_streams.domain import aggregates_codec, quarter
from ems_streams.domain.aggregates import DeviceAggregates
from ems_streams.domain.aggregates_codec import Times
from ems_streams.domain.quarter import Quarter
from ems_streams.kafka.catalogue import DEVICE_AGGREGATES_TABLE
from ems_streams.kafka.partition_state import Codec, PartitionState
from ems_streams.kafka.state_table import StateTable

Record = DeviceAggregates | Quarter

QUARTER_MARK = b"\x01"
"""First byte of the key of a quarter; no serial number begins with it."""
FIRST_DEVICE_KEY = b"\x02"
"""Every serial number comes behind this, and no other key does."""
WRITE_BUFFER_BYTES = 16 * 1024 * 1024
"""Of each partition: the states of all devices that sent something are written with every commit, megabytes a second of them."""
_START = struct.Struct(">q")


def declare(app: faust.App, partitions: int) -> StateTable[Record]:
    """Declare the table on an app."""
    return StateTable(app, DEVICE_AGGREGATES_TABLE, Codec(encode, decode), partitions, write_buffer_bytes=WRITE_BUFFER_BYTES)


def encode(record: Record) -> bytes:
    """A state or a quarter as bytes."""
    return quarter.encode(record) if isinstance(record, Quarter) else aggregates_codec.encode(record)


def decode(data: bytes) -> Record:
    """The state or quarter of its bytes, told apart by the first one; raises `StateCodecError`."""
    return quarter.decode(data) if data[:1] == bytes((quarter.VERSION,)) else aggregates_codec.decode(data)


def state_of(partition: PartitionState[Record], key: bytes) -> DeviceAggregates | None:
    """The state of the device with that key."""
    record = partition.get(key)
    return record if isinstance(record, DeviceAggregates) else None


def times_of(held: Record | bytes) -> DeviceAggregates | Times | None:
    """What says when the windows of a device close, from its state or from its stored bytes; None of anything else."""
    if isinstance(held, bytes):
        return aggregates_codec.peek(held)
    return held if isinstance(held, DeviceAggregates) else None


class DeviceQuarters:
    """The quarters of one device in the table; `device_windows.Quarters`."""

    def __init__(self, partition: PartitionState[Record], key: bytes) -> None:
        self._partition = partition
        self._prefix = QUARTER_MARK + key + b"\x00"

    def get(self, start_ms: int) -> Quarter | None:
        """The record of the quarter that begins at a time."""
        record = self._partition.get(self._prefix + _START.pack(start_ms))
        return record if isinstance(record, Quarter) else None

    def put(self, quarter: Quarter) -> None:
        """Write it with the next commit."""
        self._partition.put(self._prefix + _START.pack(quarter.start_ms), quarter)

    def delete(self, start_ms: int) -> None:
        """Remove it with the next commit."""
        self._partition.delete(self._prefix + _START.pack(start_ms))
