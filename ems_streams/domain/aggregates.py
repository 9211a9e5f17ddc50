"""Statistics of a device's metrics over all time and per minute of event time: the state, its fold, and its codec.

An event touches one window only. The total over all time is the base (everything that has left the state's windows)
merged with the windows that are still there, when somebody reads it.

Windows are tumbling minutes of event time in UTC. The newest `KEPT_WINDOWS` of a device stay open, whatever the time is:

- an event older than the oldest kept window goes into the base: it counts in the total and in `late_events`;
- an event that is more than `FUTURE_TOLERANCE_MS` ahead of its arrival goes into the base too, and counts in
  `future_events`: a device whose clock runs ahead cannot push the windows of the present out. Clocks that lag, or that
  run ahead by less, get windows by what they say, and their number is bounded in any case.

Base and windows are held as the bytes that are stored (`section`), so that a commit only copies, and a state in memory is small.
"""

import struct
from typing import Final

from ems_streams.domain.accumulators import Accumulators, merge_all
from ems_streams.domain.identifiers import IDENTITY_BYTES
from ems_streams.domain.recent_identities import last, remember
from ems_streams.domain.section import accumulators_of, add_values, merge_section, new_section, section_at
from ems_streams.domain.state_codec import StateCodecError, check_version
from ems_streams.domain.telemetry_record import TelemetryRecord
from ems_streams.domain.timestamps import MINUTE_MS

KEPT_WINDOWS: Final = 10
RECENT_IDENTITIES: Final = 64
FUTURE_TOLERANCE_MS: Final = 3_600_000

_KIND = "device aggregates"
_VERSION = 1
# version; device id, site id, last offset, last timestamp, revision, late, duplicate, future, left out;
# numbers of identities, names and windows; bytes of text
_HEADER = struct.Struct("<B9qBHBI")


class DeviceAggregates:
    """State of one device; mutable, and only `fold` may change it.

    Attributes:
        serial_number: Key of the device.
        device_id: As of the newest window's first event, like `site_id` and `device_type`.
        base: Section of all that is in no kept window.
        windows: Sections of the kept windows by their start in epoch milliseconds.
        names: Every metric name the device ever had, with its number in sections.
        recent: `recent_identities` of its messages, of which the last `RECENT_IDENTITIES` count.
        newest_start_ms: Start of the window that was folded into last.
        newest: Its section; one of `windows`, kept at hand since most events belong to it.
        last_offset: Offset of the last record that was folded; -1 before the first.
        last_timestamp_ms: Greatest event time.
        revision: Number of events folded.
        late_events: Events older than the oldest kept window.
        duplicate_events: Records that were not folded because they had been before.
        future_events: Events too far ahead of their arrival.
        left_out_values: Values of metrics beyond `MAX_METRICS_PER_DEVICE`; in no statistic.
    """

    __slots__ = (
        "base",
        "device_id",
        "device_type",
        "duplicate_events",
        "future_events",
        "last_offset",
        "last_timestamp_ms",
        "late_events",
        "left_out_values",
        "names",
        "newest",
        "newest_start_ms",
        "recent",
        "revision",
        "serial_number",
        "site_id",
        "windows",
    )

    def __init__(self, serial_number: str, device_id: int = 0, site_id: int = 0, device_type: str = "UNKNOWN") -> None:
        self.serial_number = serial_number
        self.device_id = device_id
        self.site_id = site_id
        self.device_type = device_type
        self.base = new_section(0)
        self.windows: dict[int, bytearray] = {}
        self.names: dict[str, int] = {}
        self.recent = bytearray()
        self.newest_start_ms = -1
        self.newest = self.base
        self.last_offset = -1
        self.last_timestamp_ms = -(2**62)
        self.revision = 0
        self.late_events = 0
        self.duplicate_events = 0
        self.future_events = 0
        self.left_out_values = 0


