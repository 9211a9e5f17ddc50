"""What the cluster knows of a topic, asked without creating it."""

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from ems_streams.kafka.client import client_options
from ems_streams.kafka.own_rights import absence_of
from ems_streams.settings import Settings


async def partitions_of(settings: Settings, topic: str) -> list[TopicPartition]:
    """Partitions of a topic in order; raises `TopicsMissingError` when there is no such topic.

    Metadata of all topics is asked for: asking for one by name can create it.
    """
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        for described in await admin.describe_topics():
            if described["topic"] == topic and described["partitions"]:
                return [TopicPartition(topic, number) for number in range(len(described["partitions"]))]
    finally:
        await admin.close()
    raise await absence_of(settings, [topic])
