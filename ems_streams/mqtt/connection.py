"""One connection to an MQTT 5 broker: the single place that reaches into the private parts of aiomqtt 3.0.0a1.

Seven things of that version cannot be had through its public interface, and are replaced here:

* it connects with a blocking `socket.connect`, over IPv4 only: `_connect` uses asyncio's, with a deadline around it;
* it drops a QoS 0 message when no consumer waits at that very instant, which is so for all but the first packet of one
  read: `_getters` is a sink that takes each message synchronously;
* one PUBACK is one write and one task switch: `acknowledge` writes many at once;
* `publish` needs three futures per message: `send_publish` leaves the waiting to the caller;
* one PINGREQ at a time can be waited for, and a second one breaks the connection: `_pending_pingresp` waits for any number;
* a PUBREC or PUBCOMP that no call waits for is dropped, as after a reconnect or a restart: `_Answers` hands over each of them;
* its input buffer takes 16 MiB from the start: `InputBuffer` takes what it needs.

A connection lives once. Reconnecting means making a new one, so that no packet id of an old connection survives.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, Self, cast

import aiomqtt
import mqtt5
import structlog

from ems_streams.mqtt.endpoint import Endpoint, Login
from ems_streams.mqtt.input_buffer import InputBuffer
from ems_streams.mqtt.refusals import refusal

log = structlog.get_logger(__name__)

# The library makes its buffer in the constructor, before anything can be put in its place.
aiomqtt._client._SlidingWindowBuffer = InputBuffer  # type: ignore[misc,assignment]  # has all that is used of it

MAX_PACKET_BYTES = 16 * 1024 * 1024 - 64 * 1024
"""Largest packet we ask the broker for: the input buffer of the library holds 16 MiB and fails beyond."""
CONNECT_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 2.0

FAILURES = (
    OSError,
    aiomqtt.ConnectError,
    aiomqtt.ProtocolError,
    aiomqtt.NegativeAckError,
    RuntimeError,  # what uvloop raises for a write to a transport that is closed already, where asyncio raises an OSError
)
"""What opening or using a connection may raise: each means "close it and try a new one"."""


class Acknowledgement(Protocol):
    """Who waits for a PUBACK."""

    def set_result(self, packet: mqtt5.PubAckPacket, /) -> None:
        """Called once, from the receiving task, with the broker's answer."""


class _Sink:
    """Stands in for the library's queue of waiting consumers: one is always there, and it takes the packet at once."""

    def __init__(self, deliver: Callable[[mqtt5.PublishPacket], None], release: Callable[[int], None]) -> None:
        self._deliver = deliver
        self._release = release

    def __len__(self) -> int:
        return 1

    def popleft(self) -> Self:
        return self

    def set_result(self, packet: mqtt5.PublishPacket | mqtt5.PubRelPacket) -> None:
        if isinstance(packet, mqtt5.PublishPacket):
            self._deliver(packet)
        else:
            self._release(packet.packet_id)

    def clear(self) -> None:
        """Nothing ever waits."""


class _Pongs:
    """Stands in for the library's one waiter for a PINGRESP: answers come in the order of the pings, whoever sent them."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[mqtt5.PingRespPacket]] = deque()

    def expect(self) -> "asyncio.Future[mqtt5.PingRespPacket]":
        """What the answer to the ping that is sent next will be."""
        self._waiting.append(asyncio.get_running_loop().create_future())
        return self._waiting[-1]

    def set_result(self, packet: mqtt5.PingRespPacket) -> None:
        if self._waiting and not (waiter := self._waiting.popleft()).done():
            waiter.set_result(packet)


class _Answers:
    """Stands in for the library's waiters for PUBREC, or for PUBCOMP: whoever publishes with QoS 2 gets all of them, in their order."""

    def __init__(self, deliver: Callable[[mqtt5.PubRecPacket | mqtt5.PubCompPacket], None]) -> None:
        self._deliver = deliver

    def __getitem__(self, packet_id: int) -> Self:
        return self

    def set_result(self, packet: mqtt5.PubRecPacket | mqtt5.PubCompPacket) -> None:
        self._deliver(packet)


class _Uncounted:
    """Stands in for the library's count of publishes in flight: the publisher has its own window."""

    def release(self) -> None:
        """Nothing is counted."""


