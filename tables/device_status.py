"""`device-status`: the state machine of every device, and what silence is counted by.

One table holds three kinds of records: the state of every device under its serial number; under keys of their own, which come before all of
those, the listening of the partition and the timeouts that are registered for single devices.
"""

import faust

from ems_streams.domain import status_state
from ems_streams.domain.silence import (
    LISTENING_VERSION,
    TIMEOUT_VERSION,
    Listening,
    RegisteredTimeout,
    decode_listening,
    decode_timeout,
    encode_listening,
    encode_timeout,
)
from ems_streams.domain.status import DeviceStatusState
from ems_streams.kafka.catalogue import DEVICE_STATUS_TABLE
from ems_streams.kafka.partition_state import Codec, PartitionState
from ems_streams.kafka.state_table import StateTable

Record = DeviceStatusState | Listening | RegisteredTimeout

LISTENING_KEY = b"\x01listening"
_TIMEOUT_PREFIX = b"\x01timeout\x00"
FIRST_DEVICE_KEY = b"\x02"
"""Every serial number comes behind this, and no other key does."""


def declare(app: faust.App, partitions: int) -> StateTable[Record]:
    """Declare the table on an app."""
    return StateTable(app, DEVICE_STATUS_TABLE, Codec(encode, decode), partitions)


def encode(record: Record) -> bytes:
    """A record as bytes, the first of which is its version."""
    if isinstance(record, DeviceStatusState):
        return status_state.encode(record)
    return encode_listening(record) if isinstance(record, Listening) else encode_timeout(record)


def decode(data: bytes) -> Record:
    """The record of its bytes, told apart by the first one; raises `StateCodecError`."""
    if data[:1] == bytes((LISTENING_VERSION,)):
        return decode_listening(data)
    if data[:1] == bytes((TIMEOUT_VERSION,)):
        return decode_timeout(data)
    return status_state.decode(data)


def timeout_key(serial_number: bytes) -> bytes:
    """Key of the timeout that is registered for a device."""
    return _TIMEOUT_PREFIX + serial_number


def state_of(partition: PartitionState[Record], key: bytes) -> DeviceStatusState | None:
    """The state of the device with that key."""
    record = partition.get(key)
    return record if isinstance(record, DeviceStatusState) else None


def listening_of(partition: PartitionState[Record]) -> Listening:
    """Of the partition; one that was never listened to at first."""
    record = partition.get(LISTENING_KEY)
    return record if isinstance(record, Listening) else Listening()


def registered_timeout_ms(partition: PartitionState[Record], key: bytes) -> int | None:
    """What is registered for the device with that key; None leaves it to its type."""
    record = partition.get(timeout_key(key))
    return record.timeout_ms if isinstance(record, RegisteredTimeout) else None
