"""`site-windows`: what the devices of each site said of its windows, and what was published of these.

Keys are laid out in `domain.site_records`; the records of a site are in the partition of its id as text, which is the key of its events.
"""

import faust

from ems_streams.domain.site_codec import decode, encode
from ems_streams.domain.site_records import SiteRecord
from ems_streams.kafka.catalogue import SITE_WINDOWS_TABLE
from ems_streams.kafka.partition_state import Codec
from ems_streams.kafka.state_table import StateTable


def declare(app: faust.App, partitions: int) -> StateTable[SiteRecord]:
    """Declare the table on an app."""
    return StateTable(app, SITE_WINDOWS_TABLE, Codec(encode, decode), partitions)
