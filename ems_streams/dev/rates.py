"""How many events pass: counted on Kafka itself, by one consumer that belongs to no group."""

import asyncio
from collections import deque

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ems_streams.kafka.catalogue import DEVICE_STATUS, DEVICE_TELEMETRY
from ems_streams.kafka.client import client_options
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

_WINDOW_S = 5.0
_STALLED_S = 10.0


class Rate:
    """Events per second over the last seconds, from a running total."""

    def __init__(self, window_s: float = _WINDOW_S) -> None:
        self._window_s = window_s
        self._samples: deque[tuple[float, int]] = deque()

    def record(self, now_s: float, total: int) -> None:
        """Take over a total; a smaller one than before starts anew."""
        if self._samples and total < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now_s, total))
        while len(self._samples) > 2 and self._samples[1][0] <= now_s - self._window_s:
            self._samples.popleft()

    @property
    def per_s(self) -> float:
        """0 until there are two samples."""
        if len(self._samples) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._samples[0], self._samples[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


class EventRates:
    """Telemetry is counted by end offsets, which costs the same at any rate.

    Status transitions are read and counted: they are few, and their topic has transaction markers, which take offsets too.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.telemetry = Rate()
        self.status = Rate()
        self.transitions = 0
        self.telemetry_total = 0

    async def run(self) -> None:
        """Count until cancelled; a Kafka that is away is waited for."""
        while True:
            try:
                await self._count()
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("event_rates_interrupted", error=str(error))
                await asyncio.sleep(1.0)

    async def _count(self) -> None:
        options = {**client_options(self._settings), "request_timeout_ms": 5000}
        consumer = AIOKafkaConsumer(
            **options, group_id=None, enable_auto_commit=False, auto_offset_reset="latest", isolation_level="read_committed"
        )
        await consumer.start()
        try:
            partitions = [TopicPartition(DEVICE_STATUS, number) for number in range(self._settings.partitions)]
            telemetry = [TopicPartition(DEVICE_TELEMETRY, number) for number in range(self._settings.partitions)]
            consumer.assign(partitions)
            await consumer.seek_to_end(*partitions)
            while True:
                # Across a restart of the broker a request may never be answered; a new consumer is.
                async with asyncio.timeout(_STALLED_S):
                    records = await consumer.getmany(timeout_ms=1000)
                    ends = sum((await consumer.end_offsets(telemetry)).values())
                self.transitions += sum(map(len, records.values()))
                self._record(ends)
                if records:
                    # Transitions in a stream must not make this loop ask for offsets without rest.
                    await asyncio.sleep(1.0)
        finally:
            await _stop(consumer)

    def _record(self, ends: int) -> None:
        now_s = asyncio.get_running_loop().time()
        self.telemetry_total = ends
        self.telemetry.record(now_s, ends)
        self.status.record(now_s, self.transitions)


async def _stop(consumer: AIOKafkaConsumer) -> None:
    """Stop it; what it cancels inside itself while Kafka is away must not end its owner."""
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
