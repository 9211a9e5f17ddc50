"""RocksDB store of a table partition: Faust's store with bounded memory, an explicit close and no thirty-second lock wait.

Faust's own defaults are a 2 GiB block cache and 90 % of the open-file limit *per partition*, and closing is left to the
garbage collector.
"""

import gc
import logging
import shutil
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import structlog
from faust.stores.rocksdb import RocksDBOptions
from faust.stores.rocksdb import Store as FaustStore
from faust.types import TP
from rocksdict import Rdict, WriteBatch

log = structlog.get_logger(__name__)

BLOCK_CACHE_BYTES = 16 * 1024 * 1024
WRITE_BUFFER_BYTES = 16 * 1024 * 1024
MAX_OPEN_FILES = 64


class Store(FaustStore):
    """Store of one table; `datadir` must belong to this worker alone.

    A partition's database that cannot be opened because it is corrupt is wiped, once, loudly, and recovered from the changelog.
    """

    logger = logging.getLogger("faust.stores")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rocksdb_options = RocksDBOptions(
            max_open_files=MAX_OPEN_FILES,
            write_buffer_size=WRITE_BUFFER_BYTES,
            target_file_size_base=WRITE_BUFFER_BYTES,
            block_cache_size=BLOCK_CACHE_BYTES,
            use_rocksdict=True,
        )

    def _open_for_partition(self, partition: int) -> Rdict:
        try:
            return super()._open_for_partition(partition)
        except Exception as error:
            if "lock" in str(error).lower():
                raise
            path = self.partition_path(partition)
            log.error("store_wiped", table=self.table_name, partition=partition, path=str(path), error=str(error))
            shutil.rmtree(path, ignore_errors=True)
            return super()._open_for_partition(partition)

    def get_raw(self, partition: int, key: bytes) -> bytes | None:
        """Stored bytes of a key, or None."""
        value: bytes | None = self._db_for_partition(partition).get(key)
        return value

    def items_raw(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values of a partition in key order, without the store's own bookkeeping."""
        for key, value in self._db_for_partition(partition).items():
            if key != self.offset_key:
                yield key, value

    def write_raw(self, partition: int, entries: Iterator[tuple[bytes, bytes | None]], changelog_offset: int) -> None:
        """Write (or, for None, delete) entries and the changelog offset they are from, all or nothing."""
        batch = WriteBatch(raw_mode=True)
        for key, value in entries:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(self.offset_key, str(changelog_offset).encode())
        self._db_for_partition(partition).write(batch)

    def wipe(self, partition: int) -> None:
        """Delete a partition's local database; the next use opens an empty one."""
        self.close_partition(partition)
        shutil.rmtree(self.partition_path(partition), ignore_errors=True)

    def close_partition(self, partition: int) -> None:
        """Close a partition's database and release its lock."""
        database = self._dbs.pop(partition, None)
        if database is not None:
            database.close()

    def revoke_partitions(self, table: Any, tps: AbstractSet[TP]) -> None:
        """Close what was taken away, so that its next owner on this machine can open it."""
        for tp in tps:
            if tp.topic in table.changelog_topic.topics:
                self.close_partition(tp.partition)
        gc.collect()

    async def stop(self) -> None:
        """Close every partition."""
        for partition in list(self._dbs):
            self.close_partition(partition)

    def path_of(self, partition: int) -> Path:
        """Directory of a partition's database."""
        return Path(self.partition_path(partition))