def fold(state: DeviceAggregates, record: TelemetryRecord, identity: bytes, offset: int, arrived_ms: int | None = None) -> bool:
    """Take one record into the state, in place.

    Records of a device come in the order of their offsets, each offset once: who calls drops replays. Event times may come
    in any order.

    Args:
        state: Of the record's device.
        record: Valid record.
        identity: `identifiers.telemetry_identity` of the record.
        offset: Of the record in its partition.
        arrived_ms: The record's own Kafka timestamp; without it no event counts as too far ahead.

    Returns:
        False for a message that is among the last ones folded: nothing but the counter of duplicates has changed.
    """
    state.last_offset = offset
    timestamp_ms = record.timestamp_ms
    is_newest = timestamp_ms > state.last_timestamp_ms
    # What is recognised by its bytes, and with them by its time, cannot have been there before that time.
    if not remember(state.recent, identity, RECENT_IDENTITIES, is_newest and record.message_id is None):
        state.duplicate_events += 1
        return False
    if is_newest:
        state.last_timestamp_ms = timestamp_ms
    start_ms = timestamp_ms - timestamp_ms % MINUTE_MS
    section = state.newest if start_ms == state.newest_start_ms else _section_of(state, start_ms, record, arrived_ms)
    left_out = add_values(section, record, state.names)
    if left_out:
        state.left_out_values += left_out
    state.revision += 1
    return True


def _section_of(state: DeviceAggregates, start_ms: int, record: TelemetryRecord, arrived_ms: int | None) -> bytearray:
    """The section an event belongs to; may open a window, and close the oldest one for it."""
    windows = state.windows
    section = windows.get(start_ms)
    if section is None:
        if arrived_ms is not None and record.timestamp_ms > arrived_ms + FUTURE_TOLERANCE_MS:
            state.future_events += 1
            return state.base
        if len(windows) >= KEPT_WINDOWS:
            oldest_ms = min(windows)
            if start_ms < oldest_ms:
                state.late_events += 1
                return state.base
            merge_section(state.base, windows.pop(oldest_ms))
        state.device_id, state.site_id, state.device_type = record.device_id, record.site_id, record.device_type
        section = windows[start_ms] = new_section(start_ms)
    state.newest_start_ms, state.newest = start_ms, section
    return section


def thaw(state: DeviceAggregates, section: bytes | bytearray) -> Accumulators:
    """A section (the base or a window) as accumulators; the state stays as it is."""
    try:
        return accumulators_of(section, state.names)
    except (IndexError, struct.error) as error:
        raise StateCodecError(_KIND, f"damaged section of {state.serial_number}: {error}") from None


def total(state: DeviceAggregates) -> Accumulators:
    """Statistics over all time, as accumulators of their own."""
    merged = thaw(state, state.base)
    for start_ms in sorted(state.windows):
        merge_all(merged, thaw(state, state.windows[start_ms]))
    return merged


def encode(state: DeviceAggregates) -> bytes:
    """The state as bytes."""
    names = state.names
    # The type comes last: of all these texts it alone may contain a NUL.
    text = "\0".join((state.serial_number, *names, state.device_type)).encode()
    recent = last(state.recent, RECENT_IDENTITIES)
    header = _HEADER.pack(
        _VERSION,
        state.device_id,
        state.site_id,
        state.last_offset,
        state.last_timestamp_ms,
        state.revision,
        state.late_events,
        state.duplicate_events,
        state.future_events,
        state.left_out_values,
        len(recent) // IDENTITY_BYTES,
        len(names),
        len(state.windows),
        len(text),
    )
    return b"".join((header, text, recent, state.base, *state.windows.values()))


def decode(data: bytes) -> DeviceAggregates:
    """The state of its bytes; raises `StateCodecError` for another version or anything else."""
    check_version(_KIND, data, _VERSION)
    try:
        return _decode(data)
    except (struct.error, ValueError, IndexError) as error:
        raise StateCodecError(_KIND, f"{len(data)} bytes: {error}") from None


def _decode(data: bytes) -> DeviceAggregates:
    header = _HEADER.unpack_from(data)
    identities, names, windows, text_bytes = header[10:]
    at = _HEADER.size + text_bytes
    texts = data[_HEADER.size : at].decode().split("\0", names + 1)
    if len(texts) != names + 2:
        raise ValueError(f"{len(texts)} texts, expected {names + 2}")
    state = DeviceAggregates(texts[0], header[1], header[2], texts[-1])
    (
        state.last_offset,
        state.last_timestamp_ms,
        state.revision,
        state.late_events,
        state.duplicate_events,
        state.future_events,
        state.left_out_values,
    ) = header[3:10]
    state.names = {name: number for number, name in enumerate(texts[1:-1])}
    state.recent = bytearray(data[at : (at := at + identities * IDENTITY_BYTES)])
    _, state.base = section_at(data, at)
    at += len(state.base)
    for _ in range(windows):
        start_ms, section = section_at(data, at)
        state.windows[start_ms] = section
        at += len(section)
    if at != len(data):
        raise ValueError(f"ends at byte {at}")
    return state
