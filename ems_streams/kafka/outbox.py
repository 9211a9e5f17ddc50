"""Delivers records to Kafka for as long as it takes: what `deliver` has returned for is on the brokers, acks=all."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import stamina
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from ems_streams.domain.circuit_breaker import BreakerState, CircuitBreaker
from ems_streams.kafka.batching import KeyValue, send_records
from ems_streams.kafka.client import producer_options
from ems_streams.kafka.gzip_level import use_fast_gzip
from ems_streams.kafka.own_rights import absence_of
from ems_streams.kafka.partitioner import partition_for
from ems_streams.kafka.refusals import refusal_of, told
from ems_streams.metrics.dependencies import DELIVERED_RECORDS, DELIVERY_FAILURES, count_dead_letters
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

_PROBE_INTERVAL_S = 5.0
_STUCK_AFTER_S = 5.0
_STOP_TIMEOUT_S = 3.0
_JITTER = 1.25
_TRIAL_PAUSE_S = 0.05
"""Whoever waits for the trial of somebody else looks again after so long."""
_MAX_KNOWN_KEYS = 1_000_000


@dataclass(frozen=True, slots=True)
class Record:
    """What is to be on a topic.

    Attributes:
        topic: Kafka topic.
        key: Decides the partition, unless one is named; records of one key keep their order.
        value: Encoded; None for the dead letter of a record that had none.
        headers: Of the record.
        partition: The partition; None leaves it to the key.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = field(default_factory=list)
    partition: int | None = None


Shipment = dict[tuple[str, int], list[KeyValue]]


