"""`/ws/notifications`: every notification as it comes, resumed exactly from a cursor."""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog
from aiohttp import WSCloseCode, WSMsgType, web
from aiokafka.errors import KafkaError

from ems_streams.gateway.cursors import Offsets, decode_feed, encode_feed
from ems_streams.gateway.notification_list import ring_of
from ems_streams.gateway.notifications import Feed, is_ahead
from ems_streams.gateway.parameters import bad_parameter, cursor_of
from ems_streams.gateway.ring import Ring
from ems_streams.ops.http import ProblemError

log = structlog.get_logger(__name__)

MAX_CLIENTS = 2000
MAX_BACKFILLS = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may cost.

    Attributes:
        ping_every_s: How often a client is asked whether it is there.
        silence_s: A client that was not heard for so long is gone.
        stall_s: Longest time one message may take to be taken off.
        close_grace_s: How long a client has to read that it was closed.
        send_buffer_bytes: Kernel's buffer of its connection.
    """

    ping_every_s: float = 15.0
    silence_s: float = 40.0
    stall_s: float = 5.0
    close_grace_s: float = 15.0
    send_buffer_bytes: int = 128 * 1024


@dataclass(frozen=True, slots=True)
class _Closing:
    """Why a session ends; without a code the client has left by itself."""

    code: int | None
    reason: str


class NotificationSocket:
    """Accepts the clients; each reads from the feed's ring at its own pace, and holds nothing of its own.

    The ring is the bound: a client that falls behind its oldest entry, or does not take a message for `stall_s`, is
    closed with 1013 (try again later) and can resume from its cursor. Nobody waits for it.
    """

    def __init__(self, feed: Feed, limits: Limits | None = None) -> None:
        self._feed = feed
        self._limits = limits or Limits()
        self._sessions: set[_Session] = set()
        self._backfills = asyncio.Semaphore(MAX_BACKFILLS)

    @property
    def clients(self) -> int:
        """Clients connected now."""
        return len(self._sessions)

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/ws/notifications", self._handle)]

    async def shut_down(self, _: web.Application) -> None:
        """Tells every client to come back later (1001); for `app.on_shutdown`."""
        for session in list(self._sessions):
            session.end(_Closing(WSCloseCode.GOING_AWAY, "the gateway is stopping"))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        check_origin(request)
        since = cursor_of(request, decode_feed, "since")
        ring = ring_of(self._feed)
        if since is not None and len(since) > len(ring.after):
            raise bad_parameter("since", "the cursor is of a feed with more partitions")
        if len(self._sessions) >= MAX_CLIENTS:
            raise ProblemError(503, "Too many clients", f"{MAX_CLIENTS} are connected.", headers={"Retry-After": "10"})
        connection = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=4096, timeout=3.0)
        if not connection.can_prepare(request):
            detail = "This is a WebSocket; ask for an upgrade, or read GET /api/v1/notifications."
            raise ProblemError(426, "Upgrade required", detail, headers={"Upgrade": "websocket"})
        reader = FeedReader(self._feed, ring, since, self._backfills)
        await connection.prepare(request)
        session = _Session(request, connection, reader, self._limits)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
        return connection


def check_origin(request: web.Request) -> None:
    """Pages of other sites must not read the feed through their visitor's browser."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
        raise ProblemError(403, "Foreign origin", "Only pages of this gateway may connect from a browser.")


class FeedOvertookError(Exception):
    """The reader fell behind the oldest notification that is held."""


class FeedReplacedError(Exception):
    """The topic was made anew; what the reader has read is of the old one."""


