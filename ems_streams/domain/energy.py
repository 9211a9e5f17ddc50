"""Energy of a device over a span of time, from its energy register or from its power: never negative by a reset, never huge by a gap.

Sign: as of `powerKw`, positive is what the device delivers (generation, discharge), negative what it takes (consumption, charging); the
energy over a span is the net of both. A register only counts upwards.

- **Register.** Between two readings, their difference, spread evenly over the time between them. A reading of exactly 0 is never used:
  inverters that sleep report it. A reading below the one before is a rollover when it leaps from the top of a usual number of
  digits to its bottom, a glitch when it falls by less than half (no energy), and a reset otherwise (the energy since then).
  A difference that no device of that power could have made is not used at all.
- **Power**, wherever no register says anything: the trapezoidal rule over samples that are not further apart than the longest gap.
- What neither covers is a gap. It is missing from the energy, and the covered share says so.

The result depends on the set of samples only, not on the order they came in.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Final

HOUR_MS: Final = 3_600_000
GAP_BELOW_SHARE: Final = 0.9
"""A figure that covers less of its span than this is called a gap, whatever the rest was made from."""

_ROLLOVERS_KWH: Final = (*(10.0**digits for digits in range(4, 10)), 2**32 / 1_000, float(2**32))
"""Where registers begin again: after so many decimal digits, or after 32 bits of watt-hours or kilowatt-hours."""
_NEAR_ROLLOVER: Final = 0.1
_GLITCH_ABOVE: Final = 0.5


class EnergyQuality(IntEnum):
    """What a figure was made from, best first; of several parts, the worst counts."""

    MEASURED = 0
    INTEGRATED = 1
    ESTIMATED = 2
    GAP = 3


@dataclass(frozen=True, slots=True)
class EnergySample:
    """What one message of a device says about its energy.

    Attributes:
        at_ms: Event time, epoch milliseconds.
        power_kw: Power at that time, if it says so.
        register_kwh: Reading of the energy register, if there is one.
    """

    at_ms: int
    power_kw: float | None = None
    register_kwh: float | None = None


@dataclass(frozen=True, slots=True)
class EnergyLimits:
    """What is believed.

    Attributes:
        max_gap_ms: Power is integrated, and a register counts as measured, over no longer a time than this.
        max_power_kw: No device delivers or takes more.
    """

    max_gap_ms: int = 300_000
    max_power_kw: float = 10_000.0


DEFAULT_LIMITS: Final = EnergyLimits()


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy over a span.

    Attributes:
        kwh: Net energy of the covered part; None when nothing is covered.
        source: The worst of what the covered part was made from.
        covered_share: Part of the span that it is about, 0 to 1.
    """

    kwh: float | None
    source: EnergyQuality
    covered_share: float

    @property
    def quality(self) -> EnergyQuality:
        """What to think of the figure: its source, or that too much of the span is missing."""
        return self.source if self.covered_share >= GAP_BELOW_SHARE else EnergyQuality.GAP


NO_ENERGY: Final = Energy(None, EnergyQuality.GAP, 0.0)


@dataclass(frozen=True, slots=True)
class _Part:
    """Evenly spread or linearly changing power over a time."""

    start_ms: int
    end_ms: int
    start_kw: float
    end_kw: float
    quality: EnergyQuality

    def clipped(self, start_ms: int, end_ms: int) -> "_Part | None":
        start_ms, end_ms = max(self.start_ms, start_ms), min(self.end_ms, end_ms)
        if start_ms >= end_ms:
            return None
        return _Part(start_ms, end_ms, self._kw_at(start_ms), self._kw_at(end_ms), self.quality)

    def _kw_at(self, at_ms: int) -> float:
        share = (at_ms - self.start_ms) / (self.end_ms - self.start_ms)
        return self.start_kw + (self.end_kw - self.start_kw) * share

    @property
    def kwh(self) -> float:
        return (self.start_kw + self.end_kw) / 2 * (self.end_ms - self.start_ms) / HOUR_MS


def energy_over(samples: Iterable[EnergySample], start_ms: int, end_ms: int, limits: EnergyLimits = DEFAULT_LIMITS) -> Energy:
    """Energy of one device from `start_ms` up to `end_ms`.

    Args:
        samples: In any order; to cover the span up to its bounds, with the nearest ones on either side of it. Of several with the
            same time, readings that exclude each other are resolved to the greater one.
        start_ms: Epoch milliseconds.
        end_ms: Epoch milliseconds, after the start.
        limits: What is believed.

    Raises:
        ValueError: The span is empty.
    """
    if end_ms <= start_ms:
        raise ValueError(f"a span from {start_ms} to {end_ms} ms: must end after its start")
    in_order = _in_order(samples)
    measured = _register_parts(in_order, limits)
    parts = [
        clipped
        for part in (*measured, *_outside(_power_parts(in_order, limits), measured))
        if (clipped := part.clipped(start_ms, end_ms)) is not None
    ]
    if not parts:
        return NO_ENERGY
    covered_share = sum(part.end_ms - part.start_ms for part in parts) / (end_ms - start_ms)
    # In order, so that the same parts always give the same bits.
    kwh = _plain_sum(part.kwh for part in sorted(parts, key=lambda part: part.start_ms))
    return Energy(kwh, max(part.quality for part in parts), covered_share)


