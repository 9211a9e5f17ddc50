"""State of one device's statistics as bytes, and back."""

import struct
from typing import Final, NamedTuple

from ems_streams.domain import aggregates_v1
from ems_streams.domain.aggregates import DeviceAggregates
from ems_streams.domain.fold_outcome import RECENT_IDENTITIES
from ems_streams.domain.identifiers import IDENTITY_BYTES
from ems_streams.domain.quarter import Point
from ems_streams.domain.recent_identities import last
from ems_streams.domain.section import section_at
from ems_streams.domain.state_codec import StateCodecError, check_version

_KIND: Final = "device aggregates"
VERSION: Final = 2
_EDGE = struct.Struct("<?qd")
_EDGES: Final = 3
# version; device id, site id, last offset, arrival, newest, watermark, oldest quarter, newest quarter, open from, revision, late, duplicate,
# future, left out; ends of closed windows by kind; numbers of identities and names; bytes of open samples and of text
_HEADER = struct.Struct("<B14q5qBHII")


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
    state.closed_ms = header[15:20]
    state.names = {name: number for number, name in enumerate(texts[1:-1])}
    state.next_power, state.next_register, state.last_register = ((edge[1], edge[2]) if edge[0] else None for edge in edges)
    state.recent = bytearray(data[at : (at := at + identities * IDENTITY_BYTES)])
    _, state.base = section_at(data, at)
    at += len(state.base)
    state.open = bytearray(data[at : at + open_bytes])
    if at + open_bytes != len(data):
        raise ValueError(f"ends at byte {at + open_bytes}")
    return state
