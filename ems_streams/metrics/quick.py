"""A histogram for the way of every batch: an observation is a bisection and two additions, a fifth of what prometheus_client's costs.

For one thread, which is that of the event loop: nothing is locked.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class QuickChild:
    """The values of one set of labels."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value; one that is a limit belongs to the bucket that it limits."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def read(self) -> tuple[list[int], float]:
        """How many values were at or below each limit, all of them last; and their sum."""
        total, cumulative = 0, []
        for count in self._counts:
            total += count
            cumulative.append(total)
        return cumulative, self._sum


class QuickHistogram(Collector):
    """As `prometheus_client.Histogram`, with labels always."""

    def __init__(self, name: str, text: str, labels: Sequence[str], buckets: Sequence[float]) -> None:
        self._name = name
        self._text = text
        self._labels = tuple(labels)
        self._bounds = tuple(buckets)
        self._children: dict[tuple[str, ...], QuickChild] = {}

    def labels(self, *values: str) -> QuickChild:
        """The values of these labels, at zero when they are asked for first; keep it, looking it up costs more than observing."""
        if len(values) != len(self._labels):
            raise ValueError(f"metric {self._name}: expected values of {self._labels}, got {values}")
        key = tuple(map(str, values))
        return self._children.setdefault(key, QuickChild(self._bounds))

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """For the registry."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        limits = [*map(floatToGoString, self._bounds), "+Inf"]
        for values, child in self._children.items():
            cumulative, total = child.read()
            family.add_metric(values, list(zip(limits, cumulative, strict=True)), total)
        yield family
