"""WebSocket messages as they go over the wire, made once for all clients; pure.

What a server sends is not masked, so a text frame is the same bytes for every client.
"""

from typing import NamedTuple

from ems_streams.gateway.filters import Filter
from ems_streams.gateway.ring import FRAMES_KEPT, Ring

CHUNK_BYTES = 64 * 1024
"""About how much is given to a connection at once."""

JOINED_BYTES_MAX = 16 * 1024 * 1024
"""So much is kept joined at the most; what many clients want who are all at places of their own is made anew for each of them."""

_TEXT = 0x81


def text_frame(payload: bytes) -> bytes:
    """One unfragmented text frame (RFC 6455, 5.2) as a server sends it."""
    size = len(payload)
    if size < 126:
        return bytes((_TEXT, size)) + payload
    if size < 65536:
        return bytes((_TEXT, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_TEXT, 127)) + size.to_bytes(8, "big") + payload


def notification_frame(cursor: str, payload: bytes) -> bytes:
    """A notification, as JSON, with the cursor of the point after it."""
    return text_frame(b'{"cursor":"' + cursor.encode() + b'","notification":' + payload + b"}")


def heartbeat_frame(cursor: str, time: str) -> bytes:
    """That the feed is alive, and the cursor of the point up to which the client has everything that it wants."""
    return text_frame(f'{{"cursor":"{cursor}","heartbeat":"{time}"}}'.encode())


class Chunk(NamedTuple):
    """A piece of the feed for one client.

    Attributes:
        frames: Whole frames; empty when it wants nothing of the piece.
        position: In the ring, behind the piece.
        notifications: How many frames there are.
    """

    frames: bytes
    position: int
    notifications: int


class Chunks:
    """Frames of several entries of a ring as one piece of bytes, joined once for all clients that are at the same place."""

    def __init__(self) -> None:
        self._version: tuple[Ring, int] | None = None
        self._joined: dict[tuple[int, Filter], Chunk] = {}
        self._bytes = 0

    def take(self, ring: Ring, position: int, wanted: Filter) -> Chunk:
        """What a client wants of the entries from `position` on, up to about `CHUNK_BYTES`; `position` must be held by the ring."""
        version = ring, ring.version
        if version != self._version or self._bytes > JOINED_BYTES_MAX:
            self._version = version
            self._joined.clear()
            self._bytes = 0
        found = self._joined.get((position, wanted))
        if found is None:
            found = self._joined[position, wanted] = _join(ring, position, wanted)
            self._bytes += len(found.frames)
        return found


def _join(ring: Ring, position: int, wanted: Filter) -> Chunk:
    frames: list[bytes] = []
    size = 0
    while position < ring.end and size < CHUNK_BYTES:
        entry = ring.at(position)
        position += 1
        if wanted.wants(entry.facts):
            frame = entry.frame or notification_frame(entry.cursor, entry.payload)
            if ring.end - entry.position <= FRAMES_KEPT:
                entry.frame = frame
            frames.append(frame)
            size += len(frame)
    return Chunk(b"".join(frames), position, len(frames))
