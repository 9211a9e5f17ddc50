"""`notifications`: the notification agent's table; so far it holds its source positions only, which make its outputs exact."""

import faust

from ems_streams.kafka.catalogue import NOTIFICATIONS_TABLE
from ems_streams.kafka.partition_state import Codec
from ems_streams.kafka.state_table import StateTable


def declare(app: faust.App, partitions: int) -> StateTable[bytes]:
    """Declare the table on an app; key: serial number, value: bytes as they are."""
    return StateTable(app, NOTIFICATIONS_TABLE, Codec(bytes, bytes), partitions)
