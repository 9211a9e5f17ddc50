"""Takes the messages of all devices from the MQTT broker, in batches that are acknowledged when they are safe elsewhere."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import mqtt5
import structlog

from ems_streams.metrics.ingress import MQTT_CONNECTIONS, MQTT_DROPPED
from ems_streams.mqtt.connection import CONNECT_TIMEOUT_S, FAILURES, Connection
from ems_streams.mqtt.endpoint import broker_of
from ems_streams.mqtt.inbox import Inbox, MqttBatch, MqttMessage
from ems_streams.mqtt.reconnecting import connect_patiently, rest_after
from ems_streams.mqtt.topics import ALL_SITES
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

BATCH_GAP_S = 0.005
"""Shortest time between two batches, so that one carries more than a message or two: each costs a request to Kafka of its own."""
MAX_BATCH_MESSAGES = 2000
MAX_BATCH_BYTES = 8 * 1024 * 1024
MAX_WAITING_QOS_0 = 20_000
MAX_WAITING_BYTES = 64 * 1024 * 1024
SETTLING_S = 5.0
"""How long a broker may take to begin sending what it has kept for us while we were away."""


@dataclass(frozen=True, slots=True)
class SubscriberStatus:
    """For health checks: whether messages can arrive, and one line about it."""

    connected: bool
    detail: str


class MqttSubscriber:
    """One replica of the ingress at the MQTT broker: a persistent MQTT 5 session in a shared subscription.

    Guarantees: a QoS 1 message that was not acknowledged comes again, on the next connection or to the next process with
    this client id; acknowledgements leave in the order of arrival, and only on the connection that brought the messages.
    The connection is renewed with exponential backoff and jitter for as long as the context lasts.

    Args:
        settings: Broker, login, session and limits.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.endpoint, self._login = broker_of(settings)
        self._inbox = Inbox(MAX_WAITING_QOS_0, MAX_WAITING_BYTES)
        self._arrived = asyncio.Event()
        self._connection: Connection | None = None
        self._subscribed = False
        self._subscribed_s = 0.0
        self._handled = 0
        self._moved = asyncio.Event()
        self._subscription_known = False
        self._state = "connecting"
        self._stopping = False

    @property
    def status(self) -> SubscriberStatus:
        """Whether the subscription is in place right now."""
        return SubscriberStatus(self._connection is not None, f"{self.endpoint}: {self._state}")

    @property
    def dropped(self) -> int:
        """Messages of QoS 0 that came faster than they were taken, since the start."""
        return self._inbox.dropped

    @property
    def handled(self) -> int:
        """Messages whose handling is over, since the start."""
        return self._handled

    @property
    def in_flight(self) -> int:
        """Messages received and not acknowledged yet."""
        return max(0, self._inbox.received - self._handled)

    @property
    def waiting(self) -> tuple[int, int]:
        """How many messages, and payload bytes, wait to be taken into a batch."""
        return len(self._inbox), self._inbox.waiting_bytes

    async def __aenter__(self) -> Self:
        self._supervisor = asyncio.create_task(self._supervise(), name="mqtt subscriber")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop_taking()
        self._supervisor.cancel()
        await asyncio.gather(self._supervisor, return_exceptions=True)

    def stop_taking(self) -> None:
        """End `batches` after the one that is being handled; what waits stays unacknowledged, thus with the broker."""
        self._stopping = True
        self._arrived.set()

    async def batches(self) -> AsyncIterator[MqttBatch]:
        """All that waits, again and again, until `stop_taking`; waits while nothing does. For one consumer."""
        loop = asyncio.get_running_loop()
        next_s = 0.0
        while True:
            await self._arrived.wait()
            # A message that comes alone does not wait: only what comes right behind another batch.
            await asyncio.sleep(max(next_s - loop.time(), 0.0))
            next_s = loop.time() + BATCH_GAP_S
            if self._stopping:
                return
            batch = self._inbox.take(MAX_BATCH_MESSAGES, MAX_BATCH_BYTES)
            if not self._inbox:
                self._arrived.clear()
            if self._connection is not None and not self._inbox.full:
                self._connection.resume_reading()
            if batch.messages:
                yield batch

    async def acknowledge(self, batch: MqttBatch) -> bool:
        """Acknowledge all messages of a batch; false when its connection is gone, and they will come again.

        Must be called in the order of `batches`.
        """
        self._handled += len(batch.messages)
        self._moved.set()
        connection = self._connection
        if connection is None or batch.epoch != self._inbox.epoch:
            return False
        connection.acknowledge(batch.packet_ids())
        await connection.drain()
        return True

    async def in_step(self, within_s: float) -> bool:
        """Whether what the broker had for us when this was called is acknowledged before the deadline, as far as that can be known.

        True means: the connection has been there for `SETTLING_S`; the broker answered a ping; all that it had sent before the answer was
        acknowledged; and it held nothing back for the receive maximum, as it does when more waits with it than that.

        What cannot be known: what a broker has in its queues and is just about to send; that it has a limit of its own for messages
        in flight below the receive maximum, and holds back for that (so it must not have one); what another member of the shared
        subscription is given and does not handle; QoS 0, which a broker may drop.
        """
        connection = self._connection
        settled_s = asyncio.get_running_loop().time() - SETTLING_S
        if connection is None or not self._subscribed or self._subscribed_s > settled_s or self._stopping:
            return False
        try:
            async with asyncio.timeout(within_s):
                await connection.ping()
                received = self._inbox.received
                if received - self._handled >= self._settings.mqtt_receive_max:
                    return False
                while self._handled < received:
                    self._moved.clear()
                    await self._moved.wait()
        except (TimeoutError, *FAILURES):
            return False
        return self._connection is connection

    async def _supervise(self) -> None:
        while True:
            connection = await connect_patiently(self._open, lambda: self._state)
            connected_s = time.monotonic()
            self._subscribed = True
            self._subscribed_s = asyncio.get_running_loop().time()
            self._state = "connected"
            MQTT_CONNECTIONS.inc()
            log.info(
                "mqtt_connected",
                broker=str(self.endpoint),
                session_present=connection.session_present,
            )
            try:
                self._state = await connection.lost()
                log.warning(
                    "mqtt_connection_lost",
                    broker=str(self.endpoint),
                    reason=self._state,
                )
            finally:
                await self._drop(connection)
            await rest_after(connected_s)

    async def _open(self) -> Connection:
        """A connection on a session that has the subscription.

        A broker may take back what it sent between CONNACK and SUBACK and send it again (Artemis does: 67 of 20,000
        messages came twice), so a session that was there before is first subscribed on a connection of its own, which
        takes nothing, and then resumed without subscribing.
        """
        if not self._subscription_known:
            connection = await self._establish(self._receive_unacknowledged)
            await self._subscribe(connection)
            self._subscription_known = True
            await self._drop(connection)
        connection = await self._establish(self._receive)
        if not connection.session_present:
            await self._subscribe(connection)
        return connection

    async def _establish(self, on_message: Callable[[mqtt5.PublishPacket], None]) -> Connection:
        self._inbox.next_epoch()
        settings = self._settings
        connection = Connection(
            self.endpoint,
            self._login,
            settings.ingress_id,
            clean_start=False,
            session_expiry_s=settings.mqtt_session_expiry_s,
            keep_alive_s=settings.mqtt_keep_alive_s,
            receive_max=settings.mqtt_receive_max,
            on_message=on_message,
        )
        try:
            await connection.open(CONNECT_TIMEOUT_S)
        except BaseException as error:
            self._state = f"cannot connect: {connection.why(error)}"
            raise
        # At once, since messages come with the session and want their acknowledgements.
        self._connection = connection
        return connection

    async def _subscribe(self, connection: Connection) -> None:
        try:
            await connection.subscribe_shared(self._settings.mqtt_share_group, ALL_SITES, CONNECT_TIMEOUT_S)
        except BaseException as error:
            self._state = f"cannot subscribe: {connection.why(error)}"
            await self._drop(connection)
            raise

    async def _drop(self, connection: Connection) -> None:
        self._subscribed = False
        self._connection = None
        await connection.close()

    def _receive(self, packet: mqtt5.PublishPacket) -> None:
        if not self._inbox.put(MqttMessage(packet.topic, packet.payload, packet.packet_id, packet.retain)):
            self._report_drop()
        if self._inbox.full and self._connection is not None:
            self._connection.pause_reading()
        self._arrived.set()

    def _receive_unacknowledged(self, packet: mqtt5.PublishPacket) -> None:
        # What has to be acknowledged comes again on the next connection; QoS 0 does not.
        if packet.packet_id is None:
            self._receive(packet)

    def _report_drop(self) -> None:
        MQTT_DROPPED.inc()
        # The first of each power of ten: enough to be seen, too few to make it worse.
        if str(self._inbox.dropped).strip("0") == "1":
            log.warning(
                "mqtt_qos0_dropped",
                dropped=self._inbox.dropped,
                reason="messages come faster than Kafka takes them",
            )
