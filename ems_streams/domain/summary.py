"""What is known of the metrics and the energy over one window: statistics and a sketch per metric, mergeable without loss.

Merging is done in the order of time, so that the same windows always give the same bits.
"""

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ems_streams.domain import sketch as sketches
from ems_streams.domain.accumulators import FIELDS, MAX, MIN, Accumulator, add, merge, new, statistics_view
from ems_streams.domain.energy import NO_ENERGY, Energy, EnergyQuality, merged
from ems_streams.domain.samples import values_of
from ems_streams.domain.sketch import Sketch

QUANTILES = (0.5, 0.95, 0.99)
_HEADER = struct.Struct("<IHdBd")
_METRIC = struct.Struct(f"<B{FIELDS}dI")


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """Of one metric."""

    accumulator: Accumulator
    sketch: Sketch

    def copy(self) -> "MetricSummary":
        """One that can be merged into."""
        return MetricSummary(self.accumulator.copy(), self.sketch.copy())

    def view(self) -> dict[str, Any]:
        """The statistics as `contracts.md` names them; quantiles are within `sketch.RELATIVE_ERROR`."""
        accumulator = self.accumulator
        p50, p95, p99 = sketches.quantiles(self.sketch, QUANTILES, accumulator[MIN], accumulator[MAX])
        return {**statistics_view(accumulator), "p50": p50, "p95": p95, "p99": p99}


@dataclass(slots=True)
class Summary:
    """Of a window.

    Attributes:
        events: Number of messages.
        metrics: By name.
        energy: Over the window.
    """

    events: int = 0
    metrics: dict[str, MetricSummary] = field(default_factory=dict)
    energy: Energy = NO_ENERGY

    def merge_metrics(self, other: "Summary") -> None:
        """Take in a later or unrelated part; energies are left as they are, since they need the shares of the parts."""
        self.events += other.events
        for name, theirs in other.metrics.items():
            mine = self.metrics.get(name)
            if mine is None:
                self.metrics[name] = theirs.copy()
                continue
            merge(mine.accumulator, theirs.accumulator)
            sketches.merge(mine.sketch, theirs.sketch)

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is known of the window."""
        return self.events == 0 and self.energy.kwh is None

    def metrics_view(self) -> dict[str, Any]:
        """Statistics by metric, in the order of the names."""
        return {name: self.metrics[name].view() for name in sorted(self.metrics)}


def summarize(samples: bytes | bytearray, names: Sequence[str]) -> Summary:
    """Statistics of ordered samples, without energy.

    Args:
        samples: In order.
        names: Metric names by number.
    """
    by_number: dict[int, MetricSummary] = {}
    events = 0
    for time_ms, values in values_of(samples):
        events += 1
        for number, value in values:
            metric = by_number.get(number)
            if metric is None:
                by_number[number] = MetricSummary(new(value, time_ms), {sketches.bin_of(value): 1})
                continue
            add(metric.accumulator, value, time_ms)
            sketches.add(metric.sketch, value)
    return Summary(events, {names[number]: metric for number, metric in by_number.items()})


def merge_parts(parts: Iterable[tuple[Summary, float]]) -> Summary:
    """A window of its parts, which come in the order of time, each with its share of the whole."""
    whole = Summary()
    energies, shares = [], []
    for part, share in parts:
        whole.merge_metrics(part)
        energies.append(part.energy)
        shares.append(share)
    whole.energy = merged(energies, shares)
    return whole


def encode(summary: Summary) -> bytes:
    """Canonical bytes: the same for equal summaries, whatever order metrics appeared in."""
    energy = summary.energy
    kwh = math.nan if energy.kwh is None else energy.kwh
    parts = [_HEADER.pack(summary.events, len(summary.metrics), kwh, energy.source, energy.covered_share)]
    for name, metric in sorted(summary.metrics.items()):
        text, sketch = name.encode(), sketches.encode(metric.sketch)
        parts += (_METRIC.pack(len(text), *metric.accumulator, len(sketch)), text, sketch)
    return b"".join(parts)


def decode(data: bytes) -> Summary:
    """The summary of its bytes; raises `struct.error` or `ValueError`."""
    events, count, kwh, source, covered_share = _HEADER.unpack_from(data)
    metrics = {}
    at = _HEADER.size
    for _ in range(count):
        name_bytes, *numbers, sketch_bytes = _METRIC.unpack_from(data, at)
        at += _METRIC.size
        name = data[at : at + name_bytes].decode()
        at += name_bytes
        metrics[name] = MetricSummary(list(numbers), sketches.decode(data[at : at + sketch_bytes]))
        at += sketch_bytes
    if at != len(data):
        raise ValueError(f"a summary ends at byte {at} of {len(data)}")
    return Summary(events, metrics, Energy(None if math.isnan(kwh) else kwh, EnergyQuality(source), covered_share))
