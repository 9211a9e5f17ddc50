"""What a receiver of QoS 2 remembers: which messages it has taken, and the broker has not released yet (MQTT-4.3.3)."""

from collections import deque
from collections.abc import Iterable

MAX_ORPHANS = 1000
"""Messages whose packet id the broker has given to another one; as many as it may have had under way when it forgot them."""
RELEASED_KEPT = 100
"""A broker that is killed forgets what it has released in its last milliseconds; in that time there are far fewer."""


class Receipts:
    """The state of a receiver in one session; pure. It outlives connections, and ends with the session.

    A packet id alone does not tell a message that is sent again from another one. Brokers should keep ids over reconnects and
    restarts, but Artemis before the mending of ARTEMIS-6189 does not: what it sends again may have another id, without the DUP flag, and the
    id of a message that is not released yet may come with another message. So the identity of what a message says is kept beside its id.

    Only on a new connection may anything be sent again (MQTT-4.4.0-1): what was taken on an earlier one and is not released, or was among the last that
    were, since Artemis may release a message whose receipt it has not stored yet, and send it again when it was killed just then. A message that is published anew on the
    same connection is taken anew, whatever it says.
    """

    def __init__(self, unreleased: Iterable[tuple[int, bytes]] = ()) -> None:
        # Each with the number of the connection that brought it.
        self._ids: dict[int, tuple[bytes, int]] = {packet_id: (identity, 0) for packet_id, identity in unreleased}
        self._orphans: deque[tuple[bytes, int]] = deque(maxlen=MAX_ORPHANS)
        self._released: deque[tuple[bytes, int]] = deque(maxlen=RELEASED_KEPT)
        self._connection = 0

    def __len__(self) -> int:
        return len(self._ids)

    def connected(self) -> None:
        """A new connection begins, on which the broker may send again what it has sent before."""
        self._connection += 1

    def take(self, packet_id: int, identity: bytes) -> bool:
        """A message comes; whether it is one that was not taken before."""
        there = self._ids.get(packet_id)
        if there is not None and there[0] == identity:
            return False
        known = self._was_taken(identity)
        if there is not None and self._ids.pop(packet_id, None) is not None:
            self._orphans.append(there)
        self._ids[packet_id] = identity, self._connection
        return not known

    def release(self, packet_id: int) -> bool:
        """The broker will not send a message again; whether there was one of this id."""
        taken = self._ids.pop(packet_id, None)
        if taken is None:
            return False
        self._released.append((taken[0], self._connection))
        return True

    def forget(self, packet_id: int) -> None:
        """A message was not taken after all."""
        self._ids.pop(packet_id, None)

    def clear(self) -> None:
        """The broker has no session any more, and with it forgets what it had sent."""
        self._ids.clear()
        self._orphans.clear()
        self._released.clear()

    def _was_taken(self, identity: bytes) -> bool:
        """Whether a message was taken under another id on an earlier connection; that id says nothing from now on."""
        # Some few messages are under way at a time.
        for memory in (self._orphans, self._released):
            for known in memory:
                if known[0] == identity and known[1] < self._connection:
                    memory.remove(known)
                    return True
        for packet_id, (each, connection) in self._ids.items():
            if each == identity and connection < self._connection:
                del self._ids[packet_id]
                return True
        return False
