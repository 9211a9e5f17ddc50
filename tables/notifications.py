"""`notifications`: what people know of each device and of its alarms, and the maintenance windows of the partition under a key of their own."""

import faust

from ems_streams.domain import alarm_notices, notices_codec
from ems_streams.domain.alarm_notices import AlarmNotices
from ems_streams.domain.maintenance import MaintenanceWindows, decode_windows
from ems_streams.domain.notices import DeviceNotices
from ems_streams.kafka.catalogue import NOTIFICATIONS_TABLE
from ems_streams.kafka.partition_state import Codec, PartitionState
from ems_streams.kafka.state_table import StateTable

Record = DeviceNotices | AlarmNotices | MaintenanceWindows

WINDOWS_KEY = b"\x01windows"
FIRST_DEVICE_KEY = b"\x02"
"""Every serial number comes behind this, and no other key does."""
_ALARMS_SUFFIX = b"\x00alarms"
_WINDOWS_VERSION = 0x81
_ALARMS_VERSION = 0x82


def declare(app: faust.App, partitions: int) -> StateTable[Record]:
    """Declare the table on an app."""
    return StateTable(app, NOTIFICATIONS_TABLE, Codec(encode, decode), partitions)


def encode(record: Record) -> bytes:
    """A record as bytes, the first of which is its version."""
    if isinstance(record, DeviceNotices):
        return notices_codec.encode(record)
    if isinstance(record, AlarmNotices):
        return bytes((_ALARMS_VERSION,)) + alarm_notices.encode(record)
    return bytes((_WINDOWS_VERSION,)) + record.encode()


def decode(data: bytes) -> Record:
    """The record of its bytes, told apart by the first one; raises `StateCodecError`."""
    version = data[0] if data else None
    if version == _WINDOWS_VERSION:
        return decode_windows(data[1:])
    return alarm_notices.decode(data[1:]) if version == _ALARMS_VERSION else notices_codec.decode(data)


def notices_of(partition: PartitionState[Record], key: bytes) -> DeviceNotices | None:
    """What people know of the device with that key."""
    record = partition.get(key)
    return record if isinstance(record, DeviceNotices) else None


def alarms_key(key: bytes) -> bytes:
    """Key of what people know of the alarms of the device with that key."""
    return key + _ALARMS_SUFFIX


def serial_key(key: bytes) -> bytes:
    """Key of the device that such a key is of."""
    return key.removesuffix(_ALARMS_SUFFIX)


def alarm_notices_of(partition: PartitionState[Record], key: bytes) -> AlarmNotices:
    """What people know of the alarms of the device with that key."""
    record = partition.get(alarms_key(key))
    return record if isinstance(record, AlarmNotices) else AlarmNotices()


def windows_of(partition: PartitionState[Record]) -> MaintenanceWindows:
    """The maintenance windows that the partition has read of."""
    record = partition.get(WINDOWS_KEY)
    return record if isinstance(record, MaintenanceWindows) else MaintenanceWindows()
