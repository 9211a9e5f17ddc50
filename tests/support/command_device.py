"""A device that takes commands as MQTT wants it: a persistent session, QoS 2, and nothing that tells one command from another by its id."""

import asyncio
from dataclasses import dataclass, field

import mqtt5
import orjson

from ems_streams.mqtt.connection import Connection
from ems_streams.mqtt.endpoint import Login, parse_url

BETWEEN_ANSWERS_S = 0.05
"""A device works for a while before it is done. The embedded broker lets messages overtake each other that come within milliseconds."""


@dataclass
class CommandDevice:
    """One device; `received` has every command each time that it came, apart from what QoS 2 itself recognises as sent again."""

    url: str
    topic: str
    client_id: str
    received: list[mqtt5.PublishPacket] = field(default_factory=list)
    answers: tuple[str, ...] = ()
    _taken: set[int] = field(default_factory=set)
    _connection: Connection | None = None

    async def connect(self) -> None:
        """Come back with the session, and listen."""
        endpoint, _ = parse_url(self.url)
        connection = Connection(
            endpoint,
            Login(),
            self.client_id,
            clean_start=False,
            session_expiry_s=3600,
            keep_alive_s=10,
            on_message=self._take,
            on_release=self._release,
        )
        await connection.open(5.0)
        self._connection = connection
        # Subscribing again would make the broker take back what it has just sent, and send it as something new.
        if not connection.session_present:
            self._taken.clear()
            await connection.subscribe(self.topic, max_qos=mqtt5.QoS.EXACTLY_ONCE)

    async def disconnect(self) -> None:
        """Go away; the broker keeps what comes."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def wait_for(self, count: int, timeout_s: float = 10.0) -> None:
        """Return when so many commands are there."""
        async with asyncio.timeout(timeout_s):
            while len(self.received) < count:
                await asyncio.sleep(0.01)

    @property
    def ids(self) -> list[str]:
        """Ids of the commands that came."""
        return [orjson.loads(packet.payload)["commandId"] for packet in self.received]

    def _take(self, packet: mqtt5.PublishPacket) -> None:
        assert packet.packet_id is not None
        if packet.packet_id not in self._taken:
            self._taken.add(packet.packet_id)
            self.received.append(packet)
            self._answer(packet)
        if self._connection is not None:
            self._connection.received(packet.packet_id)

    def _release(self, packet_id: int) -> None:
        self._taken.discard(packet_id)
        if self._connection is not None:
            self._connection.completed(packet_id, known=True)

    def _answer(self, packet: mqtt5.PublishPacket) -> None:
        if self._connection is None or packet.response_topic is None:
            return
        for number, result in enumerate(self.answers):
            body = orjson.dumps({"commandId": (packet.correlation_data or b"").decode(), "result": result})
            asyncio.get_running_loop().call_later(number * BETWEEN_ANSWERS_S, self._say, packet.response_topic, body)

    def _say(self, topic: str, body: bytes) -> None:
        if self._connection is not None:
            self._connection.write(mqtt5.PublishPacket(topic, body).write())
