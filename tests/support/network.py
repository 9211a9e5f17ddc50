"""A network that can be cut: a TCP proxy between one process and a server, in a thread of its own.

What a dropped network does: connections stay open, and nothing comes through in either direction; who connects meanwhile waits
for an answer. Once it is healed, what was under way arrives late, or the connections are found to be gone.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, Self

LOOPBACK = "127.0.0.1"
_CHUNK_BYTES = 1 << 16
_CALL_TIMEOUT_S = 10.0


class Link:
    """The way from whoever connects to `port` to the server on `upstream_port`; whole at first. Use as a context manager."""

    def __init__(self, port: int, upstream_port: int) -> None:
        self.port = port
        self._upstream_port = upstream_port
        self._loop = asyncio.new_event_loop()
        self._whole = asyncio.Event()
        self._sessions: set[asyncio.Task[None]] = set()
        self._sockets: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"link-{port}", daemon=True)

    @property
    def address(self) -> str:
        """`host:port`, for clients."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def connections(self) -> int:
        """How many clients are connected, or think so."""
        return len(self._sessions)

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_TIMEOUT_S)
        self._loop.close()

    def cut(self) -> None:
        """Let nothing through any more; connections stay open on both sides."""
        self._call(self._set(whole=False))

    def heal(self, reset: bool = False) -> None:
        """Let everything through again: late, or, with `reset`, never, since the old connections are reset on both sides."""
        self._call(self._set(whole=True, reset=reset))

    def _call(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(_CALL_TIMEOUT_S)

    async def _open(self) -> None:
        self._whole.set()
        self._server = await asyncio.start_server(self._accepted, LOOPBACK, self.port)

    async def _close(self) -> None:
        self._server.close()
        sessions = list(self._sessions)
        for session in sessions:
            session.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)

    async def _set(self, *, whole: bool, reset: bool = False) -> None:
        if reset:
            for each in self._sockets:
                _reset(each)
        if whole:
            self._whole.set()
        else:
            self._whole.clear()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = asyncio.current_task()
        assert session is not None
        self._sessions.add(session)
        try:
            # Of a session that is ended with the link, and of peers that go as they please, there is nothing to say.
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await self._serve(reader, writer)
        finally:
            self._sessions.discard(session)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sockets.add(writer)
        try:
            await self._whole.wait()
            upstream_reader, upstream = await asyncio.open_connection(LOOPBACK, self._upstream_port)
            self._sockets.add(upstream)
            try:
                directions = [asyncio.create_task(self._pump(reader, upstream)), asyncio.create_task(self._pump(upstream_reader, writer))]
                try:
                    await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for each in directions:
                        each.cancel()
                    await asyncio.gather(*directions, return_exceptions=True)
            finally:
                self._sockets.discard(upstream)
                upstream.close()
        finally:
            self._sockets.discard(writer)
            writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Carry what comes to the other side, until one of them ends; neither an end nor a byte gets through a cut."""
        while True:
            chunk = await source.read(_CHUNK_BYTES)
            await self._whole.wait()
            if not chunk:
                return
            sink.write(chunk)
            await sink.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
