"""Stored forms of the records of sites: the first byte says which kind of record follows, and in which version."""

import struct
from collections.abc import Callable
from typing import Any, Final

from ems_streams.domain.site_records import Day, Member, Part, Roster, Site, SiteRecord, Sites, SiteWindow, Whereabouts, WindowKey
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.domain.windows import Window

_KIND: Final = "site record"
_ID = struct.Struct("<Q")
_SITE = struct.Struct(f"<B4qI{len(Window)}qII")
_OPEN = struct.Struct("<Bqq")
_DAY_NUMBER = struct.Struct("<i")
_MEMBER = struct.Struct(f"<BI2q{len(Window)}q")
_STARTED = struct.Struct("<Bq")
_WINDOW = struct.Struct("<BqIIIH")
_PART = struct.Struct("<BI")
_WHEREABOUTS = struct.Struct("<BQq")

_SITES_1, _SITE_1, _ROSTER_1, _MEMBER_1, _DAY_1, _WINDOW_1, _PART_1, _WHEREABOUTS_1 = range(0x11, 0x19)


def _encode_site(site: Site) -> bytes:
    head = _SITE.pack(
        _SITE_1, site.newest_ms, site.watermark_ms, site.arrived_ms, site.forgotten_ms, site.late_parts, *site.closed_ms,
        len(site.open), len(site.days),
    )  # fmt: skip
    windows = [_OPEN.pack(key.window, key.start_ms, end_ms) for key, end_ms in sorted(site.open.items())]
    return b"".join((head, *windows, *map(_DAY_NUMBER.pack, site.days)))


def _decode_site(data: bytes) -> Site:
    _, newest_ms, watermark_ms, arrived_ms, forgotten_ms, late_parts, *closed_ms, windows, days = _SITE.unpack_from(data)
    days_at = _SITE.size + windows * _OPEN.size
    if days_at + days * _DAY_NUMBER.size != len(data):
        raise ValueError(f"{windows} windows and {days} days announced")
    found = {WindowKey(Window(window), start_ms): end_ms for window, start_ms, end_ms in _OPEN.iter_unpack(data[_SITE.size : days_at])}
    numbers = [number for (number,) in _DAY_NUMBER.iter_unpack(data[days_at:])]
    return Site(newest_ms, watermark_ms, arrived_ms, forgotten_ms, late_parts, closed_ms, found, numbers)


def _encode_window(window: SiteWindow) -> bytes:
    devices = window.devices.to_bytes((window.devices.bit_length() + 7) // 8, "little")
    counts = (window.revision, window.devices_reported, window.devices_total)
    return _WINDOW.pack(_WINDOW_1, window.end_ms, *counts, len(devices)) + devices + window.content


def _decode_window(data: bytes) -> SiteWindow:
    _, end_ms, revision, reported, total, device_bytes = _WINDOW.unpack_from(data)
    content_at = _WINDOW.size + device_bytes
    devices = int.from_bytes(data[_WINDOW.size : content_at], "little")
    return SiteWindow(end_ms, devices, revision, reported, total, data[content_at:])


def _decode_member(data: bytes) -> Member:
    _, number, since_ms, left_ms, *ends_ms = _MEMBER.unpack(data)
    return Member(number, since_ms, left_ms, ends_ms)


def _decode_roster(data: bytes) -> Roster:
    return Roster(data[1:].decode().split("\0") if len(data) > 1 else [])


def _decode_day(data: bytes) -> Day:
    return Day({WindowKey(Window(window), start_ms) for window, start_ms in _STARTED.iter_unpack(data[1:])})


_ENCODERS: Final[dict[type[Any], Callable[[Any], bytes]]] = {
    Sites: lambda sites: bytes((_SITES_1,)) + b"".join(map(_ID.pack, sites.ids)),
    Site: _encode_site,
    Roster: lambda roster: bytes((_ROSTER_1,)) + "\0".join(roster.serials).encode(),
    Member: lambda each: _MEMBER.pack(_MEMBER_1, each.number, each.since_ms, each.left_ms, *each.ends_ms),
    Day: lambda day: bytes((_DAY_1,)) + b"".join(_STARTED.pack(*key) for key in sorted(day.windows)),
    SiteWindow: _encode_window,
    Part: lambda part: _PART.pack(_PART_1, part.revision) + part.summary,
    Whereabouts: lambda where: _WHEREABOUTS.pack(_WHEREABOUTS_1, where.site_id, where.since_ms),
}
_DECODERS: Final[dict[int, Callable[[bytes], SiteRecord]]] = {
    _SITES_1: lambda data: Sites([site_id for (site_id,) in _ID.iter_unpack(data[1:])]),
    _SITE_1: _decode_site,
    _ROSTER_1: _decode_roster,
    _MEMBER_1: _decode_member,
    _DAY_1: _decode_day,
    _WINDOW_1: _decode_window,
    _PART_1: lambda data: Part(_PART.unpack_from(data)[1], data[_PART.size :]),
    _WHEREABOUTS_1: lambda data: Whereabouts(*_WHEREABOUTS.unpack(data)[1:]),
}


def encode(record: SiteRecord) -> bytes:
    """A record as bytes."""
    return _ENCODERS[type(record)](record)


def decode(data: bytes) -> SiteRecord:
    """The record of its bytes; raises `StateCodecError`."""
    decoder = _DECODERS.get(data[0]) if data else None
    if decoder is None:
        raise StateCodecError(_KIND, f"{len(data)} bytes that begin with {data[:1]!r}: no kind of record that this release knows")
    try:
        return decoder(data)
    except (struct.error, ValueError) as error:
        raise StateCodecError(_KIND, f"{len(data)} bytes: {error}") from None
