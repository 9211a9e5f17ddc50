"""RocksDB store of a table: Faust's store with bounded memory, an explicit close, and a say in what is damaged.

Faust's own defaults are a 2 GiB block cache and 90 % of the open-file limit *per partition*, closing is left to the
garbage collector, and a rebalance waits half a minute for a lock. The store is a copy of the changelog and may be lost at any
time; what must never happen is that it is read when it is not what the changelog says.
"""

import asyncio
import contextlib
import gc
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import structlog
from faust.stores.rocksdb import RocksDBOptions
from faust.stores.rocksdb import Store as FaustStore
from faust.types import TP
from rocksdict import BlockBasedIndexType, BlockBasedOptions, Cache, Options, Rdict, ReadOptions, WriteBatch

from ems_streams.domain.state_codec import StateCodecError
from ems_streams.errors import EmsError

log = structlog.get_logger(__name__)

BLOCK_CACHE_BYTES = 64 * 1024 * 1024
"""Of a process: all partitions of all its tables share it, so that memory does not follow how many of them there are."""
WRITE_BUFFER_BYTES = 4 * 1024 * 1024
"""Of each partition. A table that is written slowly takes hours to fill its buffers, and memory grows until then: large ones are only for a table that needs them."""
FILE_BYTES = 16 * 1024 * 1024
MAX_OPEN_FILES = 64

LOCK_WAIT_S = 10.0
"""How long a partition's database may be in use by another process, such as a predecessor that is just ending."""

LOCK_RETRY_S = 0.25

UNUSED_MAX_S = 12 * 3600.0
"""A store that nothing was written to for longer is read anew: Kafka keeps a tombstone in a compacted topic for a day (`delete.retention.ms`), and who has not
read it by then would have the key that was deleted for ever."""

FOUND_DAMAGED = "it was found damaged while in use"


class StoreDamagedError(StateCodecError):
    """A local database turned out to be damaged while in use; the next start wipes it and recovers it from the changelog."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__("state", f"the local store {path} is damaged, and is wiped at the next start: {_one_line(error)}")


class StoreLockedError(EmsError):
    """Another living process has the database open."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"the local store {path} is in use by another process: two workers must not have the same state directory; "
            "give each an EMS_WORKER_ID of its own, or end the other one"
        )


class StoreUnusableError(EmsError):
    """The database cannot be opened for a reason that wiping it would not mend, such as missing permissions or a full disk."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(f"the local store {path} cannot be opened: {_one_line(error)}")


_BLOCK_CACHE = Cache(BLOCK_CACHE_BYTES)


def block_cache_used_bytes() -> int:
    """What the cache that all tables share holds."""
    return _BLOCK_CACHE.get_usage()


class _Options(RocksDBOptions):
    """Faust's, which give each partition a block cache of its own, and hold for a database only when it is made: opened again, it has those from its files, and the smallest of caches."""

    def open(self, path: Path, *, read_only: bool = False) -> Rdict:
        # All is in the column family "default", and its options are looked for here first.
        options = self.as_options()
        database = Rdict(str(path), options=options, column_families={"default": options})
        database.set_read_options(ReadOptions())
        return database

    def as_options(self) -> Options:
        blocks = BlockBasedOptions()
        blocks.set_bloom_filter(self.bloom_filter_size, block_based=True)
        blocks.set_block_cache(_BLOCK_CACHE)
        blocks.set_index_type(BlockBasedIndexType.binary_search())
        options = super().as_options()
        options.set_block_based_table_factory(blocks)
        return options


