"""Which site a device is at: told by the sites to each other, since no partition holds all of them.

A site that hears of a device for the first time, or again after it was away, says so to the partition of the device's serial number
(`Joined`). There the last whereabouts of every device are kept, and the site that it was at before is told that it has gone (`Left`). Both
travel on `site-parts`, cost one record for a device that stays where it is, and may come in any order: the later event time counts.
"""

import struct
from dataclasses import dataclass

import orjson

from ems_streams.domain.aggregate_events import SitePart, decode_site_part, site_key
from ems_streams.domain.bounded import id_of, time_of
from ems_streams.domain.site_records import Records, Whereabouts, find, whereabouts_key
from ems_streams.domain.summary import merge_metrics, metrics_view
from ems_streams.errors import MalformedError


@dataclass(frozen=True, slots=True)
class Joined:
    """A site has heard of a device.

    Attributes:
        serial_number: Device.
        site_id: Site.
        since_ms: End of the window by which it heard of it.
    """

    serial_number: str
    site_id: int
    since_ms: int

    @property
    def key(self) -> bytes:
        """Key of the record: the device."""
        return self.serial_number.encode()

    def encode(self) -> bytes:
        """The value of the record."""
        return orjson.dumps({"joined": self.serial_number, "siteId": self.site_id, "since": self.since_ms})


@dataclass(frozen=True, slots=True)
class Left:
    """A device is at another site.

    Attributes:
        serial_number: Device.
        site_id: Site that it is not at any more, unless it was heard of there later than this.
        left_ms: Since when.
    """

    serial_number: str
    site_id: int
    left_ms: int

    @property
    def key(self) -> bytes:
        """Key of the record: the site."""
        return site_key(self.site_id)

    def encode(self) -> bytes:
        """The value of the record."""
        return orjson.dumps({"left": self.serial_number, "siteId": self.site_id, "since": self.left_ms})


def decode_site_record(value: bytes | None) -> SitePart | Joined | Left:
    """A record of `site-parts`; raises `MalformedError`. A part has a line of JSON and more, the others JSON only."""
    if value is None or b"\n" in value:
        return _checked(decode_site_part(value))
    try:
        fields = orjson.loads(value)
        site_id, at_ms = id_of("siteId", fields["siteId"]), time_of("since", fields["since"])
        return Joined(str(fields["joined"]), site_id, at_ms) if "joined" in fields else Left(str(fields["left"]), site_id, at_ms)
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedError("invalid_site_record", f"{error!r}; expected a part, joined or left") from None


def _checked(part: SitePart) -> SitePart:
    """The part, if it can be merged and shown: what is stored now and fails when its window closes would be blamed on another record."""
    stored = part.summary.stored
    if "\0" in part.serial_number:
        raise MalformedError("invalid_site_part", f"{part.serial_number!r}: no serial number of a device")
    try:
        merge_metrics(stored, stored)
        metrics_view(stored)
    except (ValueError, struct.error) as error:
        raise MalformedError("invalid_site_part", f"metrics of {part.serial_number}: {error!r}") from None
    return part


def locate(joined: Joined, records: Records) -> Left | None:
    """Keep where a device is, and give what the site has to be told that it is not at.

    The later time counts; of two sites at the same time, the greater id.
    """
    key = whereabouts_key(joined.serial_number)
    known = find(records, Whereabouts, key)
    here = Whereabouts(joined.site_id, joined.since_ms)
    if known is None or (here.since_ms, here.site_id) > (known.since_ms, known.site_id):
        records.put(key, here)
        last, other = here, known
    else:
        last, other = known, here
    if other is None or other.site_id == last.site_id:
        return None
    # Never the same time as that at which the other one heard of it last: one of the two would have to be right.
    return Left(joined.serial_number, other.site_id, max(last.since_ms, other.since_ms + 1))
