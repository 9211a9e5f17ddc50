"""Acknowledgements of alarms on a real Kafka, on a topic of this test's own."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from ems_streams.domain.alarms import Acknowledgement
from ems_streams.errors import TopicsMissingError
from ems_streams.kafka import acknowledgements
from ems_streams.kafka.acknowledgements import publish_acknowledgement
from ems_streams.kafka.catalogue import Key, Topic
from ems_streams.kafka.partitioner import partition_for
from ems_streams.kafka.range_reader import positioned_consumer, read_ranges, whole
from ems_streams.kafka.topic_lifecycle import create_topics, delete_topics
from ems_streams.settings import Settings

pytestmark = pytest.mark.integration

PARTITIONS = 3


@pytest.fixture
async def settings(kafka_servers: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Settings]:
    settings = Settings.load(kafka_bootstrap_servers=kafka_servers)
    topic = Topic(
        f"acknowledgements-{uuid4().hex[:8]}", Key.SERIAL_NUMBER, PARTITIONS, "acknowledgements of a test", retention_ms=86_400_000
    )
    await create_topics(settings, [topic])
    monkeypatch.setattr(acknowledgements, "ALARM_ACKNOWLEDGEMENTS", topic.name)
    yield settings
    await delete_topics(settings, [topic.name])


def taken_note(author: str) -> Acknowledgement:
    return Acknowledgement(alarm_id="a" * 32, serial_number="INV-00001", acknowledged_by=author, timestamp=datetime(2026, 1, 1, tzinfo=UTC))


async def test_each_is_a_record_in_the_partition_of_its_device_and_the_log_ends_with_it(settings: Settings) -> None:
    said = [taken_note("ann"), taken_note("bob")]
    for each in said:
        await publish_acknowledgement(settings, each)

    async with positioned_consumer(settings) as consumer:
        ranges = await whole(consumer, acknowledgements.ALARM_ACKNOWLEDGEMENTS)
        found = [(tp.partition, record.key, record.value) async for tp, records in read_ranges(consumer, ranges) for record in records]

    home = partition_for(b"INV-00001", PARTITIONS)
    assert found == [(home, each.key, each.encode()) for each in said]
    # A marker of a transaction would be one more.
    assert {tp.partition: end for tp, (_, end) in ranges.items()} == {number: 2 if number == home else 0 for number in range(PARTITIONS)}


async def test_a_topic_that_is_missing_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledgements, "ALARM_ACKNOWLEDGEMENTS", "acknowledgements-nowhere")
    with pytest.raises(TopicsMissingError, match="acknowledgements-nowhere"):
        await publish_acknowledgement(settings, taken_note("ann"))
