"""State of one device's statistics: what every message costs is here, the closing of windows is in `window_closing`.

A message is appended to the samples of the minutes that are still open, and nothing else is done with it. When a minute closes, its
samples move into the record of their quarter of an hour (`quarter`), from which all windows are calculated. So an event touches one
place of memory, and a window depends on the set of its messages only: neither on their order nor on repetitions.

The total over all time is the base (every sample that has left `open`) with what is still open, when somebody reads it.

What no window takes counts in the total all the same:

- an event further behind the watermark than the correction horizon (`late_events`; the agent puts it on the topic of late records);
- an event more than `FUTURE_TOLERANCE_MS` ahead of its arrival (`future_events`): a device whose clock runs ahead cannot close the windows
  of the present.
"""

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from ems_streams.domain import aggregates_v1
from ems_streams.domain.accumulators import Accumulators
from ems_streams.domain.identifiers import IDENTITY_BYTES
from ems_streams.domain.quarter import Point
from ems_streams.domain.recent_identities import last, remember
from ems_streams.domain.samples import append, ordered
from ems_streams.domain.section import accumulators_of, add_samples, new_section, section_at
from ems_streams.domain.state_codec import StateCodecError, check_version
from ems_streams.domain.telemetry_record import TelemetryRecord
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.windows import Window, WindowPolicy

RECENT_IDENTITIES: Final = 64
FUTURE_TOLERANCE_MS: Final = 3_600_000
NEVER_MS: Final = -(2**62)
NOT_YET_MS: Final = 2**62

_KIND: Final = "device aggregates"
VERSION: Final = 2
_EDGE = struct.Struct("<?qd")
_EDGES: Final = 3
# version; device id, site id, last offset, arrival, newest, watermark, oldest quarter, newest quarter, open from, revision, late, duplicate,
# future, left out; ends of closed windows by kind; numbers of identities and names; bytes of open samples and of text
_HEADER = struct.Struct("<B14q5qBHII")


class Outcome(IntEnum):
    """What became of a message."""

    FOLDED = 0
    DUE = 1
    """Folded, and there is something for `window_closing.settle` to do."""
    LATE = 2
    """Beyond the correction horizon: in the total, but in no window."""
    REPEATED = 3
    """A message that was folded before."""


class DeviceAggregates:
    """State of one device; mutable, and only `fold` and `window_closing` may change it.

    Attributes:
        serial_number: Key of the device.
        device_id: As of the newest message when a minute was opened or fell due, like `site_id` and `device_type`.
        names: Every metric name the device ever had, with its number in samples and sections.
        base: Section of every sample that is in no open minute.
        open: Samples of open minutes, in the order of arrival.
        late: Samples of closed minutes that `settle` has not seen yet; empty between batches.
        recent: `recent_identities` of messages with ids, and of those in no window.
        open_from_ms: Start of the first open minute that has a sample, `NOT_YET_MS` when none has.
        newest_ms: Greatest event time.
        watermark_ms: What windows close by: the greatest event time, or what ticks have made of it.
        closed_ms: By kind of window: every window that ends by then is closed.
        oldest_quarter_ms: Start of the first quarter that there may be a record of; `NOT_YET_MS` before there is any.
        newest_quarter_ms: Start of the last one.
        next_power: First power value behind the closed minutes, as it was known when they closed; None when there was none.
        next_register: The same of the energy register.
        last_register: Last reading in a quarter that is gone.
        last_offset: Offset of the last record that was folded; -1 before the first.
        arrived_ms: Kafka timestamp of the last record.
        revision: Number of messages taken in, repeated ones included until their minute closes.
        late_events: Messages beyond the correction horizon.
        duplicate_events: Messages that were dropped because they had been there before.
        future_events: Messages too far ahead of their arrival.
        left_out_values: Values of metrics beyond `MAX_METRICS_PER_DEVICE`; in no statistic.
    """

    __slots__ = (
        "arrived_ms",
        "base",
        "closed_ms",
        "device_id",
        "device_type",
        "duplicate_events",
        "future_events",
        "last_offset",
        "last_register",
        "late",
        "late_events",
        "left_out_values",
        "names",
        "newest_ms",
        "newest_quarter_ms",
        "next_power",
        "next_register",
        "oldest_quarter_ms",
        "open",
        "open_from_ms",
        "recent",
        "revision",
        "serial_number",
        "site_id",
        "watermark_ms",
    )

    def __init__(self, serial_number: str, device_id: int = 0, site_id: int = 0, device_type: str = "UNKNOWN") -> None:
        self.serial_number = serial_number
        self.device_id = device_id
        self.site_id = site_id
        self.device_type = device_type
        self.names: dict[str, int] = {}
        self.base = new_section(0)
        self.open = bytearray()
        self.late = bytearray()
        self.recent = bytearray()
        self.open_from_ms = NOT_YET_MS
        self.newest_ms = NEVER_MS
        self.watermark_ms = NEVER_MS
        self.closed_ms = [NEVER_MS] * len(Window)
        self.oldest_quarter_ms = NOT_YET_MS
        self.newest_quarter_ms = NEVER_MS
        self.next_power: Point | None = None
        self.next_register: Point | None = None
        self.last_register: Point | None = None
        self.last_offset = -1
        self.arrived_ms = NEVER_MS
        self.revision = 0
        self.late_events = 0
        self.duplicate_events = 0
        self.future_events = 0
        self.left_out_values = 0

    @property
    def metric_names(self) -> Sequence[str]:
        """Metric names by number."""
        return tuple(self.names)


