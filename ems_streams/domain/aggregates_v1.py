"""The stored form of `aggregates` before it kept samples: read once, by the first release that has them, and never written."""

import struct
from dataclasses import dataclass
from typing import Final

from ems_streams.domain.identifiers import IDENTITY_BYTES
from ems_streams.domain.section import merge_section, section_at
from ems_streams.domain.state_codec import StateCodecError

VERSION: Final = 1
_KIND: Final = "device aggregates"
# version; device id, site id, last offset, last timestamp, revision, late, duplicate, future, left out;
# numbers of identities, names and windows; bytes of text
_HEADER = struct.Struct("<B9qBHBI")


@dataclass(frozen=True, slots=True)
class DeviceAggregatesV1:
    """What is taken over; `base` is the total over all time, with what was in windows."""

    serial_number: str
    device_id: int
    site_id: int
    device_type: str
    names: dict[str, int]
    base: bytearray
    recent: bytearray
    last_offset: int
    revision: int
    late_events: int
    duplicate_events: int
    future_events: int
    left_out_values: int


def decode(data: bytes) -> DeviceAggregatesV1:
    """The state of its bytes; raises `StateCodecError`."""
    try:
        return _decode(data)
    except (struct.error, ValueError, IndexError) as error:
        raise StateCodecError(_KIND, f"{len(data)} bytes of version {VERSION}: {error}") from None


def _decode(data: bytes) -> DeviceAggregatesV1:
    _, device_id, site_id, last_offset, _, revision, late, duplicate, future, left_out, identities, names, windows, text_bytes = (
        _HEADER.unpack_from(data)
    )
    at = _HEADER.size + text_bytes
    texts = data[_HEADER.size : at].decode().split("\0", names + 1)
    if len(texts) != names + 2:
        raise ValueError(f"{len(texts)} texts, expected {names + 2}")
    recent = bytearray(data[at : (at := at + identities * IDENTITY_BYTES)])
    _, base = section_at(data, at)
    at += len(base)
    for _ in range(windows):
        _, section = section_at(data, at)
        at += len(section)
        merge_section(base, section)
    if at != len(data):
        raise ValueError(f"ends at byte {at}")
    by_number = {name: number for number, name in enumerate(texts[1:-1])}
    return DeviceAggregatesV1(
        texts[0], device_id, site_id, texts[-1], by_number, base, recent, last_offset, revision, late, duplicate, future, left_out
    )
