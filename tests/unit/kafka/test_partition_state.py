"""A partition between memory, the changelog and the store, above all what is deleted from it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from ems_streams.kafka import partition_state
from ems_streams.kafka.batching import KeyValue
from ems_streams.kafka.partition_state import POSITION_KEY, Codec, PartitionState
from ems_streams.kafka.state_table import StateTable
from ems_streams.kafka.store import Store
from ems_streams.kafka.transactions import CommitError, PartitionWriter
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.settings import Settings

PARTITION = 1
CHANGELOG = "things-changelog"


class RecordingWriter:
    """Takes what a partition commits, and ends the transaction when the test lets it."""

    def __init__(self) -> None:
        self.commits: list[Mapping[tuple[str, int], Sequence[KeyValue]]] = []
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.fails = False

    async def commit(self, outputs: Mapping[tuple[str, int], Sequence[KeyValue]]) -> dict[tuple[str, int], int]:
        self.begun.set()
        await self.may_end.wait()
        if self.fails:
            raise CommitError("as the test wants")
        self.commits.append(outputs)
        return {target: 100 * len(self.commits) + len(records) for target, records in outputs.items() if records}

    async def close(self) -> None:
        pass

    def changelog(self) -> list[dict[bytes | None, bytes | None]]:
        """What each commit wrote there, without positions."""
        return [{key: value for key, value, _ in each[CHANGELOG, PARTITION] if key != POSITION_KEY} for each in self.commits]


def encode(state: bytearray) -> bytes:
    return bytes(state)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = StateTable(WorkerApp(Settings(data_dir=tmp_path)), "things", Codec(encode, bytearray), 4).store
    yield made
    await made.stop()


@pytest.fixture
def writer() -> RecordingWriter:
    return RecordingWriter()


def opened(store: Store, writer: RecordingWriter, shared_by: int = 1) -> PartitionState[bytearray]:
    codec = Codec(encode, bytearray)
    return PartitionState(
        PARTITION, epoch=1, changelog=CHANGELOG, codec=codec, store=store, writer=cast(PartitionWriter, writer), shared_by=lambda: shared_by
    )


@pytest.fixture
async def partition(store: Store, writer: RecordingWriter) -> PartitionState[bytearray]:
    """With A and B, which are durable, and A in memory only as far as it was read."""
    made = opened(store, writer)
    for key in (b"A", b"B"):
        made.put(key, bytearray(key * 3))
    made.advance("source", 7)
    await made.commit()
    writer.begun.clear()
    return made


def keys(found: Iterable[tuple[bytes, bytearray]]) -> set[bytes]:
    return {key for key, _ in found}


async def test_a_deleted_key_is_gone_for_readers_at_once(partition: PartitionState[bytearray]) -> None:
    partition.delete(b"A")
    assert partition.get(b"A") is None
    assert partition.peek(b"A") is None
    assert keys(partition.items()) == {b"B"}
    assert partition.has_work


@pytest.mark.parametrize("is_in_memory", [True, False])
async def test_a_deleted_key_is_gone_for_readers_while_its_commit_is_under_way(
    store: Store, writer: RecordingWriter, partition: PartitionState[bytearray], is_in_memory: bool
) -> None:
    if not is_in_memory:
        partition = opened(store, writer)
    partition.delete(b"A")
    writer.may_end.clear()
    commit = asyncio.create_task(partition.commit())
    await writer.begun.wait()
    assert store.get_raw(PARTITION, b"A") is not None, "the store is written behind the transaction"
    assert partition.get(b"A") is None
    assert partition.peek(b"A") is None
    assert keys(partition.items()) == {b"B"}
    writer.may_end.set()
    await commit
    assert partition.get(b"A") is None
    assert keys(partition.items()) == {b"B"}


async def test_a_deletion_is_a_tombstone_in_the_changelog_and_the_key_gone_from_the_store(
    store: Store, writer: RecordingWriter, partition: PartitionState[bytearray]
) -> None:
    partition.delete(b"A")
    await partition.commit()
    assert writer.changelog()[-1] == {b"A": None}
    assert store.get_raw(PARTITION, b"A") is None
    assert keys(partition.items()) == {b"B"}
    assert opened(store, writer).get(b"A") is None
    assert not partition.has_work


async def test_a_key_may_come_again_before_during_and_after_the_commit_of_its_deletion(
    store: Store, writer: RecordingWriter, partition: PartitionState[bytearray]
) -> None:
    partition.delete(b"A")
    partition.put(b"A", bytearray(b"before"))
    assert partition.get(b"A") == b"before"
    await partition.commit()
    assert (writer.changelog()[-1], store.get_raw(PARTITION, b"A")) == ({b"A": b"before"}, b"before")

    partition.delete(b"A")
    writer.begun.clear()
    writer.may_end.clear()
    commit = asyncio.create_task(partition.commit())
    await writer.begun.wait()
    partition.put(b"A", bytearray(b"during"))
    assert partition.get(b"A") == b"during"
    assert dict(partition.items())[b"A"] == b"during"
    writer.may_end.set()
    await commit
    assert (partition.get(b"A"), store.get_raw(PARTITION, b"A"), partition.has_work) == (b"during", None, True)
    await partition.commit()
    assert store.get_raw(PARTITION, b"A") == b"during"


async def test_a_key_that_changes_and_is_deleted_is_deleted(
    store: Store, writer: RecordingWriter, partition: PartitionState[bytearray]
) -> None:
    partition.put(b"A", bytearray(b"changed"))
    partition.put(b"C", bytearray(b"new"))
    partition.delete(b"A")
    partition.delete(b"C")
    await partition.commit()
    assert writer.changelog()[-1] == {b"A": None, b"C": None}
    assert keys(partition.items()) == {b"B"}


async def test_what_was_deleted_since_the_last_commit_is_there_again_after_a_rollback(
    store: Store, writer: RecordingWriter, partition: PartitionState[bytearray]
) -> None:
    partition.delete(b"A")
    partition.put(b"B", bytearray(b"changed"))
    partition.advance("source", 8)
    partition.rollback()
    assert (partition.get(b"A"), partition.get(b"B")) == (b"AAA", b"BBB")
    assert (partition.positions, partition.has_work) == ({"source": 7}, False)


async def test_a_deletion_whose_commit_fails_has_not_happened(
    store: Store, writer: RecordingWriter, partition: PartitionState[bytearray]
) -> None:
    writer.fails = True
    partition.delete(b"A")
    with pytest.raises(CommitError):
        await partition.commit()
    assert store.get_raw(PARTITION, b"A") == b"AAA"
    with pytest.raises(CommitError, match="an earlier commit failed"):
        await partition.commit()
    assert opened(store, RecordingWriter()).get(b"A") == b"AAA", "who recovers the partition has it"


async def test_outputs_go_to_the_same_partition_unless_another_is_named(
    writer: RecordingWriter, partition: PartitionState[bytearray]
) -> None:
    partition.publish("out", b"K", b"1")
    partition.publish("out", b"K", b"2", partition=3)
    partition.publish("out", b"K", b"3", partition=0)
    partition.publish("out", b"K", b"4")
    await partition.commit()
    outputs = {target: [value for _, value, _ in records] for target, records in writer.commits[-1].items() if target[0] == "out"}
    assert outputs == {("out", PARTITION): [b"1", b"4"], ("out", 3): [b"2"], ("out", 0): [b"3"]}
    assert list(writer.commits[-1])[-1] == (CHANGELOG, PARTITION)


async def filled(partition: PartitionState[bytearray], names: Iterable[str]) -> None:
    """Commit a state of 100 bytes under each key; the bytes of the position make up less than that."""
    for name in names:
        partition.put(name.encode(), bytearray(100))
    await partition.commit()


async def test_states_that_did_not_just_change_leave_the_memory_first(
    partition: PartitionState[bytearray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_state, "CACHED_BYTES_MAX", 6 * 100)
    await filled(partition, "CDEF")
    assert set(partition.keys_in_memory()) == {b"A", b"B", b"C", b"D", b"E", b"F"}
    await filled(partition, "GH")
    assert set(partition.keys_in_memory()) == {b"G", b"H"}
    assert partition.get(b"C") == bytearray(100), "it is read again"


async def test_partitions_of_a_table_share_what_may_be_in_memory(
    store: Store, writer: RecordingWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_state, "CACHED_BYTES_MAX", 8 * 100)
    for shared_by, held in ((1, 6), (2, 2)):
        partition = opened(store, writer, shared_by)
        await filled(partition, "CDEF")
        await filled(partition, "GH")
        assert len(partition.keys_in_memory()) == held


async def test_what_does_not_fit_at_all_leaves_the_memory_but_for_what_waits_for_the_next_commit(
    partition: PartitionState[bytearray], writer: RecordingWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_state, "CACHED_BYTES_MAX", 3 * 100)
    writer.may_end.clear()
    commit = asyncio.create_task(filled(partition, "CDEFG"))
    await writer.begun.wait()
    partition.put(b"G", bytearray(b"changed meanwhile"))
    writer.may_end.set()
    await commit
    assert sorted(partition.keys_in_memory()) == [b"C", b"D", b"G"]
    assert (partition.get(b"E"), partition.get(b"G")) == (bytearray(100), b"changed meanwhile")


async def test_memory_is_bounded_by_bytes_whatever_sizes_states_have(
    partition: PartitionState[bytearray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device has a small state that changes all the time, and large ones of which there is one more every quarter of an hour."""
    monkeypatch.setattr(partition_state, "CACHED_BYTES_MAX", 10_000)
    for quarter in range(30):
        partition.put(f"quarter-{quarter}".encode(), bytearray(2_000))
        for _ in range(10):
            partition.put(b"device", bytearray(50))
            await partition.commit()
        held = sum(len(partition.get(key) or b"") for key in partition.keys_in_memory())
        assert held <= 10_000, f"{held} bytes after {quarter} quarters"
    assert b"device" in partition.keys_in_memory()


