"""The only way in which a worker writes to Kafka: one transaction per commit of one partition of one table.

Outputs, changelog and source positions become visible together or not at all. The transactional id belongs to the partition,
so opening a writer fences whoever owned the partition before: a worker that was paused past its session cannot write any more.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerFenced

from ems_streams.errors import EmsError
from ems_streams.kafka.alive_timeout import alive_timeout
from ems_streams.kafka.batching import KeyValue, send_records
from ems_streams.kafka.client import producer_options
from ems_streams.kafka.refusals import told
from ems_streams.settings import Settings

TRANSACTION_TIMEOUT_MS = 20_000
"""How long a crashed writer's open transaction can hold readers back if nobody takes its partition over."""


OPEN_TIMEOUT_S = 20.0
COMMIT_TIMEOUT_S = 8.0
"""Deadline of a commit, so that an outage of Kafka is noticed, and said, within ten seconds."""
CLOSE_TIMEOUT_S = 3.0


class CommitError(EmsError):
    """A transaction did not commit; nothing may be assumed of it, so its partition has to be recovered from the changelog."""


class FencedError(CommitError):
    """Another worker owns the partition now, or did for a moment; whether it is ours again only the group can say."""


class PartitionWriter:
    """Transactional producer of one table partition."""

    def __init__(self, producer: AIOKafkaProducer, transactional_id: str) -> None:
        self._producer = producer
        self.transactional_id = transactional_id

    @classmethod
    async def open(cls, settings: Settings, transactional_id: str) -> Self:
        """Start a producer; on return every earlier owner of the id is fenced and its open transaction aborted."""
        producer = AIOKafkaProducer(
            **producer_options(settings),
            client_id=transactional_id,
            transactional_id=transactional_id,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        )
        writer = cls(producer, transactional_id)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await producer.start()
        except BaseException:
            await writer.close()
            raise
        return writer

    async def commit(self, outputs: Mapping[tuple[str, int], Sequence[KeyValue]]) -> dict[tuple[str, int], int]:
        """Publish records to their topics and partitions in one transaction; gives the offset of the last record of each.

        Raises `FencedError` or `CommitError`; after either the writer must not be used again.
        """
        # A failed transaction is not aborted here: that would wait for a Kafka that is away. Opening the next writer aborts it.
        try:
            async with alive_timeout(COMMIT_TIMEOUT_S):
                await self._producer.begin_transaction()
                sent = [(target, await send_records(self._producer, *target, records)) for target, records in outputs.items()]
                offsets = {target: [await batch.last_offset() for batch in batches][-1] for target, batches in sent if batches}
                await self._producer.commit_transaction()
                return offsets
        except ProducerFenced as error:
            raise FencedError(f"{self.transactional_id}: another worker owns this partition now") from error
        except (KafkaError, TimeoutError) as error:
            raise CommitError(f"{self.transactional_id}: {told(error)}") from error

    async def close(self) -> None:
        """Stop the producer, within a few seconds; an open transaction is aborted by the next owner."""
        # Stopping flushes, which waits for as long as Kafka is away.
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._producer.stop()
