"""Receives with QoS 2 in a persistent session: each message is taken once, and taken before the broker is told so."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import mqtt5
import structlog

from ems_streams.domain.identifiers import record_identity
from ems_streams.mqtt.connection import CONNECT_TIMEOUT_S, Connection
from ems_streams.mqtt.endpoint import Login, TlsFiles, parse_url
from ems_streams.mqtt.receipts import Receipts
from ems_streams.mqtt.reconnecting import connect_patiently

log = structlog.get_logger(__name__)

SESSION_EXPIRY_S = 86_400
RECEIVE_MAX = 1000


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as it came.

    Attributes:
        packet_id: Of its QoS 2 exchange; None for QoS 0 and 1.
        identity: What it is told by, beside its packet id, when it is sent again.
        again: It was taken before, and the broker has sent it once more.
        flagged: The broker says itself that this is a repetition (DUP).
        expiry_s: How many seconds it was still good for when the broker sent it; None for ever.
    """

    topic: str
    payload: bytes
    packet_id: int | None
    identity: bytes
    again: bool
    flagged: bool
    response_topic: str | None
    correlation_data: bytes | None
    expiry_s: int | None


class MqttReceiver:
    """One session with one subscription, on a connection that is renewed for as long as the context lasts.

    Guarantees: `on_message` has returned before the broker gets the PUBREC, so a crash before that means that the message comes again.
    What comes again is handed over with `again` set. While the context is not there, the broker keeps messages for
    `SESSION_EXPIRY_S`.

    Args:
        url: `mqtt://host:port` or `mqtts://host:port`.
        client_id: Name of the session; two receivers with one name disconnect each other.
        pattern: What to subscribe to.
        on_message: Called synchronously with each message, in the order of arrival. What it raises costs the connection, and the message
            comes again.
        on_release: Likewise, with the packet id of a message that will not come again.
        on_taken_over: Called when another client has come with this name; nothing is received any more then.
        receipts: What was taken in this session before, by another receiver or another process.
        tls: For `mqtts`: whom to trust, and what to show.

    Attributes:
        trouble: Why nothing can be received, as far as is known; empty when all is well.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        pattern: str,
        on_message: Callable[[Delivery], None],
        *,
        on_release: Callable[[int], None] = lambda packet_id: None,
        on_taken_over: Callable[[], None] = lambda: None,
        receipts: Receipts | None = None,
        username: str | None = None,
        password: str | None = None,
        keep_alive_s: int = 15,
        tls: TlsFiles | None = None,
    ) -> None:
        self.endpoint, login = parse_url(url, tls)
        self.trouble = ""
        self._login = Login(username, password) if username is not None else login
        self._client_id = client_id
        self._pattern = pattern
        self._on_message = on_message
        self._on_release = on_release
        self._on_taken_over = on_taken_over
        self._receipts = Receipts() if receipts is None else receipts
        self._keep_alive_s = keep_alive_s
        self._connection: Connection | None = None
        self._subscription_known = False
        self._connected = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._supervisor = asyncio.create_task(self._supervise(), name=f"mqtt receiver {self._client_id}")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._supervisor.cancel()
        await asyncio.gather(self._supervisor, return_exceptions=True)

    @property
    def connected(self) -> bool:
        """Whether messages can come right now."""
        return self._connected.is_set()

    async def wait_connected(self) -> None:
        """Return when messages can come: from then on the broker keeps all that are published."""
        await self._connected.wait()

    async def _supervise(self) -> None:
        while True:
            connection = await connect_patiently(self._open, lambda: self.trouble)
            self._connected.set()
            try:
                reason = await connection.lost()
                log.warning("mqtt_receiver_lost", client_id=self._client_id, broker=str(self.endpoint), reason=reason)
            finally:
                self._connected.clear()
                self._connection = None
                await connection.close()
            if connection.taken_over:
                self._on_taken_over()
                return

    async def _open(self) -> Connection:
        # As in the adapter: a session that was there before is subscribed on a connection that takes nothing, and then resumed.
        if not self._subscription_known:
            connection = await self._establish(taking=False)
            await self._subscribe(connection)
            await connection.close()
            self._subscription_known = True
        connection = await self._establish(taking=True)
        if not connection.session_present:
            await self._subscribe(connection)
        return connection

    async def _subscribe(self, connection: Connection) -> None:
        try:
            await connection.subscribe_exactly_once(self._pattern, CONNECT_TIMEOUT_S)
        except BaseException as error:
            self.trouble = connection.why(error)
            await connection.close()
            raise
        self.trouble = ""

    async def _establish(self, *, taking: bool) -> Connection:
        connection = Connection(
            self.endpoint,
            self._login,
            self._client_id,
            clean_start=False,
            session_expiry_s=SESSION_EXPIRY_S,
            keep_alive_s=self._keep_alive_s,
            receive_max=RECEIVE_MAX,
            on_message=self._receive if taking else lambda packet: None,
            on_release=self._release if taking else lambda packet_id: None,
        )
        # Before it is open: messages come with the session.
        self._connection = connection
        self._receipts.connected()
        try:
            await connection.open(CONNECT_TIMEOUT_S)
        except BaseException as error:
            self.trouble = connection.why(error)
            raise
        if not connection.session_present:
            self._receipts.clear()
        return connection

    def _receive(self, packet: mqtt5.PublishPacket) -> None:
        payload = packet.payload or b""
        identity = record_identity(packet.topic.encode() + b"\0" + payload)
        exactly_once = packet.packet_id is not None and packet.qos == mqtt5.QoS.EXACTLY_ONCE
        again = exactly_once and not self._receipts.take(packet.packet_id or 0, identity)
        delivery = Delivery(
            packet.topic,
            payload,
            packet.packet_id if exactly_once else None,
            identity,
            again,
            packet.duplicate,
            packet.response_topic,
            packet.correlation_data,
            packet.message_expiry_interval,
        )
        try:
            self._on_message(delivery)
        except BaseException:
            if exactly_once and not again:
                self._receipts.forget(packet.packet_id or 0)
            raise
        if packet.packet_id is None or self._connection is None:
            return
        if exactly_once:
            self._connection.received(packet.packet_id)
        else:
            self._connection.acknowledge([packet.packet_id])

    def _release(self, packet_id: int) -> None:
        known = self._receipts.release(packet_id)
        if known:
            self._on_release(packet_id)
        if self._connection is not None:
            self._connection.completed(packet_id, known=known)