class FeedReader:
    """Reads the feed from a point on: (cursor after it, notification as JSON), for ever.

    Args:
        since: Point to resume from; `None` for only what comes from now on.
    """

    def __init__(self, feed: Feed, ring: Ring, since: Offsets | None, backfills: asyncio.Semaphore) -> None:
        self._feed = feed
        self._ring = ring
        self._since = since
        self._backfills = backfills
        self._position = ring.end

    async def read(self) -> AsyncGenerator[tuple[str, bytes]]:
        """Raises `FeedOvertookError` or `FeedReplacedError` when it cannot go on exactly."""
        if self._since is not None:
            async for message in self._resume(self._since):
                yield message
        while True:
            while self._position < self._ring.end:
                if self._position < self._ring.start:
                    raise FeedOvertookError
                entry = self._ring.at(self._position)
                self._position += 1
                yield entry.cursor, entry.payload
            if self._feed.ring is not self._ring:
                raise FeedReplacedError
            await self._feed.changed()

    async def _resume(self, since: Offsets) -> AsyncGenerator[tuple[str, bytes]]:
        """What lies between the point and the end of the ring; leaves `_position` there."""
        missing = len(self._ring.after) - len(since)
        point = [*since, *([0] * missing)]
        if await self._feed.is_from_the_future(tuple(point)):
            point = list(self._ring.floor)
        while is_ahead(self._ring.floor, tuple(point)):
            target = self._ring.floor
            async with self._backfills:
                async for partition, offset, payload in self._feed.read_back(tuple(point), target):
                    point[partition] = offset + 1
                    yield encode_feed(point), payload
            point = [max(mine, theirs) for mine, theirs in zip(point, target, strict=True)]
        self._position = self._ring.start
        # Until the ring has passed the point everywhere, cursors are the client's own: the ring's would go backwards.
        while self._position < self._ring.end:
            if self._position < self._ring.start:
                raise FeedOvertookError
            entry = self._ring.at(self._position)
            self._position += 1
            if entry.offset < point[entry.partition]:
                continue
            point[entry.partition] = entry.offset + 1
            yield encode_feed(point), entry.payload
        async for message in self._pass(point):
            yield message

    async def _pass(self, point: list[int]) -> AsyncGenerator[tuple[str, bytes]]:
        """Live messages while another gateway, which gave the cursor, was ahead of this one."""
        while is_ahead(tuple(point), self._ring.after) and self._feed.ring is self._ring:
            await self._feed.changed()
            while self._ring.start <= self._position < self._ring.end:
                entry = self._ring.at(self._position)
                self._position += 1
                if entry.offset >= point[entry.partition]:
                    point[entry.partition] = entry.offset + 1
                    yield encode_feed(point), entry.payload


class _Session:
    """One client: sends, listens and pings at the same time, until one of them has a reason to end."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse, reader: FeedReader, limits: Limits) -> None:
        self._request = request
        self._socket = socket
        self._reader = reader
        self._limits = limits
        self._heard_at = time.monotonic()
        self._ended: asyncio.Future[_Closing] = asyncio.get_running_loop().create_future()
        _limit_send_buffer(request, limits.send_buffer_bytes)

    def end(self, closing: _Closing) -> None:
        """Ends the session from outside."""
        if not self._ended.done():
            self._ended.set_result(closing)

    async def run(self) -> None:
        """Serves the client until it leaves or is closed."""
        tasks = [asyncio.ensure_future(part()) for part in (self._send, self._listen, self._ping)]
        try:
            done, _ = await asyncio.wait([*tasks, self._ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._close(next(iter(done)).result())

    async def _send(self) -> _Closing:
        try:
            async with aclosing(self._reader.read()) as messages:
                async for cursor, payload in messages:
                    frame = b'{"cursor":"' + cursor.encode() + b'","notification":' + payload + b"}"
                    async with asyncio.timeout(self._limits.stall_s):
                        await self._socket.send_frame(frame, WSMsgType.TEXT)
        except TimeoutError:
            return _Closing(WSCloseCode.TRY_AGAIN_LATER, "messages were not taken off in time")
        except FeedOvertookError:
            return _Closing(WSCloseCode.TRY_AGAIN_LATER, "fell too far behind")
        except FeedReplacedError:
            return _Closing(WSCloseCode.SERVICE_RESTART, "the feed begins anew")
        except KafkaError:
            return _Closing(WSCloseCode.TRY_AGAIN_LATER, "older notifications cannot be read now")
        except ConnectionError:
            pass
        return _Closing(None, "left")

    async def _listen(self) -> _Closing:
        while True:
            message = await self._socket.receive()
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return _Closing(None, "left")
            self._heard_at = time.monotonic()
            if message.type is WSMsgType.PING:
                await self._socket.pong(message.data)

    async def _ping(self) -> _Closing:
        while time.monotonic() - self._heard_at < self._limits.silence_s:
            await asyncio.sleep(self._limits.ping_every_s)
            try:
                async with asyncio.timeout(self._limits.stall_s):
                    await self._socket.ping()
            except TimeoutError:
                return _Closing(WSCloseCode.TRY_AGAIN_LATER, "pings were not taken off in time")
            except ConnectionError:
                return _Closing(None, "left")
        return _Closing(WSCloseCode.TRY_AGAIN_LATER, "pings were not answered")

    async def _close(self, closing: _Closing) -> None:
        if closing.code is None:
            return
        if closing.code == WSCloseCode.TRY_AGAIN_LATER:
            log.info("notification client closed", reason=closing.reason, remote=self._request.remote)
        try:
            async with asyncio.timeout(self._limits.close_grace_s):
                await self._socket.close(code=closing.code, message=closing.reason.encode())
        except (TimeoutError, ConnectionError):
            # It does not even read the goodbye: whatever is buffered for it is dropped.
            if self._request.transport is not None:
                self._request.transport.abort()


def _limit_send_buffer(request: web.Request, size_bytes: int) -> None:
    """Keeps the kernel from buffering megabytes for a client that does not read."""
    connection = request.transport.get_extra_info("socket") if request.transport is not None else None
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size_bytes)
