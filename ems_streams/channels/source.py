"""`device-notifications` as one channel reads it: from the positions that the channel has stored, independently of all other channels."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, OffsetAndMetadata, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError, OffsetOutOfRangeError

from ems_streams.kafka.catalogue import DEVICE_NOTIFICATIONS
from ems_streams.kafka.client import client_options
from ems_streams.kafka.closing import close_client
from ems_streams.kafka.range_reader import partitions_of
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

POLL_TIMEOUT_MS = 1000
_FETCH_WAIT_MS = 500
"""How long the broker waits when there is nothing; what comes is answered at once."""
_STOP_TIMEOUT_S = 3.0
_FETCH_BYTES = 256 * 1024

KafkaRecord: TypeAlias = "ConsumerRecord[bytes, bytes]"


def group_of(application_id: str, channel: str) -> str:
    """Consumer group under which a channel's lag is seen with Kafka's own tools; no decision rests on it."""
    return f"{application_id}-channel-{channel}"


class NotificationSource:
    """All partitions, in no membership of a group: who reads them for the channel is decided elsewhere.

    Args:
        topic: Another topic, for tests.
    """

    def __init__(self, settings: Settings, channel: str, topic: str = DEVICE_NOTIFICATIONS) -> None:
        self._topic = topic
        self._channel = channel
        self._consumer = AIOKafkaConsumer(
            **client_options(settings),
            group_id=group_of(settings.application_id, channel),
            client_id=group_of(settings.application_id, channel),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            max_partition_fetch_bytes=_FETCH_BYTES,
        )
        self._tps: list[TopicPartition] = []

    async def start(self, positions: Mapping[int, int], *, from_beginning: bool) -> dict[int, int]:
        """Begin to read; gives the position of every partition.

        Args:
            positions: Stored ones.
            from_beginning: Where to begin in partitions that have none: with all that is there, or with what comes from now on.
        """
        await self._consumer.start()
        self._tps = await partitions_of(self._consumer, self._topic)
        starts, ends = await asyncio.gather(self._consumer.beginning_offsets(self._tps), self._consumer.end_offsets(self._tps))
        # Without an await in between: the client must not look for positions of its own.
        self._consumer.assign(self._tps)
        for tp in self._tps:
            position = positions.get(tp.partition, starts[tp] if from_beginning else ends[tp])
            self._consumer.seek(tp, self._checked(tp, position, starts[tp], ends[tp]))
        return await self.positions()

    def _checked(self, tp: TopicPartition, position: int, start: int, end: int) -> int:
        if position > end:
            # Ids are the same whoever made them, so what is known is not delivered again.
            log.error("topic_made_anew", channel=self._channel, topic=tp.topic, partition=tp.partition, stored=position, end=end)
            return start
        if position < start:
            log.error("records_lost_to_retention", channel=self._channel, topic=tp.topic, partition=tp.partition, offsets=start - position)
            return start
        return position

    async def poll(self, records_max: int) -> Sequence[KafkaRecord]:
        """Records that come next; empty when there are none for the moment. Raises a `KafkaError` when Kafka is away for long."""
        try:
            polled = await self._consumer.getmany(timeout_ms=POLL_TIMEOUT_MS, max_records=records_max)
        except OffsetOutOfRangeError as error:
            starts = await self._consumer.beginning_offsets(list(error.args[0]))
            for tp, position in error.args[0].items():
                self._consumer.seek(tp, self._checked(tp, position, starts[tp], max(position, starts[tp])))
            return []
        return [record for records in polled.values() for record in records]

    async def positions(self) -> dict[int, int]:
        """Next offset of each partition; markers of transactions, which are never delivered, are behind it."""
        return {tp.partition: await self._consumer.position(tp) for tp in self._tps}

    async def lag(self) -> int:
        """Offsets that are not read yet, as far as the client knows; from memory."""
        lag = 0
        for tp in self._tps:
            end = self._consumer.last_stable_offset(tp)
            lag += 0 if end is None else max(0, end - await self._consumer.position(tp))
        return lag

    async def tell(self, offsets: Mapping[int, int]) -> None:
        """Tell the group how far the channel is, for lag figures."""
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await self._consumer.commit(
                    {TopicPartition(self._topic, number): OffsetAndMetadata(offset, "") for number, offset in offsets.items()}
                )
        except (KafkaError, ConsumerStoppedError, OSError, ValueError) as error:
            log.debug("offsets_not_committed", channel=self._channel, error=repr(error))

    async def stop(self) -> None:
        """Close, within a few seconds."""
        if not await close_client(self._consumer, _STOP_TIMEOUT_S):
            log.debug("consumer_not_closed", channel=self._channel)
