"""Who does what, by a consumer group: each partition of a topic stands for work that one member at a time does. Nothing is read, and no offset committed.

The group alone proves nothing: a member that was paused for longer than its session still believes in its partitions. What must not be done by two has
to be fenced besides (`PartitionWriter`); and before it fences others, a member asks the group whether it still is one (`confirm`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from ems_streams.kafka.client import client_options
from ems_streams.kafka.closing import close_client
from ems_streams.kafka.refusals import told
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

_STOP_TIMEOUT_S = 5.0
_CONFIRM_TIMEOUT_S = 5.0
_LISTEN_MS = 1000
_RETRY_S = 1.0
_POLL_INTERVAL_MAX_MS = 7 * 86_400_000


class Ownership(ConsumerRebalanceListener):
    """Membership in a group that divides the partitions of a topic.

    Args:
        group: Consumer group.
        client_id: Name at the brokers.
        before_loss: Awaited before partitions may go to others; a rebalance waits for it, so it must end within seconds.

    Attributes:
        partitions: Ours at the moment, as far as we know.
        joined: Whether the group has ever answered.
        changed: Set whenever `partitions` may have changed.
    """

    def __init__(self, settings: Settings, topic: str, group: str, client_id: str, before_loss: Callable[[], Awaitable[None]]) -> None:
        self._topic = topic
        self._before_loss = before_loss
        self._consumer = AIOKafkaConsumer(
            **client_options(settings),
            group_id=group,
            client_id=client_id,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            session_timeout_ms=int(settings.kafka_session_timeout_s * 1000),
            heartbeat_interval_ms=int(settings.kafka_heartbeat_interval_s * 1000),
            rebalance_timeout_ms=int(settings.kafka_rebalance_timeout_s * 1000),
            max_poll_interval_ms=_POLL_INTERVAL_MAX_MS,
        )
        self._listening: asyncio.Task[None] | None = None
        self.partitions: frozenset[int] = frozenset()
        self.joined = False
        self.changed = asyncio.Event()

    async def start(self) -> None:
        """Connect and join the group; raises a `KafkaError` when Kafka is away, and can be called again then."""
        await self._consumer.start()
        self._consumer.subscribe([self._topic], listener=self)
        self._listening = asyncio.create_task(self._listen(), name="group membership")

    async def stop(self) -> None:
        """Leave the group, within a few seconds, so that others need not wait for the session to end."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        if not await close_client(self._consumer, _STOP_TIMEOUT_S):
            log.warning("group_not_left")

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Called by the client before a rebalance, which gives most of them back."""
        if list(revoked):
            await self._before_loss()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called by the client after a rebalance."""
        ours = list(assigned)
        if ours:
            self._consumer.pause(*ours)
        self.partitions = frozenset(tp.partition for tp in ours)
        self.joined = True
        self.changed.set()

    async def confirm(self, partition: int) -> bool:
        """Whether the group itself says, now, that a partition is ours; raises a `KafkaError` or `TimeoutError` when it cannot be asked."""
        coordinator = self._consumer._coordinator
        async with asyncio.timeout(_CONFIRM_TIMEOUT_S):
            await coordinator.ensure_coordinator_known()
            is_member = await coordinator._do_heartbeat() and not coordinator._rejoin_needed_fut.done()
        # Asked for last: what was assigned before may have changed while the group was asked.
        return bool(is_member) and partition in self.partitions

    async def _listen(self) -> None:
        # Everything is paused, so there is nothing to get; but the client does not go on after an error before somebody has been told of it.
        while True:
            try:
                await self._consumer.getmany(timeout_ms=_LISTEN_MS)
            except KafkaError as error:
                log.warning("group_trouble", error=told(error))
                await asyncio.sleep(_RETRY_S)
