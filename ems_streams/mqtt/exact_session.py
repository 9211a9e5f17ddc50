"""Publishes with QoS 2 step by step: whoever uses it decides when each packet goes out, and remembers between the steps.

The library's own calls wait for the answers, and what they have no waiter for is dropped. Here each step is one call or one answer, so that what has been done can be made durable in
between, and another process can go on where this one ended: with the same client id it takes the session over, and with it what the broker knows of packet ids.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Final, Self

import mqtt5
import structlog

from ems_streams.mqtt.connection import CONNECT_TIMEOUT_S, Connection
from ems_streams.mqtt.endpoint import Endpoint, Login, broker_of
from ems_streams.mqtt.reconnecting import connect_patiently, rest_after
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

LAST_PACKET_ID: Final = 65_535
RECONNECT_MAX_S: Final = 2.0
"""Longest pause between two tries: what is published here expires, often within a minute, and there is one such session for each partition."""
_TAKEN: Final = (mqtt5.PubRecReasonCode.SUCCESS, mqtt5.PubRecReasonCode.NO_MATCHING_SUBSCRIBERS)


@dataclass(frozen=True, slots=True)
class ExactMessage:
    """What is published.

    Attributes:
        expiry_s: The broker gives it to nobody after this.
        answer_topic: Where the receiver is to answer.
        correlation: What its answer is recognised by.
    """

    topic: str
    payload: bytes
    expiry_s: int
    answer_topic: str
    correlation: bytes


class AnswerKind(Enum):
    """What the broker says to a packet id."""

    RECEIVED = "PUBREC"
    REFUSED = "PUBREC with an error"
    COMPLETED = "PUBCOMP"


@dataclass(frozen=True, slots=True)
class BrokerAnswer:
    """An answer of the broker; `reason` is the name of its reason code."""

    packet_id: int
    kind: AnswerKind
    reason: str


class ExactSession:
    """A persistent MQTT 5 session that publishes with QoS 2, on a connection that is renewed for as long as the context lasts.

    Guarantees: a packet is written on the connection that the caller knows of, or not at all; answers are kept in their order, also those of connections that
    are gone; nothing is ever sent again by itself.

    Args:
        settings: Session, and broker and login where `broker` does not say them.
        client_id: Of the session; whoever connects with it takes it over, and cuts off who had it.
        clean_start: Asked at each connect: whether nothing is under way, so that the broker may forget the session.
        on_change: Called when there is a connection or an answer.
        broker: As `broker_of` gives it, where its files were read before.

    Attributes:
        number: Of the connection, from 1; 0 before the first.
        session_present: Whether the broker still had the session when this connection was made, and all before it since `resumed`; also false when it may have said
            otherwise, and was not heard.
        answers: Those not taken yet.
    """

    def __init__(
        self,
        settings: Settings,
        client_id: str,
        *,
        clean_start: Callable[[], bool],
        on_change: Callable[[], None],
        broker: tuple[Endpoint, Login] | None = None,
    ) -> None:
        self._settings = settings
        self.endpoint, self._login = broker or broker_of(settings)
        self._client_id = client_id
        self._clean_start = clean_start
        self._on_change = on_change
        self._connection: Connection | None = None
        self.number = 0
        self.session_present = False
        self._lost = False
        self.answers: deque[BrokerAnswer] = deque()
        self.state = "connecting"

    async def __aenter__(self) -> Self:
        self._supervisor = asyncio.create_task(self._supervise(), name=f"mqtt session {self._client_id}")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._supervisor.cancel()
        await asyncio.gather(self._supervisor, return_exceptions=True)

    @property
    def connected(self) -> bool:
        """Whether there is a connection right now."""
        return self._connection is not None

    @property
    def room(self) -> int:
        """How many publishes the broker takes at the same time; 0 without a connection."""
        return 0 if self._connection is None else self._connection.broker_receive_max

    def publish(self, number: int, packet_id: int, message: ExactMessage, *, again: bool) -> bool:
        """Send PUBLISH; false when the connection of that number is gone, and nothing was sent."""
        packet = mqtt5.PublishPacket(
            message.topic,
            message.payload,
            qos=mqtt5.QoS.EXACTLY_ONCE,
            packet_id=packet_id,
            duplicate=again,
            message_expiry_interval=message.expiry_s,
            content_type="application/json",
            response_topic=message.answer_topic,
            correlation_data=message.correlation,
        )
        return self._write(number, packet.write())

    def release(self, number: int, packet_id: int) -> bool:
        """Send PUBREL; false when the connection of that number is gone."""
        return self._write(number, mqtt5.PubRelPacket(packet_id).write())

    def resumed(self, number: int) -> None:
        """What follows from `session_present` of this connection is durable; until then a later connection must not hide that the session was lost."""
        if number == self.number and self._connection is not None:
            self._lost = False

    def renew(self) -> None:
        """Give up the present connection, if there is one, and make another: only on a new one may anything be sent again (MQTT-4.4.0-1)."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def _write(self, number: int, data: bytes) -> bool:
        if self._connection is None or number != self.number:
            return False
        return self._connection.write(data)

    async def _supervise(self) -> None:
        while True:
            connection = await connect_patiently(self._open, lambda: self.state, RECONNECT_MAX_S)
            connected_s = time.monotonic()
            self.number += 1
            self._lost = self._lost or not connection.session_present
            self.session_present = not self._lost
            self._connection, self.state = connection, "connected"
            self._on_change()
            try:
                self.state = await connection.lost()
                log.warning("mqtt_session_lost", client_id=self._client_id, broker=str(self.endpoint), reason=self.state)
            finally:
                self._connection = None
                await connection.close()
            await rest_after(connected_s)

    async def _open(self) -> Connection:
        connection = Connection(
            self.endpoint,
            self._login,
            self._client_id,
            clean_start=self._clean_start(),
            session_expiry_s=self._settings.mqtt_session_expiry_s,
            keep_alive_s=self._settings.mqtt_keep_alive_s,
            on_answer=self._receive,
        )
        try:
            await connection.open(CONNECT_TIMEOUT_S)
        except BaseException as error:
            # A broker that had lost the session has made another by an answer that nobody has heard; one that refuses makes none.
            self._lost = self._lost or (connection.asked and connection.greeting is None)
            self.state = f"cannot connect: {connection.why(error)}"
            raise
        return connection

    def _receive(self, packet: mqtt5.PubRecPacket | mqtt5.PubCompPacket) -> None:
        if isinstance(packet, mqtt5.PubCompPacket):
            # That the broker does not know the id any more is what is wanted.
            kind = AnswerKind.COMPLETED
        else:
            kind = AnswerKind.RECEIVED if packet.reason_code in _TAKEN else AnswerKind.REFUSED
        self.answers.append(BrokerAnswer(packet.packet_id, kind, packet.reason_code.name))
        self._on_change()