def fold(  # noqa: PLR0917 - the hottest call of all, which names would make slower
    state: DeviceAggregates, record: TelemetryRecord, identity: bytes, offset: int, arrived_ms: int, policy: WindowPolicy
) -> Outcome:
    """Take one message into the state, in place.

    Records of a device come in the order of their offsets, each offset once: who calls drops replays. Event times may come
    in any order.

    Args:
        state: Of the record's device.
        record: Valid record.
        identity: `identifiers.telemetry_identity` of the record.
        offset: Of the record in its partition.
        arrived_ms: The record's own Kafka timestamp.
        policy: When windows close.
    """
    state.last_offset = offset
    state.arrived_ms = arrived_ms
    time_ms = record.timestamp_ms
    # What is recognised by its bytes has the same time when it comes again, and is found among its window's samples.
    if record.message_id is not None and not remember(state.recent, identity, RECENT_IDENTITIES):
        state.duplicate_events += 1
        return Outcome.REPEATED
    state.revision += 1
    if time_ms > state.newest_ms:
        if time_ms > arrived_ms + FUTURE_TOLERANCE_MS:
            return _outside(state, record, identity, Outcome.FOLDED)
        state.newest_ms = time_ms
        if time_ms > state.watermark_ms:
            state.watermark_ms = time_ms
    elif time_ms < state.watermark_ms - policy.horizon_ms:
        # By the watermark, and not by what was closed: how far settling has come depends on when Kafka is committed to.
        return _outside(state, record, identity, Outcome.LATE)
    if time_ms < state.closed_ms[0]:
        return _correct(state, record, identity, policy)
    if time_ms < state.open_from_ms:
        state.open_from_ms = time_ms - time_ms % MINUTE_MS
        _identify(state, record)
    left_out = append(state.open, record, identity, state.names)
    if left_out:
        state.left_out_values += left_out
    if state.watermark_ms < state.open_from_ms + MINUTE_MS + policy.lateness_ms[0]:
        return Outcome.FOLDED
    # Seldom enough to cost nothing, and a device that never pauses follows the registry all the same.
    _identify(state, record)
    return Outcome.DUE


def _identify(state: DeviceAggregates, record: TelemetryRecord) -> None:
    """Take over which device of which site it is, as its newest message has it."""
    if record.timestamp_ms == state.newest_ms:
        state.device_id, state.site_id, state.device_type = record.device_id, record.site_id, record.device_type


def _correct(state: DeviceAggregates, record: TelemetryRecord, identity: bytes, policy: WindowPolicy) -> Outcome:
    """A message of a closed minute."""
    if record.timestamp_ms < state.watermark_ms - policy.horizon_ms:
        return _outside(state, record, identity, Outcome.LATE)
    state.left_out_values += append(state.late, record, identity, state.names)
    return Outcome.DUE


def _outside(state: DeviceAggregates, record: TelemetryRecord, identity: bytes, outcome: Outcome) -> Outcome:
    """A message that no window takes; one of the last few of them is recognised when it is repeated."""
    if record.message_id is None and not remember(state.recent, identity, RECENT_IDENTITIES):
        state.revision -= 1
        state.duplicate_events += 1
        return Outcome.REPEATED
    if outcome is Outcome.LATE:
        state.late_events += 1
    else:
        state.future_events += 1
    sample = bytearray()
    state.left_out_values += append(sample, record, identity, state.names)
    add_samples(state.base, sample)
    return outcome


def thaw(state: DeviceAggregates, section: bytes | bytearray) -> Accumulators:
    """A section as accumulators; the state stays as it is."""
    try:
        return accumulators_of(section, state.names)
    except (IndexError, struct.error) as error:
        raise StateCodecError(_KIND, f"damaged section of {state.serial_number}: {error}") from None