class Connection(aiomqtt.Client):
    """A connection from `open` until `lost` returns or `close` is called.

    Args:
        endpoint: The broker.
        login: Who we are.
        client_id: Stable name of the session.
        clean_start: Whether to throw away what the broker kept for this client.
        session_expiry_s: How long the broker keeps the session after the connection is gone.
        keep_alive_s: Longest silence on the wire; a broker that does not answer a ping within half of it is gone.
        receive_max: Messages of QoS 1 and 2 that the broker may send ahead of acknowledgements.
        on_message: Called synchronously with each PUBLISH, in the order of arrival; must be fast and must not raise.
        on_release: Likewise, with the packet id of each PUBREL.
        on_answer: The same with each PUBREC and PUBCOMP, for who publishes with QoS 2.

    Attributes:
        endpoint: The broker.
        asked: Whether CONNECT may have reached the broker.
        greeting: The broker's CONNACK, if it has come.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        login: Login,
        client_id: str,
        *,
        clean_start: bool,
        session_expiry_s: int,
        keep_alive_s: int,
        receive_max: int = 65_535,
        on_message: Callable[[mqtt5.PublishPacket], None] = lambda packet: None,
        on_release: Callable[[int], None] = lambda packet_id: None,
        on_answer: Callable[[mqtt5.PubRecPacket | mqtt5.PubCompPacket], None] | None = None,
    ) -> None:
        super().__init__(
            hostname=endpoint.host,
            port=endpoint.port,
            identifier=client_id,
            ssl_context=endpoint.ssl_context(),
            username=login.username,
            password=login.password_bytes,
            clean_start=clean_start,
            session_expiry_interval=session_expiry_s,
            keep_alive=keep_alive_s,
            receive_max=receive_max,
            max_packet_size=MAX_PACKET_BYTES,
        )
        self.endpoint = endpoint
        self._login = login
        self._getters = cast("Any", _Sink(on_message, on_release))
        if on_answer is not None:
            self._pending_pubrecs = self._pending_pubcomps = cast("Any", _Answers(on_answer))
        self._pongs = _Pongs()
        self._pending_pingresp = cast("Any", self._pongs)
        self._may_read = asyncio.Event()
        self._may_read.set()
        self.session_present = False
        self.taken_over = False
        self._goodbye = ""
        self.broker_receive_max = 65_535
        self.asked = False
        self.greeting: mqtt5.ConnAckPacket | None = None

    async def open(self, timeout_s: float) -> None:
        """Connect within the deadline; raises one of `FAILURES`, and leaves nothing open then."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._connect()
        except BaseException:
            cast("Any", self._buffer_in).drop()
            raise
        self._tasks = asyncio.create_task(self._run_background_tasks(), name=f"mqtt {self.identifier}")

    def why(self, error: BaseException) -> str:
        """What keeps this connection from being used, in words that say what to do."""
        return refusal(error, self.endpoint, self._login, self.greeting, asked=self.asked)

    async def _connect(self) -> None:
        tls_name = self._hostname if self._ssl_context else None
        self._reader, self._writer = await asyncio.open_connection(
            self._hostname, self._port, ssl=self._ssl_context, server_hostname=tls_name
        )
        try:
            await self._greet()
        except BaseException:
            self._writer.transport.abort()
            raise

    async def _greet(self) -> None:
        self.asked = True
        await self._send(
            mqtt5.ConnectPacket(
                self.identifier,
                username=self._username,
                password=self._password,
                clean_start=self._clean_start,
                keep_alive=self._keep_alive,
                session_expiry_interval=self._session_expiry_interval,
                receive_max=self._receive_max,
                max_packet_size=self._max_packet_size,
            )
        )
        answer = await self._receive()
        if not isinstance(answer, mqtt5.ConnAckPacket):
            raise aiomqtt.ProtocolError(f"expected CONNACK, received {type(answer).__name__}")
        self.greeting = answer
        if answer.reason_code != mqtt5.ConnAckReasonCode.SUCCESS:
            raise aiomqtt.NegativeAckError(answer)
        self._keep_alive = answer.server_keep_alive if answer.server_keep_alive is not None else self._keep_alive
        self._send_semaphore = cast("Any", _Uncounted())
        self._disconnected = asyncio.get_running_loop().create_future()
        self._connected.set_result(answer)
        self.session_present = answer.session_present
        self.broker_receive_max = answer.receive_max

    async def subscribe_shared(self, group: str, pattern: str, timeout_s: float) -> None:
        """Join a shared subscription at QoS 1; raises one of `FAILURES`, also when the broker refuses or grants less.

        Retained messages are not sent for shared subscriptions (MQTT-3.8.4.8), so none is asked for.
        """
        async with asyncio.timeout(timeout_s):
            subscribing = self.subscribe(
                f"$share/{group}/{pattern}",
                max_qos=mqtt5.QoS.AT_LEAST_ONCE,
                retain_as_published=True,
                retain_handling=mqtt5.RetainHandling.SEND_NEVER,
            )
            await self._granted(subscribing, mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE, pattern)

    async def subscribe_exactly_once(self, pattern: str, timeout_s: float) -> None:
        """Subscribe at QoS 2, without retained messages; raises one of `FAILURES`, also when the broker refuses or grants less."""
        async with asyncio.timeout(timeout_s):
            subscribing = self.subscribe(pattern, max_qos=mqtt5.QoS.EXACTLY_ONCE, retain_handling=mqtt5.RetainHandling.SEND_NEVER)
            await self._granted(subscribing, mqtt5.SubAckReasonCode.GRANTED_QOS_EXACTLY_ONCE, pattern)

    async def _granted(self, subscribing: Awaitable[mqtt5.SubAckPacket], wanted: mqtt5.SubAckReasonCode, pattern: str) -> None:
        try:
            code = (await subscribing).reason_codes[0]
        except aiomqtt.NegativeAckError as error:
            if mqtt5.SubAckReasonCode.NOT_AUTHORIZED.name not in str(error):
                raise
            who = self._login.username or "this client"
            said = f"{self.endpoint} does not let {who} read {pattern} (NOT_AUTHORIZED): grant it that in the broker"
            raise aiomqtt.ProtocolError(said) from None
        if code != wanted:
            raise aiomqtt.ProtocolError(f"SUBACK granted {code.name}; QoS {wanted.value} is needed")

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Queue PUBACKs in the given order, in one write; nothing is sent once the connection is gone."""
        if packet_ids:
            self.write(b"".join([mqtt5.PubAckPacket(packet_id).write() for packet_id in packet_ids]))

    def received(self, packet_id: int) -> None:
        """Queue the PUBREC of a QoS 2 message: it is in our hands now."""
        self.write(mqtt5.PubRecPacket(packet_id).write())

    def completed(self, packet_id: int, *, known: bool) -> None:
        """Queue the PUBCOMP that answers a PUBREL; `known` says whether there was a message of this id."""
        reason = mqtt5.PubCompReasonCode.SUCCESS if known else mqtt5.PubCompReasonCode.PACKET_ID_NOT_FOUND
        self.write(mqtt5.PubCompPacket(packet_id, reason_code=reason).write())

    def send_publish(self, packet: mqtt5.PublishPacket, waiter: Acknowledgement) -> bytes:
        """Register who waits for the PUBACK of a packet and return the bytes to `write`."""
        assert packet.packet_id is not None
        self._pending_pubacks[packet.packet_id] = cast("Any", waiter)
        return packet.write()

    async def ping(self) -> None:
        """Return when the broker has answered, and with it all that it had sent before; waits for ever when the connection is gone.

        Does not count as something sent: the keep alive, which finds out that a broker is gone, goes on as if there were no such pings.
        """
        answer = self._pongs.expect()
        if not self._writer.is_closing():
            self._writer.write(mqtt5.PingReqPacket().write())
        await answer

    async def _pingreq(self) -> mqtt5.PingRespPacket:
        answer = self._pongs.expect()
        await self._send(mqtt5.PingReqPacket())
        return await self._disconnected_or(answer)

    def forget(self, packet_id: int) -> None:
        """Free the id of a packet that has been acknowledged."""
        self._pending_pubacks.pop(packet_id, None)

    def write(self, data: bytes) -> bool:
        """Queue bytes of whole packets for the broker; a loss shows in `lost`. False when the connection is being closed, and nothing was queued."""
        if self._writer.is_closing():
            return False
        self._writer.write(data)
        self._most_recent_packet_sent_time = time.monotonic()
        return True

    def abort(self) -> None:
        """Cut it off at once; `lost` says so."""
        self._writer.transport.abort()

    async def drain(self) -> None:
        """Wait until the socket takes more; a loss shows in `lost`."""
        # It raises whatever has ended the connection, such as a time-out or an error of TLS.
        with contextlib.suppress(*FAILURES):
            await self._writer.drain()

    def pause_reading(self) -> None:
        """Read no further packet until `resume_reading`; a pause longer than the keep alive costs the connection."""
        self._may_read.clear()

    def resume_reading(self) -> None:
        """Read on."""
        self._may_read.set()

    async def _receive(self) -> mqtt5.Packet:
        if not self._may_read.is_set():
            await self._may_read.wait()
        packet = await super()._receive()
        if isinstance(packet, mqtt5.DisconnectPacket):
            self.taken_over = packet.reason_code == mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER
            self._goodbye = packet.reason_code.name.lower().replace("_", " ")
        return packet

    async def lost(self) -> str:
        """Wait until the connection is gone; returns what is known of the reason.

        The library's tasks also end by themselves, without marking the connection as lost: with an error of the socket,
        or with a packet beyond the input buffer.
        """
        await asyncio.wait((self._tasks, self._disconnected), return_when=asyncio.FIRST_COMPLETED)
        if self._tasks.done() and not self._tasks.cancelled():
            return _root_cause(self._tasks.exception())
        return f"closed by the broker: {self._goodbye}" if self._goodbye else "closed by the broker, or the broker did not answer"

    async def close(self, *, forget_session: bool = False) -> None:
        """Disconnect, keeping the session at the broker unless told otherwise; returns within `CLOSE_TIMEOUT_S`, and never raises."""
        if not hasattr(self, "_tasks"):
            return
        self._tasks.cancel()
        # All of it: who is cancelled while this is under way leaves nothing open either.
        try:
            await asyncio.gather(self._tasks, return_exceptions=True)
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._disconnect(session_expiry_interval=0 if forget_session else None)
        except FAILURES:
            pass
        finally:
            self._writer.transport.abort()
            # Tasks that have ended and the errors of theirs hold the connection until the collector finds them.
            cast("Any", self._buffer_in).drop()


def _root_cause(error: BaseException | None) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return "ended" if error is None else f"{type(error).__name__}: {error}"
