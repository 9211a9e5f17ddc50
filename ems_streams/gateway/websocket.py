"""`/ws/notifications`: every notification as it comes, resumed exactly from a cursor."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from aiohttp import WSCloseCode, WSMsgType, web
from aiokafka.errors import KafkaError

from ems_streams.domain.events import format_time
from ems_streams.gateway.cursors import decode_feed
from ems_streams.gateway.feed_reader import FeedOvertookError, FeedReader, FeedReplacedError
from ems_streams.gateway.frames import Chunks, heartbeat_frame
from ems_streams.gateway.notification_list import ring_of
from ems_streams.gateway.notifications import Feed
from ems_streams.gateway.openapi.describe import Says, describe
from ems_streams.gateway.openapi.parameters import DEVICES, HEARTBEAT, KINDS, SEVERITIES, SINCE_CURSOR, SITES
from ems_streams.gateway.openapi.words import NOTIFICATIONS
from ems_streams.gateway.parameters import bad_parameter, cursor_of, filter_of, heartbeat_of
from ems_streams.gateway.security.asking import still_let_in
from ems_streams.gateway.security.authentication import SUBPROTOCOL, check_subprotocols
from ems_streams.gateway.security.browsers import check_origin
from ems_streams.metrics.gateway import CLOSED, SENT_BYTES
from ems_streams.ops.http import ProblemError

log = structlog.get_logger(__name__)

MAX_CLIENTS = 2000
MAX_BACKFILLS = 4
PACE_PER_CLIENT_S = 50e-6
"""Clients are told together at most once in this time for each of them: at 1,000 clients 20 times a second. A guess at what telling one costs, not a measurement."""
UNAUTHORISED = 4401
"""Code of a WebSocket that is closed because its token counts no more."""
_BUFFERED_BYTES = 64 * 1024
_LOOK_AGAIN_S = 0.02


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may cost.

    Attributes:
        ping_every_s: How often a client is asked whether it is there.
        silence_s: A client that was not heard for so long is gone.
        stall_s: Longest time that what was given to the connection may take to be taken off.
        close_grace_s: How long a client has to read that it was closed.
        send_buffer_bytes: Kernel's buffer of its connection.
        token_check_s: How often it is looked whether its token still counts.
    """

    ping_every_s: float = 15.0
    silence_s: float = 40.0
    stall_s: float = 5.0
    close_grace_s: float = 15.0
    send_buffer_bytes: int = 128 * 1024
    token_check_s: float = 1.0


@dataclass(frozen=True, slots=True)
class _Closing:
    """Why a session ends; without a code the client has left by itself.

    Attributes:
        code: Of the WebSocket.
        reason: In words, for the client.
        label: In one word, for the metrics.
    """

    code: int | None
    reason: str
    label: str


class NotificationSocket:
    """Accepts the clients; each reads from the feed's ring at its own pace, and holds nothing of its own.

    The ring is the bound: a client that falls behind its oldest entry, or does not take what it was given for `stall_s`, is
    closed with 1013 (try again later) and can resume from its cursor. Nobody waits for it. A notification is made into a
    message once for all clients; those that want the same get the same bytes.
    """

    def __init__(self, feed: Feed, limits: Limits | None = None, *, origins: Collection[str] = ()) -> None:
        self._feed = feed
        self._origins = origins
        self._limits = limits or Limits()
        self._sessions: set[_Session] = set()
        self._backfills = asyncio.Semaphore(MAX_BACKFILLS)
        self._chunks = Chunks()

    @property
    def clients(self) -> int:
        """Clients connected now."""
        return len(self._sessions)

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/ws/notifications", self._handle)]

    async def watched(self, _: web.Application) -> AsyncIterator[None]:
        """Closes, for as long as the application runs, who would not be let in any more; for `app.cleanup_ctx`."""
        watching = asyncio.create_task(self._watch(), name="tokens of clients")
        yield
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._limits.token_check_s)
            for session in [each for each in self._sessions if not each.let_in]:
                session.end(_Closing(UNAUTHORISED, "the token counts no more, or not as it did", "revoked"))

    async def shut_down(self, _: web.Application) -> None:
        """Tells every client to come back later (1001); for `app.on_shutdown`."""
        for session in list(self._sessions):
            session.end(_Closing(WSCloseCode.GOING_AWAY, "the gateway is stopping", "stopping"))

    @describe(
        "a WebSocket with notifications as they come",
        tag=NOTIFICATIONS,
        text="Messages are described in `/asyncapi.json`. Without an upgrade the answer is 426.",
        answers={101: Says("The WebSocket is open.", media_type=None)},
        parameters=(SINCE_CURSOR, SITES, DEVICES, SEVERITIES, KINDS, HEARTBEAT),
        problems={
            426: "No upgrade to a WebSocket was asked for.",
            503: "The notifications are not read back yet, or too many are connected.",
        },
        more="[notifications](../howto/notifications-over-websocket.md)",
    )
    async def _handle(self, request: web.Request) -> web.StreamResponse:
        check_origin(request, self._origins)
        check_subprotocols(request)
        since = cursor_of(request, decode_feed, "since")
        wanted = filter_of(request)
        heartbeat_s = heartbeat_of(request)
        ring = ring_of(self._feed)
        if since is not None and len(since) > len(ring.after):
            raise bad_parameter("since", "the cursor is of a feed with more partitions")
        if len(self._sessions) >= MAX_CLIENTS:
            raise ProblemError(503, "Too many clients", f"{MAX_CLIENTS} are connected.", headers={"Retry-After": "10"})
        connection = web.WebSocketResponse(protocols=(SUBPROTOCOL,), autoping=False, compress=False, max_msg_size=4096, timeout=3.0)
        if not connection.can_prepare(request):
            detail = "This is a WebSocket; ask for an upgrade, or read GET /api/v1/notifications."
            raise ProblemError(426, "Upgrade required", detail, headers={"Upgrade": "websocket"})
        reader = FeedReader(self._feed, ring, since, wanted=wanted, chunks=self._chunks, backfills=self._backfills)
        await connection.prepare(request)
        session = _Session(request, connection, reader, self._limits, heartbeat_s)
        self._sessions.add(session)
        self._keep_pace()
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
            self._keep_pace()
        return connection

    def _keep_pace(self) -> None:
        self._feed.pace_s = len(self._sessions) * PACE_PER_CLIENT_S


