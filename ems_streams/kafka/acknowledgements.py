"""Acknowledgements of alarms on their topic, from outside: each is one record, in the partition of its device."""

import uuid

from aiokafka.errors import KafkaError

from ems_streams.domain.alarms import Acknowledgement
from ems_streams.kafka.admin import unreachable
from ems_streams.kafka.catalogue import ALARM_ACKNOWLEDGEMENTS
from ems_streams.kafka.partitioner import partition_for
from ems_streams.kafka.range_reader import partitions_of, positioned_consumer
from ems_streams.kafka.transactions import CommitError, PartitionWriter
from ems_streams.settings import Settings


async def publish_acknowledgement(settings: Settings, acknowledgement: Acknowledgement) -> None:
    """Return when Kafka has it; raises `EmsError`."""
    async with positioned_consumer(settings) as consumer:
        count = len(await partitions_of(consumer, ALARM_ACKNOWLEDGEMENTS))
    key = acknowledgement.key
    try:
        # Nobody shares the id: two who acknowledge at the same time must not fence each other.
        writer = await PartitionWriter.open(settings, f"{settings.application_id}-acknowledgements-{uuid.uuid4().hex}")
    except (KafkaError, OSError):
        raise unreachable(settings) from None
    try:
        await writer.commit({(ALARM_ACKNOWLEDGEMENTS, partition_for(key, count)): [(key, acknowledgement.encode(), ())]})
    except CommitError:
        raise unreachable(settings) from None
    finally:
        await writer.close()
