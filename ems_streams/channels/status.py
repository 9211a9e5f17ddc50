"""How channels do, by what is durable: asked of Kafka alone, wherever notifiers run."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ems_streams.channels.changelog import changelog_topic, notifier_group, read_channels_state
from ems_streams.domain.channel_config import ChannelsConfig
from ems_streams.domain.deliveries import End
from ems_streams.domain.delivery_codec import Restored
from ems_streams.domain.timestamps import format_epoch_ms
from ems_streams.errors import TopicsMissingError
from ems_streams.kafka.admin import client_config, missing_topics
from ems_streams.kafka.catalogue import DEVICE_NOTIFICATIONS
from ems_streams.kafka.range_reader import partitions_of, positioned_consumer
from ems_streams.kafka.refusals import unreachable
from ems_streams.settings import Settings

_REQUEST_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class ChannelsStatus:
    """All channels of a file.

    Attributes:
        notifiers: Processes that share them now.
        channels: For people and as JSON.
    """

    notifiers: int
    channels: list[dict[str, Any]]


async def channels_status(settings: Settings, config: ChannelsConfig) -> ChannelsStatus:
    """Lag, open deliveries and circuit breaker of each channel, as of its last commit; raises `DependencyError` and `TopicsMissingError`."""
    missing = await missing_topics(settings, [DEVICE_NOTIFICATIONS, changelog_topic(settings)])
    if missing:
        raise TopicsMissingError(missing)
    restored = await read_channels_state(settings, config.channels)
    async with positioned_consumer(settings) as consumer:
        tps = await partitions_of(consumer, DEVICE_NOTIFICATIONS)
        ends = {tp.partition: end for tp, end in (await consumer.end_offsets(tps)).items()}
    now_ms = round(time.time() * 1000)
    notifiers = await asyncio.to_thread(_members, settings)
    return ChannelsStatus(notifiers, [_view(name, config.channels[name].type, found, ends, now_ms) for name, found in restored.items()])


def _view(name: str, kind: str, found: Restored, ends: dict[int, int], now_ms: int) -> dict[str, Any]:
    deliveries, health = found.deliveries, found.health
    waiting = [chain for chain in deliveries.open.values() if chain.error]
    oldest_ms = min((chain.source.timestamp_ms for chain in deliveries.open.values()), default=None)
    last = max(waiting, key=lambda chain: chain.due_ms, default=None)
    return {
        "channel": name,
        "type": kind,
        "known": found.known,
        "lag": sum(max(0, ends[partition] - offset) for partition, offset in deliveries.positions.items() if partition in ends),
        "open": len(deliveries.open),
        "retrying": len(waiting),
        "oldestOpenS": None if oldest_ms is None else round((now_ms - oldest_ms) / 1000, 1),
        "deliveredLately": sum(1 for done in deliveries.done.values() if done.end is End.DELIVERED),
        "deadLetteredLately": sum(1 for done in deliveries.done.values() if done.end is End.DEAD),
        "breaker": health.breaker,
        "breakerSince": None if not health.since_ms else format_epoch_ms(health.since_ms),
        "lastError": health.reason or (last.error if last is not None else ""),
    }


def _members(settings: Settings) -> int:
    client = AdminClient(client_config(settings))
    try:
        group = client.describe_consumer_groups([notifier_group(settings)], request_timeout=_REQUEST_TIMEOUT_S)[notifier_group(settings)]
        return len(group.result(timeout=_REQUEST_TIMEOUT_S + 1).members)
    except KafkaException as error:
        if error.args[0].name() == "GROUP_ID_NOT_FOUND":
            return 0
        raise unreachable(settings) from None