def total(state: DeviceAggregates) -> Accumulators:
    """Statistics over all time, as accumulators of their own."""
    section = bytearray(state.base)
    add_samples(section, ordered(state.open).data)
    return thaw(state, section)


def encode(state: DeviceAggregates) -> bytes:
    """The state as bytes."""
    names = state.names
    # The type comes last: of all these texts it alone may contain a NUL.
    text = "\0".join((state.serial_number, *names, state.device_type)).encode()
    recent = last(state.recent, RECENT_IDENTITIES)
    header = _HEADER.pack(
        VERSION,
        state.device_id,
        state.site_id,
        state.last_offset,
        state.arrived_ms,
        state.newest_ms,
        state.watermark_ms,
        state.oldest_quarter_ms,
        state.newest_quarter_ms,
        state.open_from_ms,
        state.revision,
        state.late_events,
        state.duplicate_events,
        state.future_events,
        state.left_out_values,
        *state.closed_ms,
        len(recent) // IDENTITY_BYTES,
        len(names),
        len(state.open),
        len(text),
    )
    edges = _encode_edge(state.next_power), _encode_edge(state.next_register), _encode_edge(state.last_register)
    return b"".join((header, *edges, text, recent, state.base, state.open))


def _encode_edge(edge: Point | None) -> bytes:
    return _EDGE.pack(False, 0, 0.0) if edge is None else _EDGE.pack(True, *edge)


def decode(data: bytes) -> DeviceAggregates:
    """The state of its bytes, or of those of the version before; raises `StateCodecError` for anything else."""
    if data[:1] == bytes((aggregates_v1.VERSION,)):
        return _upgraded(data)
    check_version(_KIND, data, VERSION)
    try:
        return _decode(data)
    except (struct.error, ValueError, IndexError) as error:
        raise StateCodecError(_KIND, f"{len(data)} bytes: {error}") from None


class Times(NamedTuple):
    """What `window_ticks.next_tick_ms` asks of a state; named as there."""

    site_id: int
    arrived_ms: int
    newest_ms: int
    watermark_ms: int
    open_from_ms: int
    closed_ms: tuple[int, ...]


def peek(data: bytes) -> Times | None:
    """The times in the bytes of a state, without decoding it; None of the version before, which has no windows."""
    if data[:1] != bytes((VERSION,)):
        return None
    header = _HEADER.unpack_from(data)
    return Times(header[2], header[4], header[5], header[6], header[9], header[15:20])


def _upgraded(data: bytes) -> DeviceAggregates:
    """Totals go on; windows begin anew, since the version before kept no samples of them."""
    old = aggregates_v1.decode(data)
    state = DeviceAggregates(old.serial_number, old.device_id, old.site_id, old.device_type)
    state.names, state.base, state.recent = old.names, old.base, old.recent
    state.last_offset, state.revision = old.last_offset, old.revision
    state.late_events, state.duplicate_events = old.late_events, old.duplicate_events
    state.future_events, state.left_out_values = old.future_events, old.left_out_values
    return state


def _decode(data: bytes) -> DeviceAggregates:
    header = _HEADER.unpack_from(data)
    identities, names, open_bytes, text_bytes = header[20:]
    at = _HEADER.size
    edges = [_EDGE.unpack_from(data, at + index * _EDGE.size) for index in range(_EDGES)]
    at += _EDGES * _EDGE.size
    texts = data[at : (at := at + text_bytes)].decode().split("\0", names + 1)
    if len(texts) != names + 2:
        raise ValueError(f"{len(texts)} texts, expected {names + 2}")
    state = DeviceAggregates(texts[0], header[1], header[2], texts[-1])
    state.last_offset, state.arrived_ms, state.newest_ms, state.watermark_ms = header[3:7]
    state.oldest_quarter_ms, state.newest_quarter_ms, state.open_from_ms, state.revision = header[7:11]
    state.late_events, state.duplicate_events, state.future_events, state.left_out_values = header[11:15]
    state.closed_ms = list(header[15:20])
    state.names = {name: number for number, name in enumerate(texts[1:-1])}
    state.next_power, state.next_register, state.last_register = ((edge[1], edge[2]) if edge[0] else None for edge in edges)
    state.recent = bytearray(data[at : (at := at + identities * IDENTITY_BYTES)])
    _, state.base = section_at(data, at)
    at += len(state.base)
    state.open = bytearray(data[at : at + open_bytes])
    if at + open_bytes != len(data):
        raise ValueError(f"ends at byte {at + open_bytes}")
    return state
