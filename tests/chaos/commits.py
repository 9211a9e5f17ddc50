"""Commits of a worker as Kafka sees them: records of an open transaction are behind the stable end of a changelog."""

import time
from collections.abc import Iterable
from typing import Self

from confluent_kafka import Consumer, TopicPartition

from ems_streams.kafka.catalogue import changelog_of
from tests.chaos.harness import System
from tests.support.processes import get

_REQUEST_TIMEOUT_S = 2.0


class Commits:
    """The changelog partitions of a table that a worker owns now. Use as a context manager."""

    def __init__(self, system: System, worker: str, table: str) -> None:
        topic = changelog_of(system.deployment.application_id, table)
        status, body = get(f"{system[worker].url}/internal/v1/topology")
        self.partitions = [TopicPartition(topic, number) for number in body["ready"]] if status == 200 else []
        servers = system.deployment.stack.kafka_bootstrap
        options = {"bootstrap.servers": servers, "group.id": "chaos-commits", "enable.auto.commit": False, "log_level": 0}
        self._written = Consumer({**options, "isolation.level": "read_uncommitted"})
        self._committed = Consumer({**options, "isolation.level": "read_committed"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._written.close()
        self._committed.close()

    def wait_for_one(self, partition: TopicPartition, timeout_s: float) -> bool:
        """Return as soon as the worker has written to this partition: its transaction is open, or was until a moment ago."""
        before = self._end(self._written, partition)
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            if self._end(self._written, partition) != before:
                return True
        return False

    def open_transactions(self, partitions: Iterable[TopicPartition]) -> int:
        """On how many of these partitions a transaction is open."""
        return sum(self._end(self._committed, each) < self._end(self._written, each) for each in partitions)

    @staticmethod
    def _end(consumer: Consumer, partition: TopicPartition) -> int:
        _, end = consumer.get_watermark_offsets(partition, timeout=_REQUEST_TIMEOUT_S, cached=False)
        return int(end)
