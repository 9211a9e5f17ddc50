"""What was fetched before a recovery is of no use after it: partitions that were opened since have another position."""

import asyncio
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from ems_streams.kafka.transport import Consumer

PARTITION = TP(DEVICE_TELEMETRY, 0)
RECORDS = [SimpleNamespace(offset=offset, timestamp=0) for offset in (109, 110)]


class Delivery(Consumer):
    """A consumer without Kafka, whose engine recovers while it asks where a partition begins."""

    def __init__(self, *, recovers: bool) -> None:
        self.app: Any = SimpleNamespace(consumer_generation_id=1, engine=SimpleNamespace(epoch=7, source_topics={DEVICE_TELEMETRY}))
        self.recovers = recovers
        self.flow_active = True
        self.suspend_flow = asyncio.Event()
        self._next_offset, self._accepted_gap, self._read_offset = {}, {}, {}
        self.delivered: list[int] = []

    async def callback(self, message: Any) -> None:  # type: ignore[override]
        self.delivered.append(message.value.epoch)

    async def wait_first(self, *waiting: Any, **_: Any) -> Any:
        await waiting[0]
        waiting[1].close()

    async def _start_offset(self, tp: TP) -> int:
        if self.recovers:
            self.app.engine.epoch += 1
        return 109


async def test_records_keep_the_epoch_in_which_they_were_fetched() -> None:
    consumer = Delivery(recovers=True)
    await consumer._deliver(PARTITION, RECORDS, None, 1, 7)
    assert consumer.delivered == [7], "the engine drops what is of another epoch than the partition"
    assert consumer._next_offset == {}, "nor is it known where the partition goes on"


async def test_records_of_now_are_delivered_and_the_next_ones_follow_on_them() -> None:
    consumer = Delivery(recovers=False)
    await consumer._deliver(PARTITION, RECORDS, None, 1, 7)
    assert (consumer.delivered, consumer._next_offset) == ([7], {PARTITION: 111})


async def test_after_a_recovery_nothing_is_delivered_of_before() -> None:
    consumer = Delivery(recovers=False)
    consumer._next_offset[PARTITION] = 109
    await consumer._deliver(PARTITION, RECORDS, None, 1, 6)
    await consumer._deliver(PARTITION, RECORDS, None, 0, 7)
    assert (consumer.delivered, consumer._next_offset) == ([], {})
