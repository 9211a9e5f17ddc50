"""Time going on without messages: what a partition may conclude from the heartbeats of the ingress.

A heartbeat says that at its time everything that devices had sent was on `device-telemetry` of its partition, before an offset. It counts
for an agent only when the agent has folded up to that offset: then who has not been heard of by that time was silent, and not overlooked.
While the ingress, MQTT, Kafka or this worker is away or behind there is no such time, and nobody is held to be silent. A topic without
heartbeats, such as one that is read again for a replay, has event time only.

The same holds for `device-command-acks`, of which a heartbeat tells the end as well.

For other topics a heartbeat tells no end. What agents write into it because of a heartbeat comes a moment after the
heartbeat, and from every partition: nobody can say in advance how much that will be. There a heartbeat counts once another has been read
that is `SETTLED_MS` younger: the two topics are read side by side, so by then the writers had that long for what the first one
made them close. A writer that is further behind is waited for by nobody; whoever counts on it must be able to correct what it
published (windows of sites: the next revision).
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from ems_streams.domain.heartbeat import Heartbeat, decode_heartbeat
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.errors import MalformedError
from ems_streams.kafka.catalogue import DEVICE_COMMAND_ACKS, DEVICE_TELEMETRY
from ems_streams.kafka.dead_letters import publish_dead_letter
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.record_batch import Record, RecordBatch

SETTLED_MS: Final = 15_000
"""Some heartbeats, and several commit intervals of the agents that close windows by them."""


_TOLD_ENDS: Final[dict[str, Callable[[Heartbeat], int | None]]] = {
    DEVICE_TELEMETRY: lambda heartbeat: heartbeat.telemetry_end,
    DEVICE_COMMAND_ACKS: lambda heartbeat: heartbeat.acks_end,
}


class _Beat(NamedTuple):
    time_ms: int
    end: int


class HeartbeatGate:
    """Of one partition: the time up to which all is folded that devices had sent by then.

    Kept in memory only: after a recovery the next heartbeat tells it again.

    Args:
        topic: What has to be folded; see above for what that means.

    Attributes:
        time_ms: Of the newest heartbeat that counts, epoch milliseconds; None before the first. Never goes back.
    """

    def __init__(self, topic: str) -> None:
        self._end_of = _TOLD_ENDS.get(topic)
        # The oldest that does not count yet, and the newest: a partition that lags all the time still gets to the first of them.
        self._waiting: list[_Beat] = []
        self.time_ms: int | None = None

    def take(self, record: Record, heartbeat: Heartbeat) -> None:
        """A heartbeat has been read; it counts from the next `advance` on that reaches it, or never, if it is of a release that did not tell the topic's end.

        Its time is at the most that of the record, which is the broker's: an ingress whose clock runs ahead must not make devices silent.
        """
        end = 0 if self._end_of is None else self._end_of(heartbeat)
        if end is not None:
            self._waiting[1:] = [_Beat(min(to_epoch_ms(heartbeat.timestamp), record.timestamp), end)]

    def advance(self, folded_to: int) -> int | None:
        """The topic is folded up to and with this offset, -1 for nothing; gives `time_ms`."""
        while self._waiting and self._counts(self._waiting[0], folded_to):
            self.time_ms = max(self._waiting.pop(0).time_ms, self.time_ms or 0)
        return self.time_ms

    def _counts(self, beat: _Beat, folded_to: int) -> bool:
        if self._end_of is not None:
            return beat.end <= folded_to + 1
        return self._waiting[-1].time_ms - beat.time_ms >= SETTLED_MS


def heartbeats(batch: RecordBatch, start: int, partition: PartitionState[Any], stage: str | None) -> Iterator[tuple[Record, Heartbeat]]:
    """Heartbeats from index `start`; what is none goes to the dead letters.

    Args:
        batch: Of `ingress-heartbeats`.
        start: Index of the first record.
        partition: Publishes the dead letters.
        stage: Agent that the dead letters name; None leaves them to the other agent that reads the topic.
    """
    for record, heartbeat in batch.decoded(decode_heartbeat, start):
        if not isinstance(heartbeat, MalformedError):
            yield record, heartbeat
        elif stage is not None:
            publish_dead_letter(partition, batch, record, heartbeat, stage)
