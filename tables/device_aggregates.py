"""`device-aggregates`: statistics per device and metric, over all time and per one-minute window."""

import faust

from ems_streams.domain.aggregates import DeviceAggregates, decode, encode
from ems_streams.kafka.catalogue import DEVICE_AGGREGATES_TABLE
from ems_streams.kafka.partition_state import Codec
from ems_streams.kafka.state_table import StateTable


def declare(app: faust.App, partitions: int) -> StateTable[DeviceAggregates]:
    """Declare the table on an app; key: serial number, value: versioned binary state."""
    return StateTable(app, DEVICE_AGGREGATES_TABLE, Codec(encode, decode), partitions)
