"""Publishing many records to one partition as few produced batches: one future per batch instead of one per record."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata

Headers = Sequence[tuple[str, bytes]]
KeyValue = tuple[bytes | None, bytes | None, Headers]
"""Key, value and headers of a record to be produced."""


@dataclass(frozen=True, slots=True)
class SentBatch:
    """A batch on its way; `future` resolves when the brokers have it."""

    future: "asyncio.Future[RecordMetadata]"
    count: int

    async def last_offset(self) -> int:
        """Offset of the batch's last record, once acknowledged."""
        return int((await self.future).offset) + self.count - 1


async def send_records(producer: AIOKafkaProducer, topic: str, partition: int, records: Iterable[KeyValue]) -> list[SentBatch]:
    """Hand records to the producer in order, in batches of its maximum batch size; await each to know that Kafka has it.

    Guarantees order within the partition. A record larger than a batch travels alone.
    """
    sent: list[SentBatch] = []
    batch = producer.create_batch()
    for key, value, headers in records:
        if batch.append(key=key, value=value, timestamp=None, headers=list(headers)) is None:
            sent.append(await _send(producer, batch, topic, partition))
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None, headers=list(headers))
    if batch.record_count():
        sent.append(await _send(producer, batch, topic, partition))
    return sent


async def _send(producer: AIOKafkaProducer, batch: object, topic: str, partition: int) -> SentBatch:
    batch.close()  # type: ignore[attr-defined]  # aiokafka has no public name for its batch builder
    future = await producer.send_batch(batch, topic, partition=partition)
    return SentBatch(future, batch.record_count())  # type: ignore[attr-defined]  # as above
