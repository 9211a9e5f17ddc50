"""A whole system on the embedded stack: topics applied, nothing started yet."""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from ems_streams.dev.stack import EmbeddedStack
from ems_streams.kafka.catalogue import Catalogue
from tests.support.processes import Deployment, eventually


@pytest.fixture
def deployment(stack: EmbeddedStack, tmp_path: Path) -> Iterator[Deployment]:
    """Topics applied, nothing started yet; everything that a test starts is ended after it."""
    deployed = Deployment(stack, tmp_path, f"e2e-{uuid.uuid4().hex[:8]}")
    try:
        deployed.command("topics", "apply")
        forget_records(stack.kafka_bootstrap, deployed.partitions)
        yield deployed
    finally:
        deployed.stop()


def forget_records(bootstrap: str, partitions: int) -> None:
    """Delete what earlier tests left on the topics that the processes of every deployment share."""
    application_id = "shared"
    shared = [topic for topic in Catalogue(application_id, partitions) if not topic.name.startswith(f"{application_id}-")]
    # Kafka deletes no records of compacted topics; they are memories that may stay.
    everything = [TopicPartition(topic.name, number, -1) for topic in shared if not topic.compacted for number in range(topic.partitions)]
    admin = AdminClient({"bootstrap.servers": bootstrap})  # must outlive its futures

    def deleted() -> bool:
        # Topics that were made a moment ago may still be without a leader.
        with contextlib.suppress(KafkaException):
            for each in admin.delete_records(everything, request_timeout=10).values():
                each.result(15)
            return True
        return False

    eventually(deleted, 60, "records deleted")