def merged(energies: Sequence[Energy], shares: Sequence[float]) -> Energy:
    """Energy over a span of its parts.

    Args:
        energies: Of parts that do not overlap.
        shares: How much of the whole each part is; what they leave out is not covered.
    """
    known = [energy for energy in energies if energy.kwh is not None]
    if not known:
        return NO_ENERGY
    covered_share = _plain_sum(energy.covered_share * share for energy, share in zip(energies, shares, strict=True))
    return Energy(_plain_sum(energy.kwh or 0.0 for energy in known), max(energy.source for energy in known), covered_share)


def _plain_sum(numbers: Iterable[float]) -> float:
    """One addition after the other: what `sum` does to floats depends on the version of Python, and states live longer than that."""
    total = 0.0
    for number in numbers:
        total += number
    return total


def _in_order(samples: Iterable[EnergySample]) -> list[EnergySample]:
    """One sample per time, by time."""
    by_time: dict[int, EnergySample] = {}
    for sample in samples:
        other = by_time.get(sample.at_ms)
        if other is not None:
            sample = EnergySample(  # noqa: PLW2901 - the sample that both make
                sample.at_ms, _greater(sample.power_kw, other.power_kw), _greater(sample.register_kwh, other.register_kwh)
            )
        by_time[sample.at_ms] = sample
    return [by_time[at_ms] for at_ms in sorted(by_time)]


def _greater(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _power_parts(samples: Sequence[EnergySample], limits: EnergyLimits) -> list[_Part]:
    known = [(sample.at_ms, sample.power_kw) for sample in samples if sample.power_kw is not None]
    return [
        _Part(start_ms, end_ms, start_kw, end_kw, EnergyQuality.INTEGRATED)
        for (start_ms, start_kw), (end_ms, end_kw) in pairwise(known)
        if end_ms - start_ms <= limits.max_gap_ms and max(abs(start_kw), abs(end_kw)) <= limits.max_power_kw
    ]


def _register_parts(samples: Sequence[EnergySample], limits: EnergyLimits) -> list[_Part]:
    known = [(sample.at_ms, sample.register_kwh) for sample in samples if sample.register_kwh is not None and sample.register_kwh > 0]
    parts = []
    for (start_ms, before_kwh), (end_ms, after_kwh) in pairwise(known):
        kwh, quality = _difference(before_kwh, after_kwh)
        kw = kwh / (end_ms - start_ms) * HOUR_MS
        if kw > limits.max_power_kw:
            continue
        if end_ms - start_ms > limits.max_gap_ms:
            quality = EnergyQuality.ESTIMATED  # how much is known, but not when
        parts.append(_Part(start_ms, end_ms, kw, kw, quality))
    return parts


def _difference(before_kwh: float, after_kwh: float) -> tuple[float, EnergyQuality]:
    """Energy between two readings of a register, never negative."""
    if after_kwh >= before_kwh:
        return after_kwh - before_kwh, EnergyQuality.MEASURED
    for rollover_kwh in _ROLLOVERS_KWH:
        if rollover_kwh * (1 - _NEAR_ROLLOVER) <= before_kwh < rollover_kwh and after_kwh <= rollover_kwh * _NEAR_ROLLOVER:
            return rollover_kwh - before_kwh + after_kwh, EnergyQuality.ESTIMATED
    if after_kwh >= before_kwh * _GLITCH_ABOVE:
        return 0.0, EnergyQuality.ESTIMATED
    return after_kwh, EnergyQuality.ESTIMATED


def _outside(parts: Iterable[_Part], taken: Sequence[_Part]) -> list[_Part]:
    """What of `parts` lies in no part of `taken`; both are in order, and neither overlaps itself."""
    left: list[_Part] = []
    first = 0
    for part in parts:
        at_ms = part.start_ms
        while first < len(taken) and taken[first].end_ms <= part.start_ms:
            first += 1
        index = first
        while index < len(taken) and taken[index].start_ms < part.end_ms:
            if (before := part.clipped(at_ms, taken[index].start_ms)) is not None:
                left.append(before)
            at_ms = max(at_ms, taken[index].end_ms)
            index += 1
        if (rest := part.clipped(at_ms, part.end_ms)) is not None:
            left.append(rest)
    return left
