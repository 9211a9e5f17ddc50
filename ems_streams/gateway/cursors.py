"""Opaque cursors: a point in the feed of notifications, places in the lists of devices and of alarms, in a row of windows and among dead letters.

All are URL-safe text with a kind, a version and a checksum, so that what is not a cursor of ours is told apart from
one that is. Clients must not look inside.
"""

import base64
import binascii
import re
import zlib
from collections.abc import Iterable
from datetime import datetime

from ems_streams.domain.events import EARLIEST_TIME, TIME_LIMIT
from ems_streams.errors import EmsError

Offsets = tuple[int, ...]
"""Next offset to read, by partition number."""

_FEED = b"N\x01"
_DEVICE = b"D\x01"
_WINDOW = b"W\x01"
_ALARM = b"A\x01"
_LETTERS = b"L\x01"
# Anybody can make the checksum: workers must not be asked for a place that none can have, and be taken for broken.
_DEVICE_PLACE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_ALARM_PLACE = re.compile(rb"([0-9]{1,15}):([0-9a-f]{32})")
_MAX_TEXT = 16_384
_MAX_OFFSET = 2**63 - 1


class BadCursorError(EmsError):
    """The text is not a cursor that this gateway gave out."""


def encode_feed(offsets: Iterable[int]) -> str:
    """Cursor of the point in the feed before which lies everything below `offsets`."""
    return _seal(_FEED, _packed(offsets))


def decode_feed(text: str) -> Offsets:
    """Inverse of `encode_feed`; raises `BadCursorError`."""
    return _unpacked(_open(_FEED, text), "the cursor is not one of this feed")


def encode_letters(offsets: Iterable[int]) -> str:
    """Cursor of a place among the dead letters of a topic: by partition, the offset before which everything is still to come."""
    return _seal(_LETTERS, _packed(offsets))


def decode_letters(text: str) -> Offsets:
    """Inverse of `encode_letters`; raises `BadCursorError`."""
    return _unpacked(_open(_LETTERS, text), "the cursor is not one of dead letters")


def _packed(offsets: Iterable[int]) -> bytes:
    body = bytearray()
    for offset in offsets:
        rest = offset
        while rest > 0x7F:
            body.append(rest & 0x7F | 0x80)
            rest >>= 7
        body.append(rest)
    return bytes(body)


def _unpacked(body: bytes, complaint: str) -> Offsets:
    offsets: list[int] = []
    value = shift = 0
    for byte in body:
        value |= (byte & 0x7F) << shift
        if byte & 0x80:
            shift += 7
            continue
        offsets.append(value)
        value = shift = 0
    if shift or not offsets or max(offsets) > _MAX_OFFSET:
        raise BadCursorError(complaint)
    return tuple(offsets)


def encode_device(serial_number: str) -> str:
    """Cursor of the place right after a device in the list sorted by serial number."""
    return _seal(_DEVICE, serial_number.encode())


def decode_device(text: str) -> str:
    """Inverse of `encode_device`; raises `BadCursorError`."""
    found = _open(_DEVICE, text)
    if _DEVICE_PLACE.fullmatch(found) is None:
        raise BadCursorError("the cursor is not one of this list")
    return found.decode()


def encode_window(window_start: str) -> str:
    """Cursor of the place right behind a window, in pages of one kind of windows, newest first."""
    return _seal(_WINDOW, window_start.encode())


def decode_window(text: str) -> datetime:
    """Inverse of `encode_window`: windows of the next page begin before this time; raises `BadCursorError`."""
    try:
        found = datetime.fromisoformat(_open(_WINDOW, text).decode())
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or not EARLIEST_TIME <= found < TIME_LIMIT:
        raise BadCursorError("the cursor is not one of windows")
    return found


def encode_alarm(raised_ms: int, alarm_id: str) -> str:
    """Cursor of the place right behind an alarm, in the list of alarms, newest first."""
    return _seal(_ALARM, f"{raised_ms}:{alarm_id}".encode())


def decode_alarm(text: str) -> tuple[int, str]:
    """Inverse of `encode_alarm`; raises `BadCursorError`."""
    found = _ALARM_PLACE.fullmatch(_open(_ALARM, text))
    if found is None:
        raise BadCursorError("the cursor is not one of alarms")
    return int(found[1]), found[2].decode()


def _seal(kind: bytes, body: bytes) -> str:
    sealed = kind + body
    checksum = (zlib.crc32(sealed) & 0xFFFF).to_bytes(2, "big")
    return base64.urlsafe_b64encode(sealed + checksum).rstrip(b"=").decode()


def _open(kind: bytes, text: str) -> bytes:
    if not text or len(text) > _MAX_TEXT:
        raise BadCursorError("the cursor is empty or too long")
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise BadCursorError("the cursor is not one that this server gave out") from None
    sealed, checksum = raw[:-2], raw[-2:]
    if not sealed.startswith(kind) or (zlib.crc32(sealed) & 0xFFFF).to_bytes(2, "big") != checksum:
        raise BadCursorError("the cursor is not one that this server gave out here")
    return sealed[len(kind) :]
