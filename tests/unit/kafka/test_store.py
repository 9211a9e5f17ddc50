"""The local store: what is damaged is never read as if it were not, and what another process has is left alone."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ems_streams.domain.state_codec import StateCodecError
from ems_streams.kafka.partition_state import Codec
from ems_streams.kafka.state_table import StateTable
from ems_streams.kafka.store import Store, StoreDamagedError, StoreLockedError, StoreUnusableError
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.settings import Settings

PARTITION = 1
MIB = 1024 * 1024
KEYS = [b"%06d" % number for number in range(2_000)]

HOLDER = """
import sys
from rocksdict import Options, Rdict

database = Rdict(sys.argv[1], Options(raw_mode=True))
print("open", flush=True)
sys.stdin.read()
"""


def new_store(directory: Path) -> Store:
    app = WorkerApp(Settings(data_dir=directory))
    table = StateTable(app, "things", Codec(bytes, bytes), 4)
    return table.store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = new_store(tmp_path)
    yield made
    asyncio.run(made.stop())


def two_stores(directory: Path, **options: int) -> tuple[Store, Store]:
    """Of two tables of one worker, the second with options of its own."""
    app = WorkerApp(Settings(data_dir=directory))
    return StateTable(app, "things", Codec(bytes, bytes), 4).store, StateTable(app, "others", Codec(bytes, bytes), 4, **options).store


def told(store: Store, name: str) -> int:
    """What RocksDB says of the partition."""
    value = store._dbs[PARTITION].property_int_value(f"rocksdb.{name}")
    assert value is not None
    return value


def test_all_tables_of_a_worker_share_one_block_cache(tmp_path: Path) -> None:
    first, second = two_stores(tmp_path)
    fill(first)
    assert second.get_raw(PARTITION, KEYS[0]) is None
    before = told(second, "block-cache-usage")
    for key in KEYS:
        assert first.get_raw(PARTITION, key)
    assert told(second, "block-cache-usage") == told(first, "block-cache-usage") > before + 200_000
    asyncio.run(first.stop())
    asyncio.run(second.stop())


def test_a_table_writes_to_disk_what_fills_its_buffer(tmp_path: Path) -> None:
    """Otherwise the memory of a table that is written slowly grows for hours; with databases that an earlier build made, too."""
    small, large = two_stores(tmp_path, write_buffer_bytes=16 * MIB)
    for store, buffer_bytes, before_bytes in ((small, 4 * MIB, 16 * MIB), (large, 16 * MIB, 4 * MIB)):
        store.buffer_writes(before_bytes)
        store._db_for_partition(PARTITION)
        store.close_partition(PARTITION)
        store.buffer_writes(buffer_bytes)
        for number in range(8):
            store.write_raw(PARTITION, [(b"%d" % number, os.urandom(MIB))], number)
    assert told(small, "size-all-mem-tables") < 8 * MIB < told(large, "size-all-mem-tables")
    for store in (small, large):
        asyncio.run(store.stop())


def fill(store: Store) -> list[Path]:
    """Write many keys and close; the files that then have them."""
    store.write_raw(PARTITION, ((key, os.urandom(200)) for key in KEYS), 77)
    store._dbs[PARTITION].flush()
    store.close_partition(PARTITION)
    return sorted(store.path_of(PARTITION).glob("*.sst"))


def overwrite(path: Path, at: int, length: int = 64) -> None:
    content = path.read_bytes()
    assert len(content) > at + length
    path.write_bytes(content[:at] + b"\xaa" * length + content[at + length :])


def wiped(logs: list[MutableMapping[str, Any]]) -> list[str]:
    return [entry["path"] for entry in logs if entry["event"] == "store_wiped"]


def test_what_was_written_is_there_after_it_was_closed(store: Store) -> None:
    fill(store)
    assert store.complete_up_to(PARTITION) == 77
    assert [key for key, _ in store.items_raw(PARTITION)] == KEYS
    assert store.get_raw(PARTITION, KEYS[7]) is not None
    store.write_raw(PARTITION, [(KEYS[7], None)], 78)
    assert store.get_raw(PARTITION, KEYS[7]) is None
    assert store.complete_up_to(PARTITION) == 78


@pytest.mark.parametrize(("hours", "kept"), [(11, True), (13, False)])
def test_a_store_from_before_tombstones_that_kafka_may_have_forgotten_is_read_anew(store: Store, hours: int, kept: bool) -> None:
    fill(store)
    store.close_partition(PARTITION)
    ago_s = time.time() - hours * 3600
    os.utime(store._written_mark_of(PARTITION), (ago_s, ago_s))
    with capture_logs() as logs:
        assert (store.get_raw(PARTITION, KEYS[0]) is not None) is kept
    assert (store.complete_up_to(PARTITION) is not None) is kept
    assert [each["event"] for each in logs] == ([] if kept else ["store_wiped"])


@pytest.mark.parametrize("name", ["MANIFEST-*", "CURRENT", "*.sst"])
def test_damage_that_shows_when_it_is_opened_costs_the_copy_and_nothing_else(store: Store, name: str) -> None:
    fill(store)
    for path in store.path_of(PARTITION).glob(name):
        path.write_bytes(b"\x00garbage" * 10)
    with capture_logs() as logs:
        assert store.complete_up_to(PARTITION) is None
    assert wiped(logs) == [str(store.path_of(PARTITION))]
    assert list(store.items_raw(PARTITION)) == []


def test_a_damaged_block_is_no_lock(store: Store) -> None:
    """Although the word is in its name."""
    (table,) = fill(store)
    overwrite(table, table.stat().st_size - 200)
    with capture_logs() as logs:
        assert store.complete_up_to(PARTITION) is None
    assert [entry for entry in logs if "block" in entry.get("reason", "")], logs
    assert len(wiped(logs)) == 1


def test_a_file_that_is_missing_is_damage(store: Store) -> None:
    for path in fill(store):
        path.unlink()
    with capture_logs() as logs:
        assert store.complete_up_to(PARTITION) is None
    assert len(wiped(logs)) == 1


def test_damage_where_the_offset_is_shows_when_it_is_asked_for(store: Store) -> None:
    (table,) = fill(store)
    content = table.read_bytes()
    overwrite(table, content.index(store.offset_key) + 4)
    with capture_logs() as logs:
        assert store.complete_up_to(PARTITION) is None
    assert len(wiped(logs)) == 1


def test_damage_that_shows_in_use_ends_the_use_and_is_wiped_at_the_next_start(store: Store, tmp_path: Path) -> None:
    (table,) = fill(store)
    overwrite(table, 20)
    told: list[StoreDamagedError] = []
    store.on_damage = told.append
    assert store.complete_up_to(PARTITION) == 77, "the damage is elsewhere"
    with pytest.raises(StateCodecError, match="damaged") as caught:
        store.get_raw(PARTITION, KEYS[0])
    assert str(store.path_of(PARTITION)) in str(caught.value)
    assert told == [caught.value]
    # Until then it must not be empty: a state that is not found would be begun anew.
    with pytest.raises(StoreDamagedError):
        store.get_raw(PARTITION, KEYS[0])
    store.close_partition(PARTITION)

    restarted = new_store(tmp_path)
    with capture_logs() as logs:
        assert restarted.complete_up_to(PARTITION) is None
        assert restarted.get_raw(PARTITION, KEYS[0]) is None
        assert restarted.complete_up_to(PARTITION) is None
    assert len(wiped(logs)) == 1
    asyncio.run(restarted.stop())


def test_a_listing_of_a_damaged_store_is_no_short_listing(store: Store) -> None:
    (table,) = fill(store)
    overwrite(table, table.stat().st_size // 2)
    with pytest.raises(StoreDamagedError):
        list(store.items_raw(PARTITION))


def test_a_store_that_cannot_be_opened_for_another_reason_is_not_wiped(store: Store) -> None:
    path = store.path_of(PARTITION)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("somebody's file")
    with pytest.raises(StoreUnusableError, match="cannot be opened") as caught:
        store.get_raw(PARTITION, b"key")
    assert str(path) in str(caught.value)
    assert path.read_text() == "somebody's file"


async def test_what_another_process_has_open_is_waited_for_and_left_alone(store: Store) -> None:
    fill(store)
    path = store.path_of(PARTITION)
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with capture_logs() as logs, pytest.raises(StoreLockedError, match="in use by another process") as caught:
            await store.open_partition(PARTITION, lock_wait_s=0.6)
        assert str(path) in str(caught.value)
        assert [entry["event"] for entry in logs] == ["store_locked"]

        opening = asyncio.create_task(store.open_partition(PARTITION, lock_wait_s=10))
        await asyncio.sleep(0.3)
        assert not opening.done()
        holder.stdin.close()
        await opening
    assert store.complete_up_to(PARTITION) == 77
    assert len(list(store.items_raw(PARTITION))) == len(KEYS)
