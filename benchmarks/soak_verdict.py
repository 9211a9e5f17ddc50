"""What `make soak` concludes from its samples: whether a process grows, by a slope that single outliers do not move."""

import statistics
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from benchmarks.soak_samples import MQTT_BACKLOG, PIPELINE, Series

Points = Sequence[tuple[float, float]]

MEMORY = "RSS MiB"
MEMORY_LEAST_S = 600.0
"""Memory is judged when the second half is at least so long: before, caches and pools fill, and everything grows."""
PERIOD_S = 900.0
"""What a worker keeps in memory follows the quarter of an hour: the messages of the one that is open are there. So in a run of three of them or more,
of which the first is warm-up, memory is compared with itself one quarter before, at the same place in it."""
GROWTH_MIB, GROWTH_SHARE = 4.0, 0.02
HANDLES, HANDLES_SHARE, THREADS = 2.0, 0.05, 1.0
"""A worker has a handle for each file of its stores, whose number follows what is in them."""
LOG_LINES_PER_MINUTE = 2.0
"""A normal minute logs nothing; one that is busy with others on the machine may say so now and then."""
LAG_S, LAG_GROWTH_S = 10.0, 3.0
"""Of the load: so much may be waiting in the median, and so much more at the end than at the middle."""
_PAIRS_OF = 400
"""Points beyond this are thinned out before slopes are taken, of which there are half the square of it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One quantity of the second half, or of the last two quarters of an hour.

    Attributes:
        growth: Slope times length: what it has grown by, or shrunk by, over the second half; memory of a long run: in the last quarter of an hour.
        bound: What `growth` may be at the most; None where it is shown only.
        ok: None where it is shown only.
    """

    who: str
    what: str
    median: float
    highest: float
    growth: float
    per_hour: float
    bound: float | None = None
    ok: bool | None = None

    @property
    def verdict(self) -> str:
        return "shown only" if self.ok is None else "flat" if self.ok else "GROWS"


def theil_sen(points: Points) -> float:
    """The median of the slopes of all pairs, per second; up to 29 % of the points may be anything. 0 for fewer than two."""
    step = max(1, len(points) // _PAIRS_OF)
    slopes = [(second[1] - first[1]) / (second[0] - first[0]) for first, second in combinations(points[::step], 2) if second[0] > first[0]]
    return statistics.median(slopes) if slopes else 0.0


def since_period(points: Points, period_s: float) -> float:
    """The median of how much more it is than one period before; 0 for points of no more than one period."""
    times_s = [at_s for at_s, _ in points]
    found = []
    for at_s, value in points:
        if at_s - period_s >= times_s[0]:
            found.append(value - points[bisect_left(times_s, at_s - period_s)][1])
    return statistics.median(found) if found else 0.0


def judge(series: Series, duration_s: float, rate: float, ours: Sequence[str]) -> list[Judged]:
    """All that is known of the second half of the load.

    Args:
        duration_s: Of the load; time 0 of the series is its beginning.
        rate: Messages per second.
        ours: Processes that are judged; the others are shown.
    """
    half_s = duration_s / 2
    found = []
    for who, what in sorted(series.points):
        if what == MEMORY and duration_s >= 3 * PERIOD_S:
            points = [point for point in series.since((who, what), duration_s - 2 * PERIOD_S) if point[0] <= duration_s]
            found.append(_by_period(who, points, _bound(who, what, points, rate, half_s, ours)))
            continue
        points = [point for point in series.since((who, what), half_s) if point[0] <= duration_s]
        if len(points) > 2:
            found.append(_judged(who, what, points, _bound(who, what, points, rate, half_s, ours), rate))
    return found


def _bound(who: str, what: str, points: Points, rate: float, half_s: float, ours: Sequence[str]) -> float | None:
    if who == PIPELINE:
        return LAG_GROWTH_S * rate if what == MQTT_BACKLOG or what.startswith("lag ") else None
    if who not in ours:
        return None
    median = statistics.median(value for _, value in points)
    if what == MEMORY:
        return max(GROWTH_MIB, GROWTH_SHARE * median) if half_s >= MEMORY_LEAST_S else None
    if what == "log lines":
        return LOG_LINES_PER_MINUTE * half_s / 60
    return {"handles": max(HANDLES, HANDLES_SHARE * median), "threads": THREADS}.get(what)


def _by_period(who: str, points: Points, bound: float | None) -> Judged:
    growth = since_period(points, PERIOD_S)
    values = [value for _, value in points]
    ok = None if bound is None else growth <= bound
    return Judged(who, MEMORY, statistics.median(values), max(values), growth, growth * 3600 / PERIOD_S, bound, ok)


def _judged(who: str, what: str, points: Points, bound: float | None, rate: float) -> Judged:
    slope = theil_sen(points)
    growth = slope * (points[-1][0] - points[0][0])
    median = statistics.median(value for _, value in points)
    ok = None if bound is None else growth <= bound and (who != PIPELINE or median <= LAG_S * rate)
    return Judged(who, what, median, max(value for _, value in points), growth, slope * 3600, bound, ok)
