"""What producers compress at a level of ours is what every Kafka client can read."""

import gzip
import sys

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from ems_streams.kafka import gzip_level

GZIP = 1
VALUES = [b"a value that occurs again and again %d" % number for number in range(200)]


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[DefaultRecordBatchBuilder.__module__]
    monkeypatch.setattr(module, "gzip_encode", module.gzip_encode)
    gzip_level.use_fast_gzip()


def batch() -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=GZIP, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=100_000
    )
    for offset, value in enumerate(VALUES):
        builder.append(offset, timestamp=1, key=b"key", value=value, headers=[])
    return bytes(builder.build())


def test_it_is_read_back_as_it_was() -> None:
    data = batch()
    assert len(data) < len(b"".join(VALUES)) / 4
    assert [record.value for record in MemoryRecords(data).next_batch()] == VALUES


def test_producers_use_the_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing would tell otherwise if aiokafka came to compress in another way."""
    best = len(batch())
    monkeypatch.setattr(gzip_level, "LEVEL", 1)
    assert len(batch()) > best
    assert gzip.decompress(gzip_level.gzip_encode(b"x" * 1000, 9)) == b"x" * 1000
