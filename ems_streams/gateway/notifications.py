"""The feed of notifications: tails `device-notifications` into a ring that everybody reads from."""

import asyncio
import heapq
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any

import orjson
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError

from ems_streams.errors import EmsError
from ems_streams.gateway.cursors import Offsets
from ems_streams.gateway.filters import Facts, facts_of
from ems_streams.gateway.ring import Ring
from ems_streams.gateway.topic_metadata import partitions_of
from ems_streams.kafka.catalogue import DEVICE_NOTIFICATIONS
from ems_streams.kafka.client import client_options
from ems_streams.kafka.refusals import refusal_of
from ems_streams.metrics.gateway import FEED_ADDED
from ems_streams.ops.health import CheckResult
from ems_streams.settings import Settings
from ems_streams.tracing import current

log = structlog.get_logger(__name__)

RETRY_S = 1.0
POLL_MS = 1000
MAX_RECORDS = 1000
CATCH_UP_STALL_S = 20.0
"""Reading back fails, and is tried again, when nothing came for so long."""


class TopicRecreatedError(EmsError):
    """Offsets went backwards: the topic was deleted and made anew."""


class Feed:
    """Keeps the last notifications, each once, and wakes who waits for more.

    Reads as a plain consumer, without a group, only what was committed. At the start the last `capacity` records of
    each partition are read back, merged by the time Kafka took them. While Kafka is away it tries again for ever.

    Attributes:
        pace_s: Who waits is woken at most once in this time: with many clients a wake costs more than what it brings.
    """

    def __init__(self, settings: Settings, capacity: int, topic: str = DEVICE_NOTIFICATIONS) -> None:
        self._settings = settings
        self._topic = topic
        self._capacity = capacity
        self._changed = asyncio.Event()
        self._waking: asyncio.TimerHandle | None = None
        self._woken_s = 0.0
        self.pace_s = 0.0
        self._trouble = "not started"
        self._consumer: AIOKafkaConsumer | None = None
        self.ring: Ring | None = None

    def check(self) -> CheckResult:
        """Readiness: whether the feed is read back and being tailed."""
        if self.ring is None or self._trouble:
            return CheckResult(False, self._trouble or "reading back")
        return CheckResult(True, f"{self.ring.end - self.ring.start} notifications held")

    async def changed(self) -> None:
        """Returns when something was added to the ring, or the ring replaced, after this call."""
        await self._changed.wait()

    async def run(self) -> None:
        """Tails until cancelled."""
        while True:
            try:
                await self._tail()
            except TopicRecreatedError as error:
                log.warning("notifications begin anew", reason=str(error))
                self.ring = None
                self._wake()
            except (KafkaError, OSError, EmsError) as error:
                self._report(refusal_of(self._settings) or f"{type(error).__name__}: {error}")
            await asyncio.sleep(RETRY_S)

    async def is_from_the_future(self, point: Offsets) -> bool:
        """Whether a point lies behind the end of the log: it is then of another topic of the same name."""
        if self._consumer is None or self.ring is None or not is_ahead(point, self.ring.after):
            return False
        partitions = [TopicPartition(self._topic, number) for number in range(len(point))]
        ends = await self._consumer.end_offsets(partitions)
        return is_ahead(point, tuple(ends[partition] for partition in partitions))

    async def read_back(self, start: Offsets, end: Offsets) -> AsyncGenerator[tuple[int, int, bytes, Facts]]:
        """Records older than the ring: (partition, offset, notification as JSON, its facts) with `start <= offset < end`.

        In the order of offsets within a partition. What retention has removed is not there any more.
        """
        wanted = {
            TopicPartition(self._topic, number): (first, last)
            for number, (first, last) in enumerate(zip(start, end, strict=True))
            if first < last
        }
        consumer = self._new_consumer()
        try:
            await consumer.start()
            consumer.assign(list(wanted))
            for partition, (first, _) in wanted.items():
                consumer.seek(partition, first)
            async for record in _until(consumer, {partition: last for partition, (_, last) in wanted.items()}):
                parsed = parse(record)
                if parsed is not None:
                    yield record.partition, record.offset, parsed[1], parsed[2]
        finally:
            await consumer.stop()

    def _new_consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **client_options(self._settings),
            group_id=None,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=self._settings.kafka_fetch_max_wait_ms,
        )

    async def _tail(self) -> None:
        partitions = await partitions_of(self._settings, self._topic)
        consumer = self._new_consumer()
        try:
            await consumer.start()
            consumer.assign(partitions)
            if self.ring is None or len(self.ring.after) != len(partitions):
                self.ring = await self._read_last(consumer, partitions)
            for partition in partitions:
                consumer.seek(partition, self.ring.after[partition.partition])
            self._consumer = consumer
            self._report("")
            self._wake()
            while True:
                fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_RECORDS)
                self._add(self.ring, in_time(fetched.values()))
        finally:
            self._consumer = None
            await consumer.stop()

    async def _read_last(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> Ring:
        beginnings = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        starts = {each: max(beginnings[each], ends[each] - self._capacity) for each in partitions}
        for partition, start in starts.items():
            consumer.seek(partition, start)
        found: dict[TopicPartition, list[ConsumerRecord[Any, Any]]] = {partition: [] for partition in partitions}
        pending = {partition: end for partition, end in ends.items() if starts[partition] < end}
        async for record in _until(consumer, pending):
            found[TopicPartition(record.topic, record.partition)].append(record)
        ring = Ring(self._capacity, [starts[partition] for partition in partitions])
        for count, record in enumerate(in_time(found.values())):
            self._add(ring, [record])
            if count % 500 == 0:
                await asyncio.sleep(0)
        for partition, end in ends.items():
            ring.advance(partition.partition, end)
        return ring

    def _add(self, ring: Ring, records: Iterable[ConsumerRecord[Any, Any]]) -> None:
        news = False
        for record in records:
            if record.offset < ring.after[record.partition]:
                raise TopicRecreatedError(f"partition {record.partition} gave offset {record.offset} again")
            parsed = parse(record)
            if parsed is None:
                ring.advance(record.partition, record.offset + 1)
            else:
                news = ring.add(record.partition, record.offset, *parsed) or news
                FEED_ADDED.inc()
                if (tracing := current()) is not None:
                    tracing.follow(record, "notification in the feed", {"messaging.destination.name": record.topic})
        if news:
            self._wake()

    def _wake(self) -> None:
        if self._waking is not None:
            return
        loop = asyncio.get_running_loop()
        wait_s = self._woken_s + self.pace_s - loop.time()
        if wait_s <= 0:
            self._wake_now()
        else:
            self._waking = loop.call_later(wait_s, self._wake_now)

    def _wake_now(self) -> None:
        self._waking = None
        self._woken_s = asyncio.get_running_loop().time()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _report(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            log.warning("notifications cannot be read", error=trouble)
        self._trouble = trouble


async def _until(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> AsyncIterator[ConsumerRecord[Any, Any]]:
    """Records of the assigned partitions until each has reached its end (exclusive).

    By position, since a log may end with markers. Raises `KafkaTimeoutError` when nothing has come for `CATCH_UP_STALL_S`: an answer that is empty says
    no more than that Kafka is slow, or away.
    """
    pending = dict(ends)
    loop = asyncio.get_running_loop()
    moved_s = loop.time()
    while pending:
        fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_RECORDS)
        for partition, records in fetched.items():
            for record in records:
                if partition in ends and record.offset < ends[partition]:
                    yield record
        for partition in list(pending):
            if await consumer.position(partition) >= pending[partition]:
                del pending[partition]
        if fetched:
            moved_s = loop.time()
        elif pending and loop.time() - moved_s > CATCH_UP_STALL_S:
            raise KafkaTimeoutError(f"nothing of {len(pending)} partitions within {CATCH_UP_STALL_S:g} s")


def in_time(partitions: Iterable[list[ConsumerRecord[Any, Any]]]) -> Iterable[ConsumerRecord[Any, Any]]:
    """Merges partitions by the time Kafka took the records; within one the order of the offsets is kept, whatever its times say."""
    return heapq.merge(*partitions, key=lambda record: record.timestamp)


def parse(record: ConsumerRecord[Any, Any]) -> tuple[str, bytes, Facts] | None:
    """Id, compact JSON and facts of a notification; `None`, with a warning, for what is not one."""
    try:
        document = orjson.loads(record.value or b"")
        identifier = document["notificationId"]
        if isinstance(identifier, str) and identifier:
            # Joined into bytes of their own: what orjson returns keeps the buffer it was made in, and this is held for long.
            return identifier, b"".join((orjson.dumps(document), b"")), facts_of(document)
    except (ValueError, KeyError, TypeError):
        pass
    log.warning("not a notification", topic=record.topic, partition=record.partition, offset=record.offset)
    return None


def is_ahead(point: Offsets, other: Offsets) -> bool:
    """Whether a point is beyond another one in any partition."""
    return any(mine > theirs for mine, theirs in zip(point, other, strict=False))
