"""What a channel makes durable: records in the order in which they were noted, several at once in one transaction."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from ems_streams.kafka.batching import KeyValue
from ems_streams.kafka.transactions import PartitionWriter
from ems_streams.metrics.dependencies import count_dead_letters

Output = tuple[str, int, KeyValue]
"""Topic, partition and record."""


class _Batch:
    def __init__(self) -> None:
        self.outputs: dict[tuple[str, int], list[KeyValue]] = defaultdict(list)
        self.durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Journal:
    """Collects records while a transaction is under way, and commits them with the next one.

    After a failure nothing is taken any more, and nothing may be assumed of what was noted last: the channel is restored from the changelog.

    Args:
        writer: Opened for the channel; closed by whoever opened it.
        changelog: Topic and partition of the channel's own records.
    """

    def __init__(self, writer: PartitionWriter, changelog: tuple[str, int]) -> None:
        self._writer = writer
        self._changelog = changelog
        self._batch = _Batch()
        self._noted = asyncio.Event()
        self.commits = 0

    def note(self, records: Iterable[tuple[bytes, bytes | None]], outputs: Iterable[Output] = ()) -> "asyncio.Future[None]":
        """Take records for the next transaction, those of one call together; await the result, shielded, to know that they are durable."""
        batch = self._batch
        batch.outputs[self._changelog] += [(key, value, []) for key, value in records]
        for topic, partition, record in outputs:
            batch.outputs[topic, partition].append(record)
        self._noted.set()
        return batch.durable

    async def run(self) -> None:
        """Commit what is noted for as long as nobody cancels it; raises `CommitError`."""
        while True:
            await self._noted.wait()
            self._noted.clear()
            await self.flush()

    async def flush(self) -> None:
        """Commit what is noted now; raises `CommitError`."""
        batch, self._batch = self._batch, _Batch()
        if not any(batch.outputs.values()):
            return
        try:
            await self._writer.commit(batch.outputs)
        except BaseException:
            batch.durable.cancel()
            self._batch.durable.cancel()
            raise
        self.commits += 1
        count_dead_letters(batch.outputs)
        batch.durable.set_result(None)
