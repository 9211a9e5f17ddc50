"""What a replay is: a range of a topic, read again into a shadow; and which windows it can say something about.

The range is one of event time. What belongs to it is found by the time of the records, which is when messages arrived: from `lead_in_ms` before
the range (a device's clock may run ahead, and energy needs the sample before a window) to `lead_out_ms` behind it (messages come late, and
energy needs the sample behind). Windows that begin before the range or end behind it are known in part only: they are computed, and left
out of comparison and promotion.
"""

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from ems_streams.domain.events import Event, Time
from ems_streams.domain.timestamps import from_epoch_ms, to_epoch_ms
from ems_streams.domain.windows import Span

ReplayName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
Offsets = dict[int, tuple[int, int]]
"""First and next-to-last offset by partition: `start` up to and without `end`."""


class ReplayDefinition(Event):
    """What was asked for; never changes, so that who continues a replay continues this one.

    Attributes:
        name: Of the replay.
        application_id: Of the live system.
        topic: That is read again.
        from_time: Begin of the range of event time.
        to_time: End of it, not included.
        lead_in_ms: How much earlier records are read.
        lead_out_ms: How much later records are read.
        devices: Only these serial numbers; all when empty.
        sites: Only these sites; all when empty.
        horizon_ms: Correction horizon, if it is another than that of the settings.
        offsets: What is read of the topic, frozen when the replay was made.
        backfill_offsets: What is read of the replay's own topic of backfilled telemetry, after that.
        truncated: Whether the topic may have had records of the range that it has no more, so that windows know less than those of live.
        created_at: When it was made.
    """

    name: ReplayName
    application_id: str
    topic: str
    from_time: Time
    to_time: Time
    lead_in_ms: int = Field(ge=0)
    lead_out_ms: int = Field(ge=0)
    devices: tuple[str, ...] = ()
    sites: tuple[int, ...] = ()
    horizon_ms: int | None = None
    offsets: Offsets
    backfill_offsets: Offsets = Field(default_factory=dict)
    truncated: bool = False
    created_at: Time

    @model_validator(mode="after")
    def _check_range(self) -> "ReplayDefinition":
        if self.to_time <= self.from_time:
            raise ValueError("the range ends before it begins")
        return self

    @property
    def from_ms(self) -> int:
        """Begin of the range, epoch milliseconds."""
        return to_epoch_ms(self.from_time)

    @property
    def to_ms(self) -> int:
        """End of the range, epoch milliseconds."""
        return to_epoch_ms(self.to_time)

    @property
    def events_total(self) -> int:
        """Offsets to be read over all partitions."""
        return sum(end - start for offsets in (self.offsets, self.backfill_offsets) for start, end in offsets.values())

    def covers(self, span: Span) -> bool:
        """Whether everything that a window is about lies in the range."""
        return self.from_ms <= span.start_ms and span.end_ms <= self.to_ms

    def touches(self, span: Span) -> bool:
        """Whether anything of a window lies in the range."""
        return span.start_ms < self.to_ms and self.from_ms < span.end_ms

    def wants(self, serial_number: str, site_id: int) -> bool:
        """Whether a device is in the replay."""
        return (not self.devices or serial_number in self.devices) and (not self.sites or site_id in self.sites)

    def same_request(self, other: "ReplayDefinition") -> bool:
        """Whether both ask for the same; offsets and times of making aside."""
        aside = {"offsets", "backfill_offsets", "horizon_ms", "truncated", "created_at"}
        return self.model_dump(exclude=aside) == other.model_dump(exclude=aside)


class ReplayProgress(Event):
    """How far a partition of a replay is; durable in the transaction of what it counts.

    Attributes:
        read: Offsets of the ranges that are done.
        windows: Revisions of windows published to the shadow.
        put_aside: Records that a fold failed at, however often it was tried.
        suppressed: By topic, what live would have published besides, and the replay did not.
        finished: Everything was read, and every window of the range was closed.
    """

    read: int = 0
    windows: int = 0
    put_aside: int = 0
    suppressed: dict[str, int] = Field(default_factory=dict)
    finished: bool = False


def read_range(from_time: datetime, to_time: datetime, lead_in_ms: int, lead_out_ms: int) -> tuple[int, int]:
    """Record times to be read, epoch milliseconds."""
    return max(to_epoch_ms(from_time) - lead_in_ms, 0), to_epoch_ms(to_time) + lead_out_ms


def edges(definition: ReplayDefinition) -> str:
    """The range in words that say what is left out, and what may be missing."""
    start, end = (from_epoch_ms(each).strftime("%Y-%m-%dT%H:%M:%SZ") for each in (definition.from_ms, definition.to_ms))
    text = f"windows that begin before {start} or end behind {end} are only partly covered, and left out"
    return text + ("; records of the range may have been removed from the topic before they were read" if definition.truncated else "")
