"""Alarm rules that are written while Kafka goes away."""

import asyncio
from typing import Any, Self

import pytest

from ems_streams.errors import DependencyError
from ems_streams.kafka import alarm_rules
from ems_streams.kafka.transactions import CommitError
from ems_streams.settings import Settings


class LostWriter:
    """A writer whose Kafka is gone by the time of the commit."""

    closed = False

    @classmethod
    async def open(cls, *_: Any) -> Self:
        return cls()

    async def commit(self, _outputs: Any) -> None:
        raise CommitError("x: KafkaTimeoutError()")

    async def close(self) -> None:
        type(self).closed = True


def test_kafka_that_goes_away_before_the_commit_is_a_dependency_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm_rules, "PartitionWriter", LostWriter)
    with pytest.raises(DependencyError, match="Kafka does not answer"):
        asyncio.run(alarm_rules.write_rules(Settings(), [0], (), ["r"], "me"))
    assert LostWriter.closed
