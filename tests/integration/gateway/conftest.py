"""A gateway's notification side on a real Kafka, each test with a topic of its own."""

import uuid
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from ems_streams.settings import Settings
from tests.support.deployment import deployment  # noqa: F401 - a fixture
from tests.support.notification_site import Notifications


@pytest.fixture
async def notifications(kafka_servers: str) -> AsyncIterator[Notifications]:
    settings = Settings.load(kafka_bootstrap_servers=kafka_servers)
    topic = f"test-notifications-{uuid.uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_servers)
    producer = AIOKafkaProducer(bootstrap_servers=kafka_servers)
    await admin.start()
    await producer.start()
    given = Notifications(settings, topic, producer, admin)
    await given.create()
    yield given
    await producer.stop()
    await admin.delete_topics([topic])
    await admin.close()
