"""The lag of a worker's partitions is there for every scrape, also while it is asked for anew."""

import asyncio
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from ems_streams.kafka.catalogue import DEVICE_STATUS
from ems_streams.kafka.transport import Consumer

PARTITION = TP(DEVICE_STATUS, 0)


class Thread:
    """Where the consumer asks for the ends of logs: says them when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def _ensure_consumer(self) -> Any:
        assignment = SimpleNamespace(state_value=lambda _: None)
        return SimpleNamespace(_subscription=SimpleNamespace(subscription=SimpleNamespace(assignment=assignment)))

    async def highwaters(self, *partitions: TP) -> dict[TP, int]:
        self.asked.set()
        return dict.fromkeys(partitions, await self.answer)


def consumer_of(thread: Thread, assigned: set[TP]) -> Any:
    consumer: Any = Consumer.__new__(Consumer)
    consumer.app = SimpleNamespace(engine=SimpleNamespace(source_topics={DEVICE_STATUS}, start_offset=lambda _: 3))
    consumer._thread, consumer.assignment = thread, lambda: assigned
    consumer._seen_ends, consumer._next_offset, consumer.lags = {}, {}, {PARTITION: 4}
    return consumer


async def test_the_last_one_known_stays_until_there_is_another() -> None:
    # A series that one scrape misses is gone for Prometheus, and an alert that waits for ten minutes begins to wait anew.
    thread = Thread()
    consumer = consumer_of(thread, {PARTITION})
    asking = asyncio.create_task(consumer.progress())
    await thread.asked.wait()
    assert consumer.lags == {PARTITION: 4}
    thread.answer.set_result(10)
    await asking
    assert consumer.lags == {PARTITION: 7}


async def test_partitions_that_are_gone_have_none() -> None:
    consumer = consumer_of(Thread(), set())
    assert await consumer.progress() == {}
    assert consumer.lags == {}


async def test_nothing_is_known_while_kafka_does_not_answer() -> None:
    thread = Thread()
    thread.answer.set_exception(TimeoutError())
    consumer = consumer_of(thread, {PARTITION})
    assert await consumer.progress() == {}
    assert consumer.lags == {}
