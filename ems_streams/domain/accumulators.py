"""Statistics of one metric as a list of eight floats that can be added to, merged and packed.

A plain list is as fast as a slotted object here and packs without a conversion; floats throughout, since mixing in
integers costs CPython its specialised float instructions (counts and epoch milliseconds are exact up to 2**53).

- Sums are exact in practice: every addition keeps its rounding error (Knuth's TwoSum) in a compensation that is added on
  read, so the result is that of `math.fsum` in whatever order values come and however accumulators are merged.
- Squared deviations follow Welford (1962), around means taken from the exact sum; merging follows Chan, Golub and
  LeVeque (1979). The standard deviation is that of the population: the values are all there are, not a sample.
- `last` is the value with the greatest event time; of two with the same time, the one that was added later.
"""

import struct
from collections.abc import Iterable
from functools import lru_cache
from math import inf, isnan, sqrt

COUNT, SUM, COMPENSATION, MIN, MAX, LAST, SQUARES, LAST_MS = range(8)
FIELDS = 8
BYTES = 8 * FIELDS

Accumulator = list[float]
Accumulators = dict[str, Accumulator]

MAX_METRICS_PER_DEVICE = 256
"""Distinct metric names of one device over all time; it bounds the state of a device that invents names."""


def add_values(accumulators: Accumulators, metrics: dict[str, float], timestamp_ms: float, names: dict[str, int]) -> int:
    """Add one event's values in place; the hot loop of the system.

    Args:
        accumulators: By metric name; grows by the metrics that are new to it.
        metrics: Finite values.
        timestamp_ms: Event time.
        names: Number of every metric name that the device ever had; grows up to `MAX_METRICS_PER_DEVICE`.

    Returns:
        How many values were left out because the device already has the greatest number of names.
    """
    left_out = 0
    get = accumulators.get
    for name, value in metrics.items():
        accumulator = get(name)
        if accumulator is None:
            if name not in names:
                if len(names) >= MAX_METRICS_PER_DEVICE:
                    left_out += 1
                    continue
                names[name] = len(names)
            accumulators[name] = [1.0, value, 0.0, value, value, value, 0.0, timestamp_ms]
            continue
        count = accumulator[0]
        before = accumulator[1]
        after = before + value
        part = after - before
        total = count + 1.0
        accumulator[0] = total
        accumulator[1] = after
        accumulator[2] += (before - (after - part)) + (value - part)
        if value < accumulator[3]:
            accumulator[3] = value
        elif value > accumulator[4]:
            accumulator[4] = value
        accumulator[6] += (value - before / count) * (value - after / total)
        if timestamp_ms >= accumulator[7]:
            accumulator[7] = timestamp_ms
            accumulator[5] = value
    return left_out


def merge(into: Accumulator, other: Accumulator) -> None:
    """Add another accumulator in place; of equal times, `other` has the last word."""
    delta = mean(other) - mean(into)
    into[SQUARES] += other[SQUARES] + delta * delta * (into[COUNT] * other[COUNT] / (into[COUNT] + other[COUNT]))
    into[COUNT] += other[COUNT]
    before, value = into[SUM], other[SUM]
    after = before + value
    part = after - before
    into[SUM] = after
    into[COMPENSATION] += other[COMPENSATION] + ((before - (after - part)) + (value - part))
    into[MIN] = min(into[MIN], other[MIN])
    into[MAX] = max(into[MAX], other[MAX])
    if other[LAST_MS] >= into[LAST_MS]:
        into[LAST_MS] = other[LAST_MS]
        into[LAST] = other[LAST]


def merge_all(into: Accumulators, other: Accumulators) -> None:
    """Merge every metric of `other` into `into` in place; `other` stays as it is."""
    for name, accumulator in other.items():
        mine = into.get(name)
        if mine is None:
            into[name] = accumulator.copy()
        else:
            merge(mine, accumulator)


def exact_sum(accumulator: Accumulator) -> float:
    """Sum of all values, rounded once; infinite when it is beyond the range of a float."""
    total = accumulator[SUM] + accumulator[COMPENSATION]
    return accumulator[SUM] if isnan(total) else total


def mean(accumulator: Accumulator) -> float:
    """Arithmetic mean."""
    return exact_sum(accumulator) / accumulator[COUNT]


def stddev(accumulator: Accumulator) -> float:
    """Standard deviation of the population; exactly 0 when all values are equal."""
    if accumulator[MIN] == accumulator[MAX]:
        return 0.0
    return sqrt(max(accumulator[SQUARES], 0.0) / accumulator[COUNT])


def statistics_view(accumulator: Accumulator) -> dict[str, float | int | None]:
    """The statistics as `contracts.md` names them; `None` for what is beyond the range of a float."""
    return {
        "count": int(accumulator[COUNT]),
        "sum": _finite(exact_sum(accumulator)),
        "min": accumulator[MIN],
        "max": accumulator[MAX],
        "mean": _finite(mean(accumulator)),
        "last": accumulator[LAST],
        "stddev": _finite(stddev(accumulator)),
    }


def pack(accumulators: Iterable[Accumulator], count: int) -> bytes:
    """`count` accumulators as little-endian doubles, `BYTES` each."""
    flat: list[float] = []
    for accumulator in accumulators:
        flat += accumulator
    return _layout(count).pack(*flat)


def unpack(data: bytes, offset: int, count: int) -> list[Accumulator]:
    """What `pack` has packed, from `offset` on; raises `struct.error` when there is less."""
    flat = _layout(count).unpack_from(data, offset)
    return [list(flat[start : start + FIELDS]) for start in range(0, count * FIELDS, FIELDS)]


@lru_cache(maxsize=MAX_METRICS_PER_DEVICE + 1)
def _layout(count: int) -> struct.Struct:
    return struct.Struct(f"<{count * FIELDS}d")


def _finite(value: float) -> float | None:
    return value if -inf < value < inf else None
