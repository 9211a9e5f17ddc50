"""What is known of the metrics and the energy over one window: statistics and a sketch per metric, mergeable without loss.

Merging is done in the order of time, so that the same windows always give the same bits.

Metrics are held in their stored form: one behind the other in the order of their names, each with the length of its name (1 byte), eight doubles
(`accumulators`), the length of its sketch (4 bytes), its name and its sketch (`sketch`). `summarize_metrics`, `merge_metrics` and
`metrics_view` are compiled where there is a C compiler (`_windows.pyx`); what stands here is what they do, and does it where there is none.
"""

import contextlib
import math
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ems_streams.domain import sketch as sketches
from ems_streams.domain.accumulators import COUNT, FIELDS, MAX, MIN, Accumulator, add, merge, new, statistics_view
from ems_streams.domain.energy import NO_ENERGY, Energy, EnergyQuality, merged
from ems_streams.domain.samples import values_of
from ems_streams.domain.sketch import Sketch

QUANTILES = (0.5, 0.95, 0.99)
_HEADER = struct.Struct("<IdBd")
_LARGE = 0xFFFF_FFFF
"""Says that the number of messages does not fit into the header, and stands behind it: a site of ten thousand fast devices has more in a day."""
_EVENTS = struct.Struct("<Q")
_EVENTS_MAX = 1 << 40
"""What is read may say no more, so that the sum over any number of devices fits."""
_METRIC = struct.Struct(f"<B{FIELDS}dI")


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """Of one metric."""

    accumulator: Accumulator
    sketch: Sketch

    def view(self) -> dict[str, Any]:
        """The statistics as `contracts.md` names them; quantiles are within `sketch.RELATIVE_ERROR`."""
        accumulator = self.accumulator
        if sum(self.sketch.values()) != accumulator[COUNT]:
            raise ValueError("a sketch has not as many values as its metric")
        p50, p95, p99 = sketches.quantiles(self.sketch, QUANTILES, accumulator[MIN], accumulator[MAX])
        return {**statistics_view(accumulator), "p50": p50, "p95": p95, "p99": p99}


@dataclass(slots=True)
class Summary:
    """Of a window.

    Attributes:
        events: Number of messages.
        stored: Its metrics in stored form.
        energy: Over the window.
    """

    events: int = 0
    stored: bytes = b""
    energy: Energy = NO_ENERGY

    @property
    def metrics(self) -> dict[str, MetricSummary]:
        """By name; raises `ValueError` or `struct.error` when the stored form is damaged."""
        return decode_metrics(self.stored)

    def merge_metrics(self, other: "Summary") -> None:
        """Take in a later or unrelated part; energies are left as they are, since they need the shares of the parts."""
        self.events += other.events
        self.stored = merge_metrics(self.stored, other.stored)

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is known of the window."""
        return self.events == 0 and self.energy.kwh is None

    def metrics_view(self) -> dict[str, Any]:
        """Statistics by metric, in the order of the names."""
        return metrics_view(self.stored)


def summarize(samples: bytes | bytearray, names: Sequence[str]) -> Summary:
    """Statistics of ordered samples, without energy.

    Args:
        samples: In order.
        names: Metric names by number.
    """
    return Summary(*summarize_metrics(samples, names))


def merge_parts(parts: Iterable[tuple[Summary, float]]) -> Summary:
    """A window of its parts, which come in the order of time, each with its share of the whole."""
    events, stored = 0, b""
    energies, shares = [], []
    for part, share in parts:
        events += part.events
        stored = merge_metrics(stored, part.stored)
        energies.append(part.energy)
        shares.append(share)
    return Summary(events, stored, merged(energies, shares))


def summarize_metrics(samples: bytes | bytearray, names: Sequence[str]) -> tuple[int, bytes]:
    """Number of ordered samples, and their metrics in stored form."""
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
    return events, _encode_metrics({names[number]: metric for number, metric in by_number.items()})


def merge_metrics(one: bytes, other: bytes) -> bytes:
    """Both together, in stored form; of equal times, `other` has the last word."""
    into = decode_metrics(one)
    for name, theirs in decode_metrics(other).items():
        mine = into.get(name)
        if mine is None:
            into[name] = theirs
            continue
        merge(mine.accumulator, theirs.accumulator)
        sketches.merge(mine.sketch, theirs.sketch)
    return _encode_metrics(into)


def metrics_view(stored: bytes) -> dict[str, Any]:
    """Statistics by metric, in the order of the names; raises `ValueError` when the stored form is damaged."""
    return {name: metric.view() for name, metric in decode_metrics(stored).items()}


def _encode_metrics(metrics: dict[str, MetricSummary]) -> bytes:
    parts: list[bytes] = []
    for name, metric in sorted(metrics.items()):
        text, sketch = name.encode(), sketches.encode(metric.sketch)
        parts += (_METRIC.pack(len(text), *metric.accumulator, len(sketch)), text, sketch)
    return b"".join(parts)


def decode_metrics(stored: bytes) -> dict[str, MetricSummary]:
    """Metrics of their stored form; raises `ValueError` or `struct.error`."""
    metrics = {}
    at = 0
    while at < len(stored):
        name_bytes, *numbers, sketch_bytes = _METRIC.unpack_from(stored, at)
        at += _METRIC.size
        name = stored[at : at + name_bytes].decode()
        at += name_bytes
        metrics[name] = MetricSummary(list(numbers), sketches.decode(stored[at : at + sketch_bytes]))
        at += sketch_bytes
    if at != len(stored):
        raise ValueError(f"metrics end at byte {at} of {len(stored)}")
    return metrics


def encode(summary: Summary) -> bytes:
    """Canonical bytes: the same for equal summaries, whatever order metrics appeared in."""
    energy = summary.energy
    kwh = math.nan if energy.kwh is None else energy.kwh
    if summary.events < _LARGE:
        return _HEADER.pack(summary.events, kwh, energy.source, energy.covered_share) + summary.stored
    return _HEADER.pack(_LARGE, kwh, energy.source, energy.covered_share) + _EVENTS.pack(summary.events) + summary.stored


def decode(data: bytes) -> Summary:
    """The summary of its bytes; raises `struct.error` or `ValueError`. Its metrics are looked at when they are used."""
    events, kwh, source, covered_share = _HEADER.unpack_from(data)
    at = _HEADER.size
    if events == _LARGE:
        (events,) = _EVENTS.unpack_from(data, at)
        at += _EVENTS.size
        if not _LARGE <= events <= _EVENTS_MAX:
            raise ValueError(f"events={events}: expected {_LARGE} to {_EVENTS_MAX}")
    return Summary(events, data[at:], Energy(None if math.isnan(kwh) else kwh, EnergyQuality(source), covered_share))


python_summarize_metrics, python_merge_metrics, python_metrics_view = summarize_metrics, merge_metrics, metrics_view
if sys.byteorder == "little":  # the compiled ones take the bytes as they are
    with contextlib.suppress(ImportError):
        from ems_streams.domain._windows import merge_metrics, metrics_view, summarize_metrics
