"""Statistics of one metric as eight floats: what they mean, and how they are merged and shown. `section` adds values to them.

Floats throughout, since they are stored as doubles; counts and epoch milliseconds are exact up to 2**53.

- Sums are exact in practice: every addition keeps its rounding error (Knuth's TwoSum) in a compensation that is added on
  read, so the result is that of `math.fsum` in whatever order values come and however accumulators are merged.
- Squared deviations follow Welford (1962), around means taken from the exact sum; merging follows Chan, Golub and
  LeVeque (1979). The standard deviation is that of the population: the values are all there are, not a sample.
- `last` is the value with the greatest event time; of two with the same time, the one that was added later.
"""

from math import inf, isnan, sqrt

COUNT, SUM, COMPENSATION, MIN, MAX, LAST, SQUARES, LAST_MS = range(8)
FIELDS = 8
BYTES = 8 * FIELDS

Accumulator = list[float]
Accumulators = dict[str, Accumulator]

MAX_METRICS_PER_DEVICE = 256
"""Distinct metric names of one device over all time; it bounds the state of a device that invents names."""


def new(value: float, time_ms: float) -> Accumulator:
    """Statistics of a single value."""
    return [1.0, value, 0.0, value, value, value, 0.0, float(time_ms)]


def add(accumulator: Accumulator, value: float, time_ms: float) -> None:
    """Add a value in place; of equal times, the later call has the last word."""
    count, before, compensation, least, greatest, _, squares, last_ms = accumulator
    after = before + value
    part = after - before
    total = count + 1.0
    accumulator[COUNT] = total
    accumulator[SUM] = after
    accumulator[COMPENSATION] = compensation + ((before - (after - part)) + (value - part))
    if value < least:
        accumulator[MIN] = value
    elif value > greatest:
        accumulator[MAX] = value
    accumulator[SQUARES] = squares + (value - before / count) * (value - after / total)
    if time_ms >= last_ms:
        accumulator[LAST_MS] = float(time_ms)
        accumulator[LAST] = value


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


def _finite(value: float) -> float | None:
    return value if -inf < value < inf else None
