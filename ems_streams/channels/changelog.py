"""The changelog of deliveries: which partition is a channel's, and reading it back."""

from collections.abc import Iterable

from aiokafka import TopicPartition

from ems_streams.domain.delivery_codec import Restored, prefix_of, restore
from ems_streams.kafka.catalogue import DELIVERIES, changelog_of
from ems_streams.kafka.partitioner import partition_for
from ems_streams.kafka.range_reader import positioned_consumer, read_ranges
from ems_streams.settings import Settings


def changelog_topic(settings: Settings) -> str:
    """Name of the topic."""
    return changelog_of(settings.application_id, DELIVERIES)


def notifier_group(settings: Settings) -> str:
    """Consumer group by which notifiers share the partitions of the topic, and so the channels."""
    return f"{settings.application_id}-notifier"


def partition_of(settings: Settings, channel: str) -> int:
    """The partition that has all records of a channel; whoever owns it delivers for the channel."""
    return partition_for(channel.encode(), settings.partitions)


async def read_channels_state(settings: Settings, channels: Iterable[str]) -> dict[str, Restored]:
    """What the changelog says now, committed records only.

    To go on from it, fence the former owner first: whatever it had under way is in there then, or will never be.
    Raises `DependencyError` and other `EmsError` when Kafka cannot be read, and `StateCodecError`.
    """
    names = list(channels)
    tps = {TopicPartition(changelog_topic(settings), partition_of(settings, name)) for name in names}
    latest: dict[bytes, bytes | None] = {}
    async with positioned_consumer(settings) as consumer:
        starts, ends = await consumer.beginning_offsets(list(tps)), await consumer.end_offsets(list(tps))
        async for _, records in read_ranges(consumer, {tp: (starts[tp], ends[tp]) for tp in tps}):
            for record in records:
                # Taken out and put in again, so that the order is that of the last records.
                latest.pop(record.key, None)
                latest[record.key or b""] = record.value
    return {name: restore(name, [(key, value) for key, value in latest.items() if key.startswith(prefix_of(name))]) for name in names}
