"""The keys of a partition whose states have something to do when time goes on, without looking at all states each time."""

from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from ems_streams.domain.due_index import DueIndex
from ems_streams.kafka.partition_state import PartitionState

S = TypeVar("S")

SCANNED_AT_ONCE: Final = 5_000
"""Stored states that are looked at in one go after a recovery: some hundredths of a second."""
LOOKED_AT_ONCE: Final = 20_000
DUE_AT_ONCE: Final = 1_000
"""So that one step holds up the worker for a moment only; what is left comes in the next one."""


class DueKeys(Generic[S]):
    """When which key of a partition is due; in memory only, and made anew with the partition.

    Whoever makes it learns of the stored states bit by bit, with each call of `due`; states in memory are known at once. A state that changes
    is only looked at when the time has come for which it was `touched`, or for which it was due when it was looked at last.

    Args:
        partition: Its states.
        due_ms: From when on a state, given itself or as its stored bytes, has something to do; epoch milliseconds, `due_index.NEVER_MS` for never.
        first_key: Keys before this one are of no interest.
    """

    def __init__(self, partition: PartitionState[S], due_ms: Callable[[S | bytes], int], first_key: bytes) -> None:
        self._partition = partition
        self._due_ms = due_ms
        self._index = DueIndex()
        self._scan_from: bytes | None = first_key
        self._index.put((key for key in partition.keys_in_memory() if key >= first_key), 0)

    def touched(self, keys: Iterable[bytes], by_ms: int) -> None:
        """States have changed, or may have, and none of them is due before this time."""
        self._index.put(keys, by_ms)

    def due(self, now_ms: int) -> list[bytes]:
        """Keys that are due, at most `DUE_AT_ONCE`; each comes again in a second unless it says something later by then."""
        self._scan()
        found: list[bytes] = []
        for _ in range(LOOKED_AT_ONCE):
            if len(found) == DUE_AT_ONCE or (key := self._index.pop(now_ms)) is None:
                break
            held = self._partition.peek(key)
            if held is None:
                continue
            due_ms = self._due_ms(held)
            if due_ms <= now_ms:
                found.append(key)
            self._index.put((key,), max(due_ms, now_ms + 1))
        return found

    def _scan(self) -> None:
        if self._scan_from is None:
            return
        stored = self._partition.stored(self._scan_from, SCANNED_AT_ONCE)
        for key, raw in stored:
            if key not in self._index:
                self._index.put((key,), self._due_ms(raw))
        self._scan_from = stored[-1][0] + b"\x00" if len(stored) == SCANNED_AT_ONCE else None
