"""The ingress' word that it is alive, in every partition: what silence may be counted by.

Who reads it learns that at `timestamp` everything that devices had sent, as far as that ingress can know, was on `device-telemetry` of the
same partition before `telemetry_end`. It speaks for its own ingress only: what another replica holds back it cannot know.
"""

from functools import partial
from typing import Annotated

from pydantic import Field

from ems_streams.domain.events import Event, Time, decode


class Heartbeat(Event):
    """A record of `ingress-heartbeats`.

    Attributes:
        ingress_id: Who is alive.
        timestamp: Its wall clock; when it looked, thus before `telemetry_end` was asked for.
        telemetry_end: Next offset of `device-telemetry` in the record's partition; 0 while nothing is there to be read.
        reports_end: The same of `device-status-reports`; None in heartbeats of a release that did not say it.
        acks_end: The same of `device-command-acks`.
    """

    ingress_id: str
    timestamp: Time
    telemetry_end: Annotated[int, Field(strict=True, ge=0)]
    reports_end: Annotated[int, Field(strict=True, ge=0)] | None = None
    acks_end: Annotated[int, Field(strict=True, ge=0)] | None = None


decode_heartbeat = partial(decode, Heartbeat)
"""The heartbeat of a record's value; raises `MalformedError`."""