class KafkaOutbox:
    """An idempotent producer that does not give up, behind a circuit breaker.

    While the breaker is open nothing is sent; whoever delivers waits, and with it the acknowledgement of what it delivers.

    Args:
        settings: Where Kafka is.
        topics: Every topic that is delivered to; they must exist.
        client_id: Name of the producer at the brokers.

    Attributes:
        breaker: Opens when Kafka does not take a record, and closes with the first that it takes.
    """

    def __init__(self, settings: Settings, topics: Iterable[str], client_id: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._partition_counts = dict.fromkeys(topics, 0)
        self._partitions: dict[bytes, int] = {}
        self._producer: AIOKafkaProducer | None = None
        self._probe: asyncio.Task[None] | None = None
        self._reachable = False
        self._delivering_since_s: float | None = None
        self._failure = ""
        self.breaker = CircuitBreaker()

    @property
    def available(self) -> bool:
        """Whether Kafka answers and nothing is known to have failed; what waits all the same waits for something else."""
        return self._producer is not None and self._reachable and self.breaker.state is BreakerState.CLOSED

    def check(self) -> tuple[bool, str]:
        """Whether Kafka takes records, as far as is known, and one line about it; from memory."""
        if self._producer is None or not self._reachable:
            return False, refusal_of(self._settings) or f"{self._settings.kafka_bootstrap_servers}: not reachable"
        if self.breaker.state is not BreakerState.CLOSED:
            return False, f"circuit breaker {self.breaker.state}: {self.breaker.reason}"
        if self._delivering_since_s is not None:
            waited_s = asyncio.get_running_loop().time() - self._delivering_since_s
            if waited_s > _STUCK_AFTER_S:
                return False, f"a delivery has been waiting for {waited_s:.0f} s {self._failure}".rstrip()
        return True, self._settings.kafka_bootstrap_servers

    def partitions_of(self, topic: str) -> int:
        """How many partitions one of the topics had when the producer was opened last; 0 before."""
        return self._partition_counts[topic]

    async def start(self) -> None:
        """Connect, however long Kafka takes to be there; raises `TopicsMissingError`."""
        use_fast_gzip()
        async for attempt in _patiently():
            with attempt:
                await self._open_producer()
        self._reachable = True
        self._probe = asyncio.create_task(self._keep_probing(), name="kafka probe")

    async def stop(self) -> None:
        """Close within a few seconds; what is still on the way may or may not arrive."""
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)
        await self._close_producer()

    async def deliver(self, records: Iterable[Record]) -> None:
        """Return when Kafka has acknowledged every record; waits through outages, trying again when the breaker allows it.

        Records of one key keep their order within a call, and across calls if each is awaited before the next. A failed
        attempt may leave duplicates, never gaps. Only cancellation ends it early.
        """
        shipment = wanted = self._by_partition(records)
        self._delivering_since_s = asyncio.get_running_loop().time()
        try:
            while shipment:
                await asyncio.sleep(self._pause_s())
                if self.breaker.allows(time.monotonic()):
                    shipment = await self._try(shipment)
        finally:
            self._delivering_since_s = None
        for (topic, _), delivered in wanted.items():
            DELIVERED_RECORDS.labels(topic).inc(len(delivered))
        count_dead_letters(wanted)

    def _pause_s(self) -> float:
        """How long to wait for the breaker; not all the same, so that replicas do not come back at the same moment."""
        wait_s = self.breaker.wait_s(time.monotonic())
        if wait_s == 0.0 and self.breaker.state is BreakerState.HALF_OPEN:
            wait_s = _TRIAL_PAUSE_S
        return wait_s * random.uniform(1.0, _JITTER)  # noqa: S311 - no secret

    async def _try(self, shipment: Shipment) -> Shipment:
        """Try once, and tell the breaker; gives what Kafka did not take."""
        try:
            left = await self._ship(shipment)
        except (KafkaError, OSError) as error:
            left, self._failure = shipment, refusal_of(self._settings) or told(error)
        except BaseException as error:
            if self.breaker.state is BreakerState.HALF_OPEN:
                # Without an outcome the trial would be waited for for ever.
                self.breaker.on_failure(time.monotonic(), self._failure or told(error))
            raise
        if left:
            DELIVERY_FAILURES.inc()
            self.breaker.on_failure(time.monotonic(), self._failure)
        else:
            self.breaker.on_success(time.monotonic())
        return left

    def _by_partition(self, records: Iterable[Record]) -> Shipment:
        shipment: Shipment = defaultdict(list)
        for record in records:
            partition = record.partition
            if partition is None:
                partition = 0 if record.key is None else self._hash(record.key) % self._partition_counts[record.topic]
            shipment[record.topic, partition].append((record.key, record.value, record.headers))
        return shipment

    def _hash(self, key: bytes) -> int:
        hashed = self._partitions.get(key)
        if hashed is None:
            if len(self._partitions) >= _MAX_KNOWN_KEYS:
                self._partitions.clear()
            hashed = self._partitions[key] = partition_for(key, 2**31)
        return hashed

    async def _ship(self, shipment: Shipment) -> Shipment:
        """Try once; gives what Kafka did not take."""
        if self._producer is None:
            await self._open_producer()
        outcomes = await asyncio.gather(*(self._ship_partition(where, what) for where, what in shipment.items()), return_exceptions=True)
        failed: Shipment = {}
        for (where, what), outcome in zip(shipment.items(), outcomes, strict=True):
            if isinstance(outcome, KafkaError | OSError):
                failed[where] = what
                self._failure = f"{where[0]}[{where[1]}]: {told(outcome)}"
                if not getattr(outcome, "retriable", False):
                    # The producer may have lost its sequence for good; only a new one can go on then.
                    await self._close_producer()
            elif isinstance(outcome, BaseException):
                raise outcome
        if failed:
            self._reachable = False
            log.warning("kafka_delivery_failed", partitions=len(failed), error=self._failure)
        else:
            self._reachable = True
            self._failure = ""
        return failed

    async def _ship_partition(self, where: tuple[str, int], records: list[KeyValue]) -> None:
        assert self._producer is not None
        for batch in await send_records(self._producer, where[0], where[1], records):
            await batch.future

    async def _open_producer(self) -> None:
        producer = AIOKafkaProducer(**producer_options(self._settings), client_id=self._client_id, compression_type="gzip")
        try:
            await producer.start()
            await self._count_partitions(producer)
        except BaseException:
            await _close(producer)
            raise
        self._producer = producer

    async def _count_partitions(self, producer: AIOKafkaProducer) -> None:
        cluster = await producer.client.fetch_all_metadata()
        missing = [topic for topic in self._partition_counts if topic not in cluster.topics()]
        if missing:
            raise await absence_of(self._settings, missing)
        for topic in self._partition_counts:
            self._partition_counts[topic] = len(cluster.partitions_for_topic(topic))

    async def _close_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _close(producer)

    async def _keep_probing(self) -> None:
        while True:
            await asyncio.sleep(_PROBE_INTERVAL_S)
            if self._producer is None:
                continue
            try:
                async with asyncio.timeout(_PROBE_INTERVAL_S):
                    await self._producer.client.fetch_all_metadata()
                self._reachable = True
            except (KafkaError, OSError):
                self._reachable = False


def _patiently() -> stamina._core._RetryContextIterator:
    return stamina.retry_context(on=(KafkaError, OSError), attempts=None, timeout=None, wait_max=5.0)


async def _close(producer: AIOKafkaProducer) -> None:
    # Stopping flushes, which waits for as long as Kafka is away.
    try:
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            await producer.stop()
    except (KafkaError, OSError):
        log.warning("kafka_producer_not_flushed")
