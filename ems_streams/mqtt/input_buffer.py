"""What a connection has received and not read yet, in as much memory as that needs."""

from typing import Final

FIRST_BYTES: Final = 64 * 1024
"""Four times what is read from a socket at once."""
KEPT_BYTES: Final = 1024 * 1024
"""A buffer that has grown beyond this goes when it is empty."""


class InputBuffer:
    """Takes the place of the library's, which is of its greatest size from the start: 16 MiB for each connection, of which a worker has one for each partition,
    and for each that was tried and is not freed yet.

    Args:
        size: Most bytes held.

    Attributes:
        buffer: Of the bytes.
        view: Of the buffer.
        left: Where what is not read begins.
        right: Where it ends.
    """

    def __init__(self, size: int) -> None:
        self._bytes_max = size
        self.buffer = bytearray(min(FIRST_BYTES, size))
        self.view = memoryview(self.buffer)
        self.left = self.right = 0

    def _hold(self, size: int) -> None:
        held = self.view[self.left : self.right]
        buffer = bytearray(size)
        buffer[: len(held)] = held
        self.buffer, self.view = buffer, memoryview(buffer)
        self.left, self.right = 0, len(held)

    def clear(self) -> None:
        """Discard what is held."""
        self.left = self.right = 0

    def drop(self) -> None:
        """Discard it with its memory: a connection that is over may be held by others for long."""
        self.clear()
        self._hold(0)

    def write(self, data: bytes) -> None:
        """Append; raises `RuntimeError` beyond the most that may be held."""
        held = self.right - self.left
        if held + len(data) > self._bytes_max:
            raise RuntimeError("Buffer overflow")
        if not held:
            self.left = self.right = 0
            if len(self.buffer) > KEPT_BYTES:
                self._hold(FIRST_BYTES)
        if self.right + len(data) > len(self.buffer):
            self._make_room(held + len(data))
        self.buffer[self.right : self.right + len(data)] = data
        self.right += len(data)

    def _make_room(self, wanted: int) -> None:
        # At least half of it free afterwards, so that what is held is not moved again at once.
        size = max(len(self.buffer), FIRST_BYTES)
        while size < 2 * wanted:
            size *= 2
        self._hold(max(min(size, self._bytes_max), wanted))
