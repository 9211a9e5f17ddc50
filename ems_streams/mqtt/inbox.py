"""The bounded buffer between the socket and whoever takes batches; pure, one thread, no waiting inside."""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple


class MqttMessage(NamedTuple):
    """A message as it came.

    Attributes:
        topic: MQTT topic.
        payload: The exact bytes.
        packet_id: What to acknowledge; `None` for QoS 0, which is not acknowledged.
        retain: Whether it was published as a message to be retained.
    """

    topic: str
    payload: bytes
    packet_id: int | None
    retain: bool


@dataclass(frozen=True, slots=True)
class MqttBatch:
    """Messages in the order of their arrival, all from one connection.

    Attributes:
        epoch: Number of the connection that brought them; packet ids mean nothing on any other.
        messages: One or more.
    """

    epoch: int
    messages: list[MqttMessage]

    def packet_ids(self) -> list[int]:
        """What to acknowledge, in the order of the PUBLISHes (MQTT-4.6.0-2)."""
        return [message.packet_id for message in self.messages if message.packet_id is not None]


class Inbox:
    """Holds what arrived and was not taken yet.

    Messages of QoS 1 are never dropped: the broker stops at the receive maximum of the connection. Messages of QoS 0
    have no such limit; beyond `max_unacknowledged` of them, or `max_bytes` altogether, they are dropped and counted.

    Args:
        max_unacknowledged: Messages of QoS 0 that may wait.
        max_bytes: Payload bytes beyond which QoS 0 is dropped and `full` says so.
    """

    def __init__(self, max_unacknowledged: int, max_bytes: int) -> None:
        self._max_unacknowledged = max_unacknowledged
        self._max_bytes = max_bytes
        self._messages: deque[MqttMessage] = deque()
        self._unacknowledged = 0
        self._bytes = 0
        self._taken = 0
        self.epoch = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def received(self) -> int:
        """Messages that were taken or wait to be; falls when a new connection begins, by what it brings again."""
        return self._taken + len(self._messages)

    @property
    def waiting_bytes(self) -> int:
        """Payload bytes that wait to be taken."""
        return self._bytes

    @property
    def full(self) -> bool:
        """Whether so many bytes wait that nothing more should be read from the socket."""
        return self._bytes >= self._max_bytes

    def put(self, message: MqttMessage) -> bool:
        """Keep a message; false when it was dropped."""
        if message.packet_id is None:
            if self._unacknowledged >= self._max_unacknowledged or self.full:
                self.dropped += 1
                return False
            self._unacknowledged += 1
        self._messages.append(message)
        self._bytes += len(message.payload)
        return True

    def take(self, max_messages: int, max_bytes: int) -> MqttBatch:
        """What waits, in order, up to a number of messages and about so many bytes; at least one message, if any."""
        taken: list[MqttMessage] = []
        size = 0
        while self._messages and len(taken) < max_messages and size < max_bytes:
            message = self._messages.popleft()
            taken.append(message)
            size += len(message.payload)
            if message.packet_id is None:
                self._unacknowledged -= 1
        self._bytes -= size
        self._taken += len(taken)
        return MqttBatch(self.epoch, taken)

    def next_epoch(self) -> int:
        """A new connection begins; the number of it.

        What the old one brought with QoS 1 is forgotten, since the broker sends it again; QoS 0 is kept, since it does not.
        """
        kept = [message for message in self._messages if message.packet_id is None]
        self._messages = deque(kept)
        self._bytes = sum(len(message.payload) for message in kept)
        self.epoch += 1
        return self.epoch
