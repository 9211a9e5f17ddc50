"""`device-status`: the state machine of every device."""

import faust

from ems_streams.domain.status import DeviceStatusState
from ems_streams.domain.status_state import decode, encode
from ems_streams.kafka.catalogue import DEVICE_STATUS_TABLE
from ems_streams.kafka.partition_state import Codec
from ems_streams.kafka.state_table import StateTable


def declare(app: faust.App, partitions: int) -> StateTable[DeviceStatusState]:
    """Declare the table on an app; key: serial number, value: versioned state."""
    return StateTable(app, DEVICE_STATUS_TABLE, Codec(encode, decode), partitions)
