"""Closed windows as records: for everybody on `device-aggregates`, and in mergeable form for the roll-up of their site."""

import struct
from dataclasses import dataclass
from typing import Any

import orjson

from ems_streams.domain import summary as summaries
from ems_streams.domain.aggregate_views import window_view
from ems_streams.domain.aggregates import DeviceAggregates
from ems_streams.domain.bounded import REVISION_MAX, bounded, id_of, span_between
from ems_streams.domain.device_windows import WindowResult
from ems_streams.domain.summary import Summary
from ems_streams.domain.timestamps import format_epoch_ms
from ems_streams.domain.windows import Span, Window
from ems_streams.errors import MalformedError

EVENT_TYPE = "DEVICE_AGGREGATE"


def device_event(state: DeviceAggregates, result: WindowResult, time_zone: str | None) -> bytes:
    """The value of a record of `device-aggregates` (`events.AggregateEvent`).

    Args:
        state: Of the device.
        result: One of its windows.
        time_zone: Of the site.
    """
    view: dict[str, Any] = {
        "eventId": f"{state.serial_number}:{result.window.label}:{format_epoch_ms(result.span.start_ms)}:{result.revision}",
        "eventType": EVENT_TYPE,
        "deviceId": state.device_id,
        "serialNumber": state.serial_number,
        "siteId": state.site_id,
        "deviceType": state.device_type,
    }
    if result.window is Window.LOCAL_DAY:
        view["timeZone"] = time_zone
    return orjson.dumps(view | window_view(result))


@dataclass(frozen=True, slots=True)
class SitePart:
    """What one device has to say about a window of its site; a later revision replaces an earlier one.

    Attributes:
        site_id: Site.
        serial_number: Device.
        window: Kind of the window.
        span: From when to when.
        revision: Of the device's window.
        summary: What it says.
    """

    site_id: int
    serial_number: str
    window: Window
    span: Span
    revision: int
    summary: Summary

    @property
    def key(self) -> bytes:
        """Key of the record: the site, which decides the partition."""
        return site_key(self.site_id)

    def encode(self) -> bytes:
        """The value of the record: a line of JSON, then the summary's bytes."""
        head = {
            "siteId": self.site_id,
            "serialNumber": self.serial_number,
            "window": self.window.label,
            "start": self.span.start_ms,
            "end": self.span.end_ms,
            "revision": self.revision,
        }
        return orjson.dumps(head) + b"\n" + summaries.encode(self.summary)


def site_key(site_id: int) -> bytes:
    """Key of all records of a site."""
    return str(site_id).encode()


def decode_site_part(value: bytes | None) -> SitePart:
    """The part of its bytes; raises `MalformedError`."""
    try:
        head, summary = (value or b"").split(b"\n", 1)
        fields = orjson.loads(head)
        return SitePart(
            id_of("siteId", fields["siteId"]),
            str(fields["serialNumber"]),
            Window.of_label(fields["window"]),
            span_between(fields["start"], fields["end"]),
            bounded("revision", fields["revision"], 1, REVISION_MAX),
            summaries.decode(summary),
        )
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise MalformedError("invalid_site_part", f"{error!r}; expected a line of JSON and a summary") from None
