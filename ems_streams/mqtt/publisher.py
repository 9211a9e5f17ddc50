"""Publishes to MQTT with QoS 1: a publish has returned only when the broker has acknowledged it."""

import asyncio
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import mqtt5
import structlog

from ems_streams.errors import EmsError
from ems_streams.mqtt.connection import CONNECT_TIMEOUT_S, Connection
from ems_streams.mqtt.endpoint import Login, TlsFiles, parse_url
from ems_streams.mqtt.reconnecting import connect_patiently

log = structlog.get_logger(__name__)

_LAST_PACKET_ID = 65_535
_TAKEN = (mqtt5.PubAckReasonCode.SUCCESS, mqtt5.PubAckReasonCode.NO_MATCHING_SUBSCRIBERS)


class PublishRefusedError(EmsError):
    """The broker answered a publish with a reason code of failure, such as NOT_AUTHORIZED."""

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(f"the MQTT broker refused a publish to {topic}: {reason}")


class _Unacknowledged:
    """A QoS 1 message between `publish` and its PUBACK; also the waiter that a connection answers to."""

    __slots__ = ("_owner", "done", "packet_id", "payload", "retain", "topic")

    def __init__(
        self,
        owner: "MqttPublisher",
        packet_id: int,
        topic: str,
        payload: bytes,
        retain: bool,
    ) -> None:
        self._owner = owner
        self.packet_id = packet_id
        self.topic = topic
        self.payload = payload
        self.retain = retain
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def packet(self) -> mqtt5.PublishPacket:
        return mqtt5.PublishPacket(
            self.topic,
            self.payload,
            qos=mqtt5.QoS.AT_LEAST_ONCE,
            retain=self.retain,
            packet_id=self.packet_id,
        )

    def set_result(self, packet: mqtt5.PubAckPacket, /) -> None:
        self._owner._acknowledged(self, packet.reason_code)


class MqttPublisher:
    """Publisher with one connection that is renewed for as long as the context lasts.

    What is not acknowledged when a connection breaks is published again on the next one, in the original order, so a
    message may arrive twice but is never lost while the publisher lives. Messages of one caller that awaits each
    publish keep their order; so do those of callers that start one after the other.

    Args:
        url: `mqtt://host:port` or `mqtts://host:port`.
        client_id: Name of this client at the broker; two at the same time disconnect each other.
        username: MQTT user; wins over one in the URL.
        password: MQTT password.
        window: Messages in flight; further publishes wait.
        keep_alive_s: Longest silence on the wire.
        tls: For `mqtts`: whom to trust, and what to show.

    Attributes:
        trouble: Why there is no connection, as far as is known; empty when there is one.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        username: str | None = None,
        password: str | None = None,
        *,
        window: int = 1000,
        keep_alive_s: int = 15,
        tls: TlsFiles | None = None,
    ) -> None:
        self.endpoint, login = parse_url(url, tls)
        self.trouble = ""
        self._login = Login(username, password) if username is not None else login
        self._client_id = client_id
        self._keep_alive_s = keep_alive_s
        self._window = asyncio.BoundedSemaphore(window)
        self._packet_ids = _packet_ids()
        self._unacknowledged: dict[int, _Unacknowledged] = {}
        self._unsent: deque[_Unacknowledged] = deque()
        self._in_flight = 0
        self._connection: Connection | None = None
        self._connected = asyncio.Event()
        self._flush_scheduled = False

    @property
    def connected(self) -> bool:
        """Whether there is a connection right now."""
        return self._connected.is_set()

    async def __aenter__(self) -> Self:
        self._supervisor = asyncio.create_task(self._supervise(), name=f"mqtt publisher {self._client_id}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._supervisor.cancel()
        await asyncio.gather(self._supervisor, return_exceptions=True)
        for entry in self._unacknowledged.values():
            entry.done.cancel()

    async def wait_connected(self) -> None:
        """Return when a connection is there."""
        await self._connected.wait()

    async def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        """Publish; with QoS 1 returns when the broker has acknowledged, with QoS 0 when it is on the way.

        Waits through outages of the broker for as long as the caller does. Raises `PublishRefusedError` when the broker
        says no, and `ValueError` for QoS 2.
        """
        if qos == 0:
            await self._publish_unacknowledged(topic, payload, retain)
            return
        if qos != 1:
            raise ValueError(f"QoS {qos}: only 0 and 1 are offered")
        async with self._window:
            entry = _Unacknowledged(self, self._free_packet_id(), topic, payload, retain)
            self._unacknowledged[entry.packet_id] = entry
            self._unsent.append(entry)
            self._schedule_flush()
            # A caller that gives up does not take its message back: the broker may have it already.
            await asyncio.shield(entry.done)

    async def _publish_unacknowledged(self, topic: str, payload: bytes, retain: bool) -> None:
        await self._connected.wait()
        if self._connection is not None:
            self._connection.write(mqtt5.PublishPacket(topic, payload, retain=retain).write())
            await self._connection.drain()

    def _free_packet_id(self) -> int:
        return next(packet_id for packet_id in self._packet_ids if packet_id not in self._unacknowledged)

    def _schedule_flush(self) -> None:
        # One write for all that is published in one turn of the loop.
        if not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        connection = self._connection
        if connection is None:
            return
        data = []
        while self._unsent and self._in_flight < connection.broker_receive_max:
            entry = self._unsent.popleft()
            data.append(connection.send_publish(entry.packet(), entry))
            self._in_flight += 1
        if data:
            connection.write(b"".join(data))

    def _acknowledged(self, entry: _Unacknowledged, reason: mqtt5.PubAckReasonCode) -> None:
        self._in_flight -= 1
        self._unacknowledged.pop(entry.packet_id, None)
        if self._connection is not None:
            self._connection.forget(entry.packet_id)
        if not entry.done.done():
            if reason in _TAKEN:
                entry.done.set_result(None)
            else:
                entry.done.set_exception(PublishRefusedError(entry.topic, reason.name))
        if self._unsent:
            self._schedule_flush()

    async def _supervise(self) -> None:
        while True:
            connection = await connect_patiently(self._open, lambda: self.trouble)
            self._unsent = deque(self._unacknowledged.values())
            self._in_flight = 0
            self._connection = connection
            self._connected.set()
            self._schedule_flush()
            try:
                reason = await connection.lost()
                log.warning("mqtt_publisher_lost", broker=str(self.endpoint), reason=reason)
            finally:
                self._connected.clear()
                self._connection = None
                await connection.close()

    async def _open(self) -> Connection:
        connection = Connection(
            self.endpoint,
            self._login,
            self._client_id,
            clean_start=True,
            session_expiry_s=0,
            keep_alive_s=self._keep_alive_s,
        )
        try:
            await connection.open(CONNECT_TIMEOUT_S)
        except BaseException as error:
            self.trouble = connection.why(error)
            raise
        self.trouble = ""
        return connection


def _packet_ids() -> Iterator[int]:
    while True:
        yield from range(1, _LAST_PACKET_ID + 1)
