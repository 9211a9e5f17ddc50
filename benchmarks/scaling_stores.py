"""Reads what a recovery has left in the local store of a peer, when its process is gone, in the form that `check.py` compares."""

from collections.abc import Collection, Iterator
from pathlib import Path

import orjson
from rocksdict import AccessType, Options, Rdict

from benchmarks.check import Observed, of_our_records
from ems_streams.kafka.partition_state import POSITION_KEY

_BOOKKEEPING = b"__faust\0offset__"


class NoStoreError(Exception):
    """There is no database where a recovery should have left one."""


def ours(directory: Path, topic: str, sampled: Collection[str]) -> tuple[Observed, int]:
    """Devices, windows of the sampled ones, and positions of our worker's databases, and the number of keys of devices and quarters."""
    keys = 0

    def counted() -> Iterator[tuple[int, bytes, bytes]]:
        nonlocal keys
        for partition, key, value in _entries(directory, "device-aggregates"):
            keys += key != POSITION_KEY
            yield partition, key, value

    return of_our_records(counted(), topic, sampled), keys


def faust(directory: Path, ends: dict[int, int]) -> tuple[Observed, int]:
    """Both tables of the idiomatic Faust peer, and the number of keys in the two; `ends` is what it has read of each partition."""
    observed, keys = Observed(ends=ends), 0
    for _, key, value in _entries(directory, "devices"):
        keys += 1
        observed.totals[_text(key)] = orjson.loads(value)
    for _, key, value in _entries(directory, "minutes"):
        keys += 1
        serial, (start, _) = orjson.loads(key)
        observed.windows[_text(serial.encode()), int(start * 1000)] = orjson.loads(value)
    return observed, keys


def _text(key: bytes) -> str:
    return str(orjson.loads(key)) if key[:1] == b'"' else key.decode()


def _entries(directory: Path, table: str) -> Iterator[tuple[int, bytes, bytes]]:
    """Partition, key and value of everything in the databases of a table, wherever below the directory they are."""
    databases = [path for path in directory.rglob(f"*{table}-*.db") if path.is_dir()]
    if not databases:
        raise NoStoreError(f"no database of {table} below {directory}")
    for path in databases:
        partition = int(path.stem.rsplit("-", 1)[1])
        database = Rdict(str(path), Options(raw_mode=True), access_type=AccessType.read_only())
        try:
            entries = database.iter()
            entries.seek_to_first()
            while entries.valid():
                if entries.key() != _BOOKKEEPING:
                    yield partition, entries.key(), entries.value()
                entries.next()
            # A damaged block ends the iteration like the last entry does.
            entries.status()
        finally:
            database.close()
