"""Keys by the time at which somebody has to look at them."""

import heapq
from collections.abc import Iterable
from typing import Final

NEVER_MS: Final = 2**62
_NEVER_S: Final = NEVER_MS // 1000


class DueIndex:
    """A timing wheel in steps of a second: looking at it costs as much as is due, however many keys wait.

    Guarantees: a key is given once for all the times that it was put for, never before the earliest of them and, by who asks with the
    present time, less than a second after it.
    """

    def __init__(self) -> None:
        self._second_of: dict[bytes, int] = {}
        self._keys: dict[int, list[bytes]] = {}
        self._seconds: list[int] = []

    def __len__(self) -> int:
        return len(self._second_of)

    def __contains__(self, key: object) -> bool:
        return key in self._second_of

    def put(self, keys: Iterable[bytes], at_ms: int) -> None:
        """Look at these keys at a time, unless they are to be looked at before that anyway; at `NEVER_MS` not at all."""
        second = -(-at_ms // 1000)
        known = self._second_of.get
        # Most keys of a batch are there already: nothing but this line is done for them.
        sooner = [key for key in keys if known(key, _NEVER_S) > second]
        if not sooner:
            return
        if second not in self._keys:
            self._keys[second] = []
            heapq.heappush(self._seconds, second)
        # A key that is moved stays where it was as well, and is passed over there.
        self._keys[second] += sooner
        self._second_of.update(dict.fromkeys(sooner, second))

    def pop(self, now_ms: int) -> bytes | None:
        """A key whose time has come, which is then forgotten; None when there is none."""
        while self._seconds and self._seconds[0] * 1000 <= now_ms:
            second = self._seconds[0]
            keys = self._keys[second]
            while keys:
                key = keys.pop()
                if self._second_of.get(key) == second:
                    del self._second_of[key]
                    return key
            del self._keys[second]
            heapq.heappop(self._seconds)
        return None
