"""Topics that have every record in each of their partitions, written from outside."""

from collections.abc import Iterable, Sequence

from aiokafka.errors import KafkaError

from ems_streams.kafka.batching import KeyValue
from ems_streams.kafka.refusals import unreachable
from ems_streams.kafka.transactions import CommitError, PartitionWriter
from ems_streams.settings import Settings


async def write_everywhere(
    settings: Settings, transactional_id: str, topic: str, partitions: Iterable[int], records: Sequence[KeyValue]
) -> None:
    """Write records into all of these partitions, or into none; raises `DependencyError` when Kafka is away or does not take them.

    Args:
        transactional_id: Of this call alone: two who write at the same time must not fence each other.
    """
    try:
        writer = await PartitionWriter.open(settings, transactional_id)
    except (KafkaError, OSError):
        raise unreachable(settings) from None
    try:
        await writer.commit({(topic, number): records for number in partitions})
    except CommitError:
        raise unreachable(settings) from None
    finally:
        await writer.close()