class Store(FaustStore):
    """Store of one table; its directory must belong to this worker alone.

    A partition's database that is damaged is wiped, once, loudly, and recovered from the changelog: at once if that shows when it is
    opened, at the next start if it shows later, since whoever reads it by then must not find it empty.

    Attributes:
        on_damage: Called with the error when damage shows in a database in use; must end the worker.
    """

    logger = logging.getLogger("faust.stores")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_damage: Callable[[StoreDamagedError], None] = lambda _: None
        self.rocksdb_options = _Options(
            max_open_files=MAX_OPEN_FILES,
            write_buffer_size=WRITE_BUFFER_BYTES,
            target_file_size_base=FILE_BYTES,
            block_cache_size=0,  # ours takes the place of Faust's
            use_rocksdict=True,
        )

    def buffer_writes(self, buffer_bytes: int) -> None:
        """Set the size of each partition's write buffer, of which there may be three; before any partition is opened."""
        self.rocksdb_options.write_buffer_size = buffer_bytes

    @property
    def buffered_bytes(self) -> int:
        """What is in memory of what was written, in all partitions that are open."""
        return sum(database.property_int_value("rocksdb.size-all-mem-tables") or 0 for database in self._dbs.values())

    async def open_partition(self, partition: int, lock_wait_s: float = LOCK_WAIT_S) -> None:
        """Open a partition's database if it is not open yet, and wait a while if another process has it.

        Raises `StoreLockedError` when it still has it then: its owner lives, and the database is not touched.
        """
        started_s = time.monotonic()
        waiting = False
        while True:
            try:
                self._db_for_partition(partition)
                return
            except StoreLockedError:
                if time.monotonic() - started_s >= lock_wait_s:
                    raise
            if not waiting:
                log.warning("store_locked", path=str(self.path_of(partition)), wait_s=lock_wait_s)
                waiting = True
            await asyncio.sleep(LOCK_RETRY_S)

    def _open_for_partition(self, partition: int) -> Rdict:
        path = self.path_of(partition)
        if self._mark_of(partition).exists():
            self.wipe(partition, FOUND_DAMAGED)
        unused_s = _unused_s(path, self._written_mark_of(partition))
        try:
            database = super()._open_for_partition(partition)
        except Exception as error:
            if _is_lock(error):
                raise StoreLockedError(path) from error
            if not _is_damage(error):
                raise StoreUnusableError(path, error) from error
            self.wipe(partition, _one_line(error))
            return super()._open_for_partition(partition)
        if unused_s <= UNUSED_MAX_S:
            return database
        # Not before it is open: somebody else may have it.
        database.close()
        self.wipe(partition, f"nothing was written to it for {unused_s / 3600:.0f} hours, in which keys may have been deleted")
        return super()._open_for_partition(partition)

    def get_raw(self, partition: int, key: bytes) -> bytes | None:
        """Stored bytes of a key, or None; raises `StoreDamagedError`."""
        try:
            value: bytes | None = self._db_for_partition(partition).get(key)
        except Exception as error:
            self._raise_if_damage(partition, error)
            raise
        return value

    def items_raw(self, partition: int, first: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of a partition from one key on in their order, without the store's own bookkeeping; raises `StoreDamagedError`."""
        entries = self._db_for_partition(partition).iter()
        entries.seek(first)
        while entries.valid():
            key = entries.key()
            if key != self.offset_key:
                yield key, entries.value()
            entries.next()
        try:
            # A damaged block ends the iteration like the last entry does.
            entries.status()
        except Exception as error:
            self._raise_if_damage(partition, error)
            raise

    def write_raw(self, partition: int, entries: Iterable[tuple[bytes, bytes | None]], changelog_offset: int) -> None:
        """Write (or, for None, delete) entries and the changelog offset they are from, all or nothing; raises `StoreDamagedError`."""
        batch = WriteBatch(raw_mode=True)
        for key, value in entries:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(self.offset_key, str(changelog_offset).encode())
        try:
            self._db_for_partition(partition).write(batch)
        except Exception as error:
            self._raise_if_damage(partition, error)
            raise
        mark = self._written_mark_of(partition)
        try:
            os.utime(mark)
        except FileNotFoundError:
            mark.touch()

    def complete_up_to(self, partition: int) -> int | None:
        """Changelog offset up to which the partition's database is complete; None when it is empty, or was damaged and is so now.

        Only for who is about to recover the partition: nobody else may be reading it.
        """
        if self._mark_of(partition).exists():
            self.wipe(partition, FOUND_DAMAGED)
        try:
            offset = self._db_for_partition(partition).get(self.offset_key)
        except Exception as error:
            if not _is_damage(error):
                raise
            self.wipe(partition, _one_line(error))
            return None
        return None if offset is None else int(offset)

    def _raise_if_damage(self, partition: int, error: Exception) -> None:
        if isinstance(error, EmsError) or not _is_damage(error):
            return
        path = self.path_of(partition)
        self._mark_of(partition).touch()
        log.error("store_damaged", path=str(path), error=_one_line(error))
        damage = StoreDamagedError(path, error)
        self.on_damage(damage)
        raise damage from error

    def wipe(self, partition: int, reason: str) -> None:
        """Delete a partition's local database, and say so; the next use opens an empty one."""
        path, mark = self.path_of(partition), self._mark_of(partition)
        log.warning("store_wiped", path=str(path), reason=reason)
        self.close_partition(partition)
        # As long as the mark is there, what a crash leaves half deleted does not pass for a database.
        mark.touch()
        shutil.rmtree(path, ignore_errors=True)
        self._written_mark_of(partition).unlink(missing_ok=True)
        mark.unlink()

    def close_partition(self, partition: int) -> None:
        """Close a partition's database and release its lock."""
        database = self._dbs.pop(partition, None)
        if database is not None:
            database.close()

    def persisted_offset(self, tp: TP) -> int | None:
        """None: Faust asks in the middle of a rebalance, which must not wait for a lock, and does nothing with the answer."""
        return None

    async def assign_partitions(self, table: Any, tps: AbstractSet[TP], generation_id: int = 0) -> None:
        """Nothing: recovery opens what it needs, outside of the rebalance, which must not wait for anything."""

    async def need_active_standby_for(self, tp: TP) -> bool:
        """Always: no two workers share a state directory."""
        return True

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

    def _mark_of(self, partition: int) -> Path:
        """A file that is there when the database beside it must not be used any more."""
        path = self.path_of(partition)
        return path.with_name(path.name + ".damaged")

    def _written_mark_of(self, partition: int) -> Path:
        """A file whose time is that of the last writing; the database's own files are made anew by each start."""
        path = self.path_of(partition)
        return path.with_name(path.name + ".written")


def _unused_s(path: Path, mark: Path) -> float:
    """How long ago something was written to a database; 0 for one that there is not."""
    if not path.is_dir():
        return 0.0
    try:
        return time.time() - mark.stat().st_mtime
    except FileNotFoundError:
        # Of a release that made no such marks: by its files, of which each start has made new ones.
        with contextlib.suppress(OSError):
            return time.time() - max((file.stat().st_mtime for file in path.glob("*.sst")), default=time.time())
        return 0.0  # somebody has it open, as shows next


def _is_lock(error: Exception) -> bool:
    text = str(error)
    # A damaged block is no lock, and neither is a path with such a name.
    return text.startswith("IO error") and ("While lock file" in text or "lock hold by current process" in text)


def _is_damage(error: Exception) -> bool:
    """Whether an error of RocksDB is about the files that it finds, and not about what it may do with them."""
    text = str(error)
    return text.startswith(("Corruption", "Invalid argument")) or (text.startswith("IO error") and "No such file or directory" in text)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
