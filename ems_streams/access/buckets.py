"""Token buckets by name, of which only so many are remembered; pure."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple

REMEMBERED_MAX: Final = 10_000


class Taken(NamedTuple):
    """What became of taking one.

    Attributes:
        ok: Whether there was one left.
        left: How many are left.
        wait_s: After so long there is one again; 0 when there is.
        first: Whether it is the first refusal since there was one left.
    """

    ok: bool
    left: int
    wait_s: float
    first: bool = False


@dataclass(slots=True)
class _Bucket:
    level: float
    at_s: float
    refusing: bool = False


class Buckets:
    """A bucket for each key, full at first, that fills by `rate_per_s`.

    Of more keys than are remembered the one that was used longest ago begins anew: memory is bounded, whoever comes.

    Args:
        rate_per_s: 0 for no limit.
        burst: What a full one has.
    """

    def __init__(self, rate_per_s: float, burst: float, remembered: int = REMEMBERED_MAX) -> None:
        self.rate_per_s = rate_per_s
        self.burst = max(burst, 1.0)
        self._remembered = remembered
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, now_s: float) -> Taken:
        """Take one out of the bucket of a key."""
        if not self.rate_per_s:
            return Taken(ok=True, left=0, wait_s=0.0)
        bucket = self._of(key, now_s)
        if bucket.level >= 1.0:
            bucket.level -= 1.0
            bucket.refusing = False
            return Taken(ok=True, left=int(bucket.level), wait_s=0.0)
        first, bucket.refusing = not bucket.refusing, True
        return Taken(ok=False, left=0, wait_s=(1.0 - bucket.level) / self.rate_per_s, first=first)

    def wait_s(self, key: str, now_s: float) -> float:
        """How long until there is one, without taking it."""
        if not self.rate_per_s or key not in self._buckets:
            return 0.0
        return max(0.0, (1.0 - self._of(key, now_s).level) / self.rate_per_s)

    def _of(self, key: str, now_s: float) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self.burst, now_s)
            if len(self._buckets) > self._remembered:
                self._buckets.popitem(last=False)
            return bucket
        self._buckets.move_to_end(key)
        bucket.level = min(self.burst, bucket.level + max(0.0, now_s - bucket.at_s) * self.rate_per_s)
        bucket.at_s = now_s
        return bucket
