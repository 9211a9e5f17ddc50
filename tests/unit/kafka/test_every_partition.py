"""Alarm rules and maintenance windows that are written while Kafka goes away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

import pytest

from ems_streams.errors import DependencyError
from ems_streams.kafka import alarm_rules, every_partition, maintenance
from ems_streams.kafka.transactions import CommitError
from ems_streams.settings import Settings

Write = Callable[[Settings], Awaitable[None]]


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


@pytest.mark.parametrize(
    "write",
    [
        lambda settings: alarm_rules.write_rules(settings, [0], (), ["r"], "me"),
        lambda settings: maintenance._publish(settings, [0], [(b"w", None, ())]),
    ],
    ids=["rules", "maintenance"],
)
def test_kafka_that_goes_away_before_the_commit_is_a_dependency_that_is_away(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.setattr(every_partition, "PartitionWriter", LostWriter)
    LostWriter.closed = False

    async def written() -> None:
        await write(Settings())

    with pytest.raises(DependencyError, match="Kafka does not answer"):
        asyncio.run(written())
    assert LostWriter.closed
