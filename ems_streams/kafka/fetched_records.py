"""Records of source topics as the client has parsed them, a whole batch at a time.

aiokafka hands over record by record, through three functions in Python, and copies each into a `ConsumerRecord`: more work than the
parsing. What it decides about a batch (checksum, aborted transactions, markers, where the next fetch begins) is decided by its own
code here too; only the loop over the records is left out. Positions are right when all is drained at once: the client must have
no `max_poll_records`.
"""

from collections.abc import Iterator
from itertools import chain, dropwhile
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords


class _Whole:
    """A parsed batch that looks like a batch of one record, whose offset is that of the last one."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch
        self.offset = batch.next_offset - 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self.batch, name)

    def __iter__(self) -> Iterator["_Whole"]:
        return iter((self,))

    def __next__(self) -> Any:
        return next(self.batch)  # how the client reads a control record


class _WholeBatches:
    """The client's reader of a fetched response, giving `_Whole` batches."""

    def __init__(self, records: Any) -> None:
        self.has_next = records.has_next
        self._next_batch = records.next_batch

    def next_batch(self) -> _Whole:
        return _Whole(self._next_batch())


class SourceRecords(PartitionRecords):
    """What was fetched from a partition; for source topics an iterator over the client's own parsed records."""

    source_topics: frozenset[str] = frozenset()

    def __init__(self, tp: Any, records: Any, *args: Any, **kwargs: Any) -> None:
        self._is_source = tp.topic in self.source_topics
        super().__init__(tp, _WholeBatches(records) if self._is_source else records, *args, **kwargs)
        unpacked = self._unpack_records()
        self._records_iterator: Iterator[Any] = chain.from_iterable(unpacked) if self._is_source else unpacked

    def __iter__(self) -> Iterator[Any]:
        # Not through `__next__` of the client, which is called for each record and only passes it on.
        return self._records_iterator

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        if not self._is_source:
            return super()._consumer_record(tp, record)
        position: int = self.next_fetch_offset
        if record.base_offset >= position:
            return record.batch
        # A batch is fetched whole, also when the position is in its middle.
        return dropwhile(lambda each: each.offset < position, record.batch)


def use_source_records(source_topics: frozenset[str]) -> None:
    """Let clients of this process read these topics so, from now on."""
    SourceRecords.source_topics = source_topics
    fetcher.PartitionRecords = SourceRecords
