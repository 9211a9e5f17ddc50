"""All records of one partition from one poll: what an agent gets as one stream event."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol, TypeVar, cast

from ems_streams.domain.aggregates import SourceRecord
from ems_streams.errors import MalformedError

T = TypeVar("T")

DECODED_AT_ONCE = 256
"""So few that a value is still in the processor's cache when it is folded: that saves an eighth of decoding and folding."""


class Record(SourceRecord, Protocol):
    """What the engine needs of a Kafka record (aiokafka's `ConsumerRecord` has it)."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class RecordBatch:
    """Records of one topic partition in offset order, never empty, delivered in one epoch of the engine.

    Every agent that reads the topic gets the same object, so what one of them decoded the others reuse.
    """

    __slots__ = ("_decoded", "epoch", "partition", "records", "topic")

    def __init__(self, topic: str, partition: int, records: Sequence[Record], epoch: int) -> None:
        self.topic = topic
        self.partition = partition
        self.records = records
        self.epoch = epoch
        self._decoded: dict[Callable[..., Any], list[Any]] = {}

    def __len__(self) -> int:
        return len(self.records)

    def part(self, start: int, stop: int) -> "RecordBatch":
        """The records from index `start` up to and without `stop`, as a batch of its own."""
        return RecordBatch(self.topic, self.partition, self.records[start:stop], self.epoch)

    @property
    def last_offset(self) -> int:
        """Offset of the last record."""
        return self.records[-1].offset

    def after(self, offset: int) -> int:
        """Index of the first record behind `offset`: what is before it has been processed already."""
        if self.records[0].offset > offset:
            return 0
        if self.records[-1].offset <= offset:
            return len(self.records)
        return next(index for index, record in enumerate(self.records) if record.offset > offset)

    def known(self, decode: Callable[[bytes | None], T], index: int) -> T | MalformedError | None:
        """What a record was decoded to, if it has been decoded already."""
        values = self._decoded.get(decode)
        return None if values is None or index >= len(values) else cast(T | MalformedError, values[index])

    def decoded(self, decode: Callable[[bytes | None], T], start: int) -> Iterator[tuple[Record, T | MalformedError]]:
        """Records from index `start` with their decoded value, or with the error that says why they have none.

        Each value is decoded once, however many agents read the batch.
        """
        return chain.from_iterable(zip(*piece, strict=True) for piece in self.decoded_pieces(decode, start))

    def decoded_pieces(
        self, decode: Callable[[bytes | None], T], start: int
    ) -> Iterator[tuple[Sequence[Record], Sequence[T | MalformedError]]]:
        """As `decoded`, for who takes many at once: pieces of at most `DECODED_AT_ONCE` records, and as many values."""
        values = self._decoded.get(decode)
        if values is None:
            values = self._decoded[decode] = []
        records = self.records
        while start < len(records):
            stop = min(start + DECODED_AT_ONCE, len(records))
            if len(values) < stop:
                _decode_all(decode, records[len(values) : stop], values)
            yield records[start:stop], cast(list[T | MalformedError], values[start:stop])
            start = stop


def _decode_all(decode: Callable[[bytes | None], T], records: Sequence[Record], values: list[T | MalformedError]) -> None:
    append = values.append
    for record in records:
        try:
            append(decode(record.value))
        except MalformedError as error:
            append(error)
