"""The producer behind a breaker: a trial always has an outcome."""

import asyncio
import time
from typing import Any

import pytest

from ems_streams.domain.circuit_breaker import BreakerState
from ems_streams.errors import TopicsMissingError
from ems_streams.kafka.outbox import KafkaOutbox, Record
from ems_streams.settings import Settings


@pytest.mark.parametrize("error", [TopicsMissingError(["t"]), asyncio.CancelledError()], ids=["refused", "given up"])
async def test_a_trial_that_ends_in_an_unusual_way_is_followed_by_another(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    outbox = KafkaOutbox(Settings(), ["t"], "test")
    outbox._partition_counts["t"] = 1
    outbox.breaker.on_failure(time.monotonic(), "Kafka is away")
    outcomes: list[BaseException | None] = [error, None]

    async def ship(_shipment: Any) -> dict[Any, Any]:
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome
        return {}

    monkeypatch.setattr(outbox, "_ship", ship)
    with pytest.raises(type(error)):
        await outbox.deliver([Record("t", b"k", b"v")])
    assert outbox.breaker.state is BreakerState.OPEN
    async with asyncio.timeout(20):
        await outbox.deliver([Record("t", b"k", b"v")])
    assert outbox.breaker.state is BreakerState.CLOSED


async def test_whoever_waits_for_the_trial_of_somebody_else_does_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = KafkaOutbox(Settings(), ["t"], "test")
    outbox._partition_counts["t"] = 1
    outbox.breaker.state = BreakerState.HALF_OPEN
    looks = 0

    def allows(_now_s: float) -> bool:
        nonlocal looks
        looks += 1
        return False

    monkeypatch.setattr(type(outbox.breaker), "allows", lambda _self, now_s: allows(now_s))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await outbox.deliver([Record("t", b"k", b"v")])
    assert 0 < looks < 20
