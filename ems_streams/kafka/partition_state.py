"""One partition of a state table in the hands of its one owner: states in memory, what changed, and how it becomes durable.

Folding is synchronous and touches memory only. `commit` makes everything folded so far durable in the order of the rules in
ARCHITECTURE.md: one Kafka transaction carries outputs, changelog and source positions; the local store is written after it.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

import orjson

from ems_streams.domain.state_codec import StateCodecError
from ems_streams.kafka.batching import Headers, KeyValue
from ems_streams.kafka.store import Store
from ems_streams.kafka.transactions import CommitError, PartitionWriter
from ems_streams.tracing import Source, current

S = TypeVar("S")

POSITION_KEY = b"\x00position"
"""Key of the changelog record with the last folded offset per source topic; a NUL cannot begin a serial number."""

CACHED_BYTES_MAX = 256 * 1024 * 1024
"""Of states that a worker keeps in memory, in their stored form: of one table, all its partitions together. What is read between two commits comes on top."""
UNUSED_BYTES_MAX = CACHED_BYTES_MAX // 32
"""From so much on what is not used leaves the memory although there is room: quarters of an hour that are over, above all."""
KEPT_UNUSED_S = 120.0
"""Not used is what was for so long neither read from the store nor changed."""
CHANGES_MAX = 20_000
"""States that may wait for a commit."""
OUTPUTS_MAX = 20_000
COMPLETED_AT_ONCE = 16
PAUSE_AFTER_S = 0.02
"""A burst of late messages may leave seconds of work for one commit: live reads, heartbeats and the commits of others do not wait for all of it."""


OnCommit = Callable[[float, Mapping[bytes, bytes | None], Mapping[tuple[str, int], Sequence[KeyValue]]], None]
"""`on_commit(took_s, changes, outputs)`: told of every commit that got through: how long it took, what it wrote and what it published."""


class CompletionError(Exception):
    """What folds leave for the end of a commit interval failed; its cause says why. Nothing was committed."""


@dataclass(frozen=True, slots=True)
class Codec(Generic[S]):
    """How a state becomes bytes and back; `decode` raises on bytes it does not know."""

    encode: Callable[[S], bytes]
    decode: Callable[[bytes], S]


class PartitionState(Generic[S]):
    """States of one partition.

    Attributes:
        partition: Its number.
        epoch: Of the engine, in which it was opened.
        changelog: Topic of its changes.
        positions: Offset of the last folded record per source topic, as in memory.
        durable_positions: The same, as committed; what a crash falls back to.
        cause: The record that is being folded, while tracing is on: what is published meanwhile goes on with its trace.
        derived: What the agent derives from the states and keeps in memory only, by a name of its own; gone with the states after a rollback.
    """

    def __init__(
        self,
        partition: int,
        *,
        epoch: int,
        changelog: str,
        codec: Codec[S],
        store: Store,
        writer: PartitionWriter,
        complete: "Callable[[PartitionState[S], Iterable[bytes]], None] | None" = None,
        on_commit: "OnCommit" = lambda took_s, changes, outputs: None,
        shared_by: Callable[[], int] = lambda: 1,
    ) -> None:
        self.partition = partition
        self.epoch = epoch
        self.changelog = changelog
        self._codec = codec
        self._store = store
        self._writer = writer
        self._complete = complete
        self._on_commit = on_commit
        self._shared_by = shared_by
        self._marked: dict[bytes, None] = {}
        self._expected_outputs = 0
        self._states: dict[bytes, S] = {}
        # Of each state in memory, as far as it was ever stored: what it takes in its stored form; and all of that together.
        self._sizes: dict[bytes, int] = {}
        self._cached_bytes = 0
        # Of which states something was read from the store, or written, since the last time that unused ones left.
        self._used: set[bytes] = set()
        self._swept_s = time.monotonic()
        self._dirty: dict[bytes, S | None] = {}
        self._going: frozenset[bytes] = frozenset()
        self._outputs: defaultdict[tuple[str, int], list[KeyValue]] = defaultdict(list)
        self._output_count = 0
        self._commit_lock = asyncio.Lock()
        self._completing = asyncio.Lock()
        self._void = False
        self._abandoned = False
        self.cause: Source | None = None
        self.derived: dict[str, Any] = {}
        self.urgent = asyncio.Event()
        self.last_commit_s = time.monotonic()
        self.positions: dict[str, int] = self._stored_positions()
        self.durable_positions = dict(self.positions)

    def _stored_positions(self) -> dict[str, int]:
        raw = self._store.get_raw(self.partition, POSITION_KEY)
        return dict(orjson.loads(raw)) if raw else {}

    def get(self, key: bytes) -> S | None:
        """The state of a key, the very object that folds change; None when the key was never seen."""
        state = self._states.get(key)
        if state is not None:
            return state
        # What is deleted is in the store until the commit that carries the deletion is through.
        if key in self._dirty or key in self._going:
            return None
        raw = self._store.get_raw(self.partition, key)
        if raw is None:
            return None
        state = self._states[key] = self._codec.decode(raw)
        self._resize(key, len(raw))
        self._used.add(key)
        return state

    def _resize(self, key: bytes, size: int) -> None:
        self._cached_bytes += size - self._sizes.get(key, 0)
        self._sizes[key] = size

    def peek(self, key: bytes) -> S | bytes | None:
        """The state of a key if it is in memory, otherwise its stored bytes; nothing is decoded, and nothing kept."""
        state = self._states.get(key)
        if state is not None:
            return state
        return None if key in self._dirty or key in self._going else self._store.get_raw(self.partition, key)

    def keys_in_memory(self) -> list[bytes]:
        """Every key whose state is in memory; those of which something is not stored yet are among them."""
        return list(self._states)

    def stored(self, first: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to so many stored keys, from one on in their order, with their bytes."""
        return list(islice(self._store.items_raw(self.partition, first), limit))

    def changed(self) -> Mapping[bytes, S | None]:
        """What has changed since the last commit, by key; None for what was deleted. For the time of one fold."""
        return self._dirty

    def put(self, key: bytes, state: S) -> None:
        """Mark a state as changed; it is written with the next commit."""
        # Most keys that change have changed since the last commit already.
        if self._dirty.get(key) is not state:
            self._states[key] = self._dirty[key] = state

    def mark(self, key: bytes, outputs: int = 0) -> None:
        """Leave a key to the agent's `complete`, which is called once before the next commit, however often the key was marked.

        `outputs` is how many records more that may publish: with too many of them a commit comes early.
        """
        self._marked[key] = None
        self._expected_outputs += outputs

    def mark_all(self, keys: Sequence[bytes], outputs: int = 0) -> None:
        """`mark` for each of some keys, which may be there several times."""
        self._marked.update(dict.fromkeys(keys))
        self._expected_outputs += len(keys) * outputs

    def complete(self) -> None:
        """Do what folds have left to be done once per commit, in memory; raises whatever the agent's code raises."""
        while self._marked:
            self._complete_some()

    async def _complete_patiently(self) -> bool:
        """As `complete`, with pauses for everything else that the process has to do; this partition is not to be folded in them.

        False when the partition was given up in one of them.
        """
        async with self._completing:
            paused_s = time.monotonic()
            while self._marked and not self._abandoned:
                self._complete_some()
                if time.monotonic() - paused_s > PAUSE_AFTER_S:
                    await asyncio.sleep(0)
                    paused_s = time.monotonic()
            return not self._abandoned

    async def wait_until_complete(self) -> None:
        """Wait while a commit does what folds have left: more of it meanwhile, and it would not end."""
        if self._completing.locked():
            async with self._completing:
                pass

    def _complete_some(self) -> None:
        keys = list(islice(self._marked, COMPLETED_AT_ONCE))
        for key in keys:
            del self._marked[key]
        if not self._marked:
            self._expected_outputs = 0
        if self._complete is not None:
            self._complete(self, keys)

    def delete(self, key: bytes) -> None:
        """Forget the state of a key; it is removed with the next commit."""
        self._states.pop(key, None)
        self._cached_bytes -= self._sizes.pop(key, 0)
        self._dirty[key] = None

    def publish(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = (), partition: int | None = None) -> None:
        """Publish a record with the next commit, which then comes soon; to the same partition as this one unless another is named."""
        if self.cause is not None and (header := self._followed(self.cause, topic)) is not None:
            headers = (*headers, header)
        self._outputs[topic, self.partition if partition is None else partition].append((key, value, headers))
        self._output_count += 1
        self.urgent.set()

    def _followed(self, cause: Source, topic: str) -> tuple[str, bytes] | None:
        tracing = current()
        return None if tracing is None else tracing.follow(cause, f"{topic} publish", {"messaging.destination.name": topic})

    def advance(self, topic: str, offset: int) -> None:
        """Everything up to `offset` of a source topic has been folded."""
        self.positions[topic] = offset

    def abandon(self) -> None:
        """Never commit again what is in memory: a fold failed in the middle of it. The partition has to be recovered."""
        self._void = self._abandoned = True

    def rollback(self) -> None:
        """Forget what was folded since the last commit; only while no commit is under way."""
        if self._commit_lock.locked():
            raise RuntimeError(f"rollback of partition {self.partition} of {self.changelog} while a commit is under way")
        self.cause = None
        self._states.clear()
        self._sizes.clear()
        self._cached_bytes = 0
        self._dirty.clear()
        self.derived.clear()
        self._marked.clear()
        self._expected_outputs = 0
        self._outputs.clear()
        self._output_count = 0
        self.positions = dict(self.durable_positions)

    @property
    def abandoned(self) -> bool:
        """Whether nothing of what is in memory will ever be committed: `commit` does nothing then."""
        return self._abandoned

    @property
    def has_work(self) -> bool:
        """Whether anything is in memory only."""
        return self.positions != self.durable_positions or bool(self._outputs) or bool(self._dirty)

    @property
    def waiting(self) -> tuple[int, int]:
        """How many changed states, and how many records to be published, wait for a commit."""
        return len(self._dirty), self._output_count

    @property
    def cached_bytes(self) -> int:
        """What states in memory take in their stored form, as far as they were ever stored."""
        return self._cached_bytes

    @property
    def overloaded(self) -> bool:
        """Whether so much waits for a commit that folding should pause."""
        return self._output_count + self._expected_outputs > OUTPUTS_MAX or len(self._dirty) > CHANGES_MAX

    async def commit(self) -> None:
        """Make everything folded so far durable; concurrent calls run one after the other.

        Raises `FencedError` or `CommitError`, after which this object is void and the partition has to be recovered, or
        `CompletionError`, after which a rollback is enough.
        """
        async with self._commit_lock:
            if self._abandoned:
                return
            if self._void:
                raise CommitError(f"partition {self.partition} of {self.changelog}: an earlier commit failed")
            if not self.has_work:
                return
            try:
                complete = await self._complete_patiently()
            except StateCodecError:
                raise  # damage to what is stored
            except Exception as error:
                raise CompletionError(f"partition {self.partition} of {self.changelog}") from error
            if not complete:
                return
            self.urgent.clear()
            began_s = time.monotonic()
            # Void until it succeeds: what is taken below exists nowhere else, and a later commit would store positions beyond it.
            self._void = True
            changes, outputs, positions = self._take()
            self._going = frozenset(key for key, value in changes.items() if value is None)
            changelog: list[KeyValue] = [(key, value, ()) for key, value in changes.items()]
            own = self.changelog, self.partition
            offsets = await self._writer.commit({**outputs, own: changelog})
            self._store.write_raw(self.partition, iter(changes.items()), offsets[own])
            self._going = frozenset()
            self._void = self._abandoned
            self.durable_positions = positions
            self.last_commit_s = time.monotonic()
            self._evict(changes)
            self._on_commit(self.last_commit_s - began_s, changes, outputs)

    def _take(self) -> tuple[dict[bytes, bytes | None], dict[tuple[str, int], list[KeyValue]], dict[str, int]]:
        """Freeze what is to be committed; folding may go on meanwhile and belongs to the next commit."""
        encode = self._codec.encode
        changes: dict[bytes, bytes | None] = {key: None if state is None else encode(state) for key, state in self._dirty.items()}
        positions = dict(self.positions)
        changes[POSITION_KEY] = orjson.dumps(positions)
        outputs = dict(self._outputs)
        self._dirty = {}
        self._outputs = defaultdict(list)
        self._output_count = 0
        return changes, outputs, positions

    def _evict(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Bound the memory: states that are in the store can be read again. What is not used goes first; those that have just changed go last, the largest first.

        By the size of each, since one partition has states of very different sizes: of a device, and of all that it sent in a quarter of an hour.
        """
        for key, value in changes.items():
            if value is not None and key in self._states:
                self._resize(key, len(value))
        partitions = max(1, self._shared_by())
        self._used.update(changes)
        if self.last_commit_s - self._swept_s > KEPT_UNUSED_S:
            self._swept_s = self.last_commit_s
            if self._cached_bytes > UNUSED_BYTES_MAX // partitions:
                self._keep({key: state for key, state in self._states.items() if key in self._used or key in self._dirty})
            self._used.clear()
        bytes_max = CACHED_BYTES_MAX // partitions
        if self._cached_bytes <= bytes_max:
            return
        kept = {key: state for key, state in self._dirty.items() if state is not None}
        left = bytes_max - sum(self._sizes.get(key, 0) for key in kept)
        for key in sorted((key for key in changes if key in self._states and key not in kept), key=self._sizes.__getitem__):
            left -= self._sizes[key]
            if left < 0:
                break
            kept[key] = self._states[key]
        self._keep(kept)

    def _keep(self, kept: dict[bytes, S]) -> None:
        self._states = kept
        self._sizes = {key: size for key, size in self._sizes.items() if key in kept}
        self._cached_bytes = sum(self._sizes.values())

    def items(self) -> Iterator[tuple[bytes, S]]:
        """Every key with its state as of now, in no particular order."""
        seen = self._states
        yield from list(seen.items())
        for key, raw in self._store.items_raw(self.partition):
            if key != POSITION_KEY and key not in seen and key not in self._dirty and key not in self._going:
                yield key, self._codec.decode(raw)

    async def close(self) -> None:
        """Stop writing; what is not committed is void."""
        self.derived.clear()
        await self._writer.close()