class _Session:
    """One client: sends, listens and pings at the same time, until one of them has a reason to end."""

    def __init__(
        self, request: web.Request, socket: web.WebSocketResponse, reader: FeedReader, limits: Limits, heartbeat_s: int | None
    ) -> None:
        self._request = request
        self._socket = socket
        self._reader = reader
        self._limits = limits
        self._heartbeat_s = heartbeat_s
        self._heard_at = time.monotonic()
        self._ended: asyncio.Future[_Closing] = asyncio.get_running_loop().create_future()
        _limit_send_buffer(request, limits.send_buffer_bytes)

    def end(self, closing: _Closing) -> None:
        """Ends the session from outside."""
        if not self._ended.done():
            self._ended.set_result(closing)

    @property
    def let_in(self) -> bool:
        """Whether the client would be let in now."""
        return still_let_in(self._request)

    async def run(self) -> None:
        """Serves the client until it leaves or is closed."""
        parts = [self._send, self._listen, self._ping] + ([self._beat] if self._heartbeat_s else [])
        tasks = [asyncio.ensure_future(part()) for part in parts]
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
                async for frames in messages:
                    self._write(frames)
                    await self._taken_off()
        except TimeoutError:
            return _Closing(WSCloseCode.TRY_AGAIN_LATER, "messages were not taken off in time", "slow")
        except FeedOvertookError:
            return _Closing(WSCloseCode.TRY_AGAIN_LATER, "fell too far behind", "slow")
        except FeedReplacedError:
            return _Closing(WSCloseCode.SERVICE_RESTART, "the feed begins anew", "replaced")
        except KafkaError:
            return _Closing(WSCloseCode.TRY_AGAIN_LATER, "older notifications cannot be read now", "kafka")
        except ConnectionError:
            pass
        return _Closing(None, "left", "left")

    def _write(self, frames: bytes) -> None:
        """Gives whole frames to the connection; raises `ConnectionError` when it has gone."""
        transport = self._request.transport
        # Past aiohttp's writer, which would make each frame anew for each client; without compression there is no state in it.
        if transport is None or transport.is_closing() or self._socket.closed:
            raise ConnectionResetError("the client has gone")
        transport.write(frames)
        SENT_BYTES.inc(len(frames))

    async def _taken_off(self) -> None:
        """Returns when the client has room for more; raises `TimeoutError` when that takes too long."""
        deadline_s = time.monotonic() + self._limits.stall_s
        while (transport := self._request.transport) is not None:
            if transport.get_write_buffer_size() <= _BUFFERED_BYTES:
                return
            if time.monotonic() > deadline_s:
                raise TimeoutError
            # aiohttp's own waiting for this is private; only who has more than a piece waiting gets here.
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _beat(self) -> _Closing:
        """Tells the cursor from time to time, so that a client that wants little does not come back with an old one."""
        assert self._heartbeat_s is not None
        try:
            while True:
                await asyncio.sleep(self._heartbeat_s)
                cursor = self._reader.cursor
                if cursor is not None:
                    self._write(heartbeat_frame(cursor, format_time(datetime.now(UTC))))
        except ConnectionError:
            return _Closing(None, "left", "left")

    async def _listen(self) -> _Closing:
        while True:
            message = await self._socket.receive()
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return _Closing(None, "left", "left")
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
                return _Closing(WSCloseCode.TRY_AGAIN_LATER, "pings were not taken off in time", "slow")
            except ConnectionError:
                return _Closing(None, "left", "left")
        return _Closing(WSCloseCode.TRY_AGAIN_LATER, "pings were not answered", "silent")

    async def _close(self, closing: _Closing) -> None:
        CLOSED.labels(closing.label).inc()
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
