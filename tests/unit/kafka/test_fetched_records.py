"""Records of source topics come out as through the client's own code: same records, same position behind them."""

import pytest
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c_py
from aiokafka.structs import TopicPartition

from ems_streams.kafka.fetched_records import SourceRecords

TP = TopicPartition("device-telemetry", 3)
READ_COMMITTED = 1
ABORT_MARKER = b"\x00\x00\x00\x00"
COMMIT_MARKER = b"\x00\x00\x00\x01"
CONTROL_BIT = 0x20


def batch(first_offset: int, count: int, *, producer_id: int = -1, transactional: bool = False, compression: int = 0) -> bytes:
    builder = DefaultRecordBatchBuilder(2, compression, transactional, producer_id, 0, 0, 1 << 20)
    for number in range(count):
        builder.append(number, 1_000 + number, b"INV-%d" % number, b"value %d" % (first_offset + number), [("h", b"1")])
    return placed(builder, first_offset)


def marker(offset: int, kind: bytes, producer_id: int) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, True, producer_id, 0, 0, 1 << 20)
    builder.append(0, 1_000, kind, b"", [])
    return with_crc(placed(builder, offset), attributes=0x10 | CONTROL_BIT)


def placed(builder: DefaultRecordBatchBuilder, first_offset: int) -> bytes:
    # The base offset is no part of what the checksum covers.
    return first_offset.to_bytes(8, "big") + bytes(builder.build())[8:]


def with_crc(data: bytes, attributes: int) -> bytes:
    changed = data[:21] + attributes.to_bytes(2, "big") + data[23:]
    return changed[:17] + calc_crc32c_py(changed[21:]).to_bytes(4, "big") + changed[21:]


def read(kind: type[PartitionRecords], data: bytes, position: int, aborted: list[tuple[int, int]]) -> tuple[list[tuple[object, ...]], int]:
    records = kind(TP, MemoryRecords(data), list(aborted), position, None, None, True, READ_COMMITTED)
    taken = [(record.offset, record.timestamp, record.key, record.value, tuple(record.headers)) for record in records]
    return taken, records.next_fetch_offset


@pytest.fixture(autouse=True)
def source_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SourceRecords, "source_topics", frozenset({TP.topic}))


@pytest.mark.parametrize("compression", [0, 1], ids=["plain", "gzip"])
@pytest.mark.parametrize("position", [0, 10, 13, 14, 15, 17, 19, 20, 24, 25, 99])
def test_same_records_and_position_from_wherever_the_fetch_begins(position: int, compression: int) -> None:
    data = b"".join(batch(first, 5, compression=compression) for first in (10, 15, 20))
    assert read(SourceRecords, data, position, []) == read(PartitionRecords, data, position, [])


@pytest.mark.parametrize("position", [0, 2, 5, 6, 9, 12, 13])
def test_aborted_transactions_and_markers_are_left_out(position: int) -> None:
    batches = {
        3: batch(0, 3, producer_id=7, transactional=True),
        6: batch(3, 3, producer_id=8, transactional=True),
        7: marker(6, ABORT_MARKER, 7),
        8: marker(7, COMMIT_MARKER, 8),
        12: batch(8, 4, producer_id=7, transactional=True),
        13: marker(12, COMMIT_MARKER, 7),
    }
    # A broker begins with the batch that holds the position, and names the aborted transactions from there on.
    aborted = [(7, 0)] if position <= 6 else []
    data = b"".join(each for end, each in batches.items() if end > position)
    ours = read(SourceRecords, data, position, aborted)
    assert ours == read(PartitionRecords, data, position, aborted)
    assert [record[0] for record in ours[0]] == [offset for offset in (3, 4, 5, 8, 9, 10, 11) if offset >= position]


def test_records_are_the_parsed_ones_and_those_of_other_topics_are_not() -> None:
    data = batch(0, 2)
    assert {type(record).__name__ for record in SourceRecords(TP, MemoryRecords(data), [], 0, None, None, True, 0)} == {"DefaultRecord"}
    other = TopicPartition("another", 0)
    assert {type(record).__name__ for record in SourceRecords(other, MemoryRecords(data), [], 0, None, None, True, 0)} == {"ConsumerRecord"}


def test_a_damaged_batch_is_refused_and_those_before_it_are_given() -> None:
    damaged = bytearray(batch(5, 5))
    damaged[-3] ^= 1
    records = iter(SourceRecords(TP, MemoryRecords(batch(0, 5) + bytes(damaged)), [], 0, None, None, True, READ_COMMITTED))
    assert [next(records).offset for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(CorruptRecordException, match="Invalid CRC"):
        next(records)