@pytest.mark.parametrize(("unused_bytes_max", "held"), [(300, {b"A", b"D"}), (10_000, {b"A", b"B", b"C", b"D", b"E", b"F"})])
async def test_what_is_not_used_for_long_leaves_the_memory_of_a_table_that_is_large(
    store: Store, writer: RecordingWriter, monkeypatch: pytest.MonkeyPatch, unused_bytes_max: int, held: set[bytes]
) -> None:
    monkeypatch.setattr(partition_state, "UNUSED_BYTES_MAX", unused_bytes_max)
    partition = opened(store, writer)
    await filled(partition, "ABCDEF")
    monkeypatch.setattr(partition_state, "KEPT_UNUSED_S", 0.0)
    await filled(partition, "AD")
    assert len(partition.keys_in_memory()) == 6, "all were written in this time"
    monkeypatch.setattr(partition_state, "KEPT_UNUSED_S", 60.0)
    await filled(partition, "D")
    partition.put(b"A", bytearray(b"changed"))
    monkeypatch.setattr(partition_state, "KEPT_UNUSED_S", 0.0)
    await filled(partition, "A")
    assert set(partition.keys_in_memory()) == held
    assert partition.get(b"B") == bytearray(100), "it is read again"


async def test_what_is_read_and_forgotten_again_counts_no_more(
    partition: PartitionState[bytearray], monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(partition, "CDEF")
    partition.rollback()
    monkeypatch.setattr(partition_state, "CACHED_BYTES_MAX", 5 * 100)
    for name in "CDEF":
        partition.get(name.encode())
    for name in "CDE":
        partition.delete(name.encode())
    await filled(partition, "G")
    assert set(partition.keys_in_memory()) >= {b"F", b"G"}, "nothing has to leave"
    for name in "HIJK":
        await filled(partition, name)
    assert set(partition.keys_in_memory()) == {b"K"}, "more than five would be there now"


async def test_the_largest_of_what_has_just_changed_leave_first(
    partition: PartitionState[bytearray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_state, "CACHED_BYTES_MAX", 1_000)
    partition.put(b"large", bytearray(900))
    partition.put(b"larger", bytearray(950))
    partition.put(b"small", bytearray(50))
    await partition.commit()
    assert set(partition.keys_in_memory()) == {b"large", b"small"}


async def test_folding_pauses_when_too_many_states_wait_for_a_commit(
    partition: PartitionState[bytearray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_state, "CHANGES_MAX", 2)
    for name, overloaded in (("C", False), ("D", False), ("D", False), ("E", True)):
        partition.put(name.encode(), bytearray(1))
        assert partition.overloaded is overloaded
    await partition.commit()
    assert not partition.overloaded


class Completing:
    """Notes what it is asked to complete, and what else ran in between."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.on_step: Callable[[], None] = lambda: None

    def __call__(self, partition: PartitionState[bytearray], keys: Iterable[bytes]) -> None:
        self.steps += [key.decode() for key in keys]
        self.on_step()


@pytest.fixture
def completing(monkeypatch: pytest.MonkeyPatch) -> Completing:
    """One key at a time, with a pause behind each."""
    monkeypatch.setattr(partition_state, "COMPLETED_AT_ONCE", 1)
    monkeypatch.setattr(partition_state, "PAUSE_AFTER_S", -1.0)
    return Completing()


def with_marks(store: Store, writer: RecordingWriter, completing: Completing) -> PartitionState[bytearray]:
    made = opened(store, writer)
    made._complete = completing
    for name in "ABC":
        made.put(name.encode(), bytearray(1))
        made.mark(name.encode(), outputs=1)
    return made


async def test_much_work_for_one_commit_has_pauses_in_which_the_partition_is_not_folded(
    store: Store, writer: RecordingWriter, completing: Completing
) -> None:
    partition = with_marks(store, writer, completing)
    steps = completing.steps

    async def fold() -> None:
        await asyncio.sleep(0)
        await partition.wait_until_complete()
        steps.append("folded")

    async def others() -> None:
        for _ in range(2):
            await asyncio.sleep(0)
            steps.append("other")

    await asyncio.gather(partition.commit(), fold(), others())
    assert [step for step in steps if step not in {"other", "folded"}] == ["A", "B", "C"]
    assert steps.index("A") < steps.index("other") < steps.index("C") < steps.index("folded")
    assert set(writer.changelog()[-1]) == {b"A", b"B", b"C"}
    assert not partition.overloaded


async def test_a_partition_that_is_given_up_in_a_pause_commits_nothing(
    store: Store, writer: RecordingWriter, completing: Completing
) -> None:
    partition = with_marks(store, writer, completing)
    completing.on_step = partition.abandon
    await partition.commit()
    assert (completing.steps, writer.commits) == (["A"], [])


async def test_what_is_marked_while_the_rest_is_completed_is_completed_before_the_commit(
    store: Store, writer: RecordingWriter, completing: Completing
) -> None:
    partition = with_marks(store, writer, completing)
    completing.on_step = lambda: None if "D" in completing.steps else partition.mark(b"D")
    await partition.commit()
    assert completing.steps == ["A", "B", "C", "D"]
    assert len(writer.commits) == 1
