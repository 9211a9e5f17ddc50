"""A quarter of an hour of one device: its samples while it may be corrected, its summary, and what was published of it.

The record of the quarter in which a longer window begins also says what was published of that window.
"""

import struct
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ems_streams.domain.state_codec import StateCodecError, check_version
from ems_streams.domain.summary import Summary
from ems_streams.domain.summary import decode as decode_summary
from ems_streams.domain.summary import encode as encode_summary

VERSION: Final = 0x51
"""First byte of the stored form; tells it from the state of a device, which lives in the same table."""
_KIND: Final = "quarter of an hour"
_HEADER = struct.Struct("<BBq4d4qBIIH")
_PUBLISHED = struct.Struct("<BI8s")
_NONE_MS: Final = -1
_SETTLED, _PROMOTED = 1, 2


@dataclass(frozen=True, slots=True)
class Published:
    """What was last published of a window.

    Attributes:
        revision: 1 for the first time.
        digest: Of what it said.
    """

    revision: int
    digest: bytes


Point = tuple[int, float]
"""Time in epoch milliseconds, and a power value in kW or a reading in kWh."""


class Edges(NamedTuple):
    """First and last of a quarter's power values and register readings: what its neighbours need to know of it.

    Where several have the same time, the greatest counts.
    """

    first_power: Point | None = None
    last_power: Point | None = None
    first_register: Point | None = None
    last_register: Point | None = None


NO_EDGES: Final = Edges()


@dataclass(slots=True)
class Quarter:
    """Of one device.

    Attributes:
        start_ms: Epoch milliseconds, a whole multiple of 15 minutes.
        samples: In order; empty when they were given up.
        settled: There are no samples that the summary could be calculated from again: they were given up, since they are beyond the correction horizon, or there
            never were any.
        summary: None while it has to be calculated from the samples again.
        edges: Of the samples, also of those that were given up.
        published: By `slot`.
        promoted: It is settled since there never were samples, within the correction horizon: a replay has said what the summary says, until messages come after all.
    """

    start_ms: int
    samples: bytes = b""
    settled: bool = False
    summary: Summary | None = None
    edges: Edges = NO_EDGES
    published: dict[int, Published] = field(default_factory=dict)
    promoted: bool = False


def encode(quarter: Quarter) -> bytes:
    """The quarter as bytes."""
    values = [0.0 if edge is None else edge[1] for edge in quarter.edges]
    times = [_NONE_MS if edge is None else edge[0] for edge in quarter.edges]
    summary = b"" if quarter.summary is None else encode_summary(quarter.summary)
    head = _HEADER.pack(
        VERSION, quarter.settled * _SETTLED | quarter.promoted * _PROMOTED, quarter.start_ms, *values, *times, quarter.summary is not None, len(quarter.samples), len(summary),
        len(quarter.published),
    )  # fmt: skip
    published = [_PUBLISHED.pack(slot, each.revision, each.digest) for slot, each in sorted(quarter.published.items())]
    return b"".join((head, quarter.samples, summary, *published))


def decode(data: bytes) -> Quarter:
    """The quarter of its bytes; raises `StateCodecError`."""
    check_version(_KIND, data, VERSION)
    try:
        return _decode(data)
    except (struct.error, ValueError) as error:
        raise StateCodecError(_KIND, f"{len(data)} bytes: {error}") from None


def _decode(data: bytes) -> Quarter:
    _, flags, start_ms, *numbers, has_summary, sample_bytes, summary_bytes, count = _HEADER.unpack_from(data)
    at = _HEADER.size
    samples = data[at : (at := at + sample_bytes)]
    summary = decode_summary(data[at : at + summary_bytes]) if has_summary else None
    at += summary_bytes
    if at + count * _PUBLISHED.size != len(data):
        raise ValueError(f"{len(data) - at} bytes for what was published of {count} windows")
    published = {}
    for slot, revision, digest in _PUBLISHED.iter_unpack(data[at:]):
        published[slot] = Published(revision, digest)
    values, times = numbers[:4], numbers[4:]
    edges = [None if time_ms == _NONE_MS else (time_ms, value) for time_ms, value in zip(times, values, strict=True)]
    if flags & ~(_SETTLED | _PROMOTED):
        raise ValueError(f"flags {flags:#x}")
    return Quarter(start_ms, samples, bool(flags & _SETTLED), summary, Edges(*edges), published, bool(flags & _PROMOTED))
