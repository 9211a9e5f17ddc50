"""Energy of one device over parts of its quarters: gathers the samples that matter, on either side of the span too."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ems_streams.domain.energy import DEFAULT_LIMITS, Energy, EnergyLimits, EnergySample, energy_over
from ems_streams.domain.quarter import Edges, Quarter
from ems_streams.domain.samples import values_of
from ems_streams.domain.windows import QUARTER_MS

POWER: Final = "powerKw"
REGISTERS: Final = ("energyTotalKwh", "totalEnergyKwh", "energyKwh")
"""Metrics that are taken for the energy register: the first of them that a device has."""


class Meters:
    """Which of a device's metrics say something about energy.

    Attributes:
        power: Number of the power metric, None when the device has none.
        register: Number of the energy register.
    """

    __slots__ = ("power", "register")

    def __init__(self, names: dict[str, int]) -> None:
        self.power = names.get(POWER)
        self.register = next((names[name] for name in REGISTERS if name in names), None)

    def samples_of(self, data: bytes | bytearray) -> list[EnergySample]:
        """What ordered samples say about energy; a register that reads 0 says nothing."""
        found = []
        power, register = self.power, self.register
        for time_ms, values in values_of(data):
            kw = kwh = None
            for number, value in values:
                if number == power:
                    kw = value
                elif number == register and value > 0:
                    kwh = value
            if kw is not None or kwh is not None:
                found.append(EnergySample(time_ms, kw, kwh))
        return found


def first_power(samples: Sequence[EnergySample]) -> EnergySample | None:
    """The first power value; of several at its time, the greatest."""
    values = [(sample.at_ms, -sample.power_kw) for sample in samples if sample.power_kw is not None]
    return None if not values else EnergySample(min(values)[0], power_kw=-min(values)[1])


def first_register(samples: Sequence[EnergySample]) -> EnergySample | None:
    """The first reading; of several at its time, the greatest."""
    values = [(sample.at_ms, -sample.register_kwh) for sample in samples if sample.register_kwh is not None]
    return None if not values else EnergySample(min(values)[0], register_kwh=-min(values)[1])


def edges_of(samples: Sequence[EnergySample]) -> Edges:
    """First and last of each kind; of several at one time, the greatest."""
    power = [(sample.at_ms, sample.power_kw) for sample in samples if sample.power_kw is not None]
    register = [(sample.at_ms, sample.register_kwh) for sample in samples if sample.register_kwh is not None]
    return Edges(
        first_power(samples),
        EnergySample(max(power)[0], power_kw=max(power)[1]) if power else None,
        first_register(samples),
        EnergySample(max(register)[0], register_kwh=max(register)[1]) if register else None,
    )


class QuarterEnergy:
    """Energies within the quarters of one device; asks for each quarter's neighbours once.

    Args:
        meters: Of the device.
        quarter_at: The quarter that begins at a time, if there is a record of it.
        reach_ms: First and last start of a quarter that there may be a record of.
        before: Last register reading before all of them.
        behind: What the samples behind all closed minutes say about energy.
        limits: What is believed.
    """

    def __init__(
        self,
        meters: Meters,
        quarter_at: Callable[[int], Quarter | None],
        reach_ms: tuple[int, int],
        before: EnergySample | None,
        behind: Sequence[EnergySample],
        limits: EnergyLimits = DEFAULT_LIMITS,
    ) -> None:
        self.meters = meters
        self.limits = limits
        self._quarter_at = quarter_at
        self._oldest_ms, self._newest_ms = reach_ms
        self._before = before
        self._behind = [edge for edge in (first_power(behind), first_register(behind)) if edge is not None]
        self._series: dict[int, list[EnergySample]] = {}

    def over(self, start_ms: int, end_ms: int) -> Energy:
        """Energy of a span that lies within one quarter."""
        series = self._series_of(start_ms - start_ms % QUARTER_MS)
        first = bisect_left(series, start_ms, key=_time_of)
        stop = bisect_left(series, end_ms, key=_time_of)
        around = [
            *_nearest(reversed(series[:first])),
            *series[first:stop],
            *_nearest(iter(series[stop:])),
        ]
        return energy_over(around, start_ms, end_ms, self.limits)

    def times_of(self, quarter_ms: int) -> Sequence[int]:
        """Times in a quarter that something is known of, with those of its neighbours."""
        return [sample.at_ms for sample in self._series_of(quarter_ms)]

    def register_before(self, time_ms: int) -> EnergySample | None:
        """Last reading before the quarter that begins at a time."""
        if self.meters.register is None:
            return None
        for start_ms in range(min(time_ms - QUARTER_MS, self._newest_ms), self._oldest_ms - 1, -QUARTER_MS):
            quarter = self._quarter_at(start_ms)
            if quarter is not None and quarter.edges.last_register is not None:
                return quarter.edges.last_register
        return self._before

    def register_behind(self, time_ms: int) -> EnergySample | None:
        """First reading from the quarter on that begins at a time."""
        if self.meters.register is None:
            return None
        for start_ms in range(max(time_ms, self._oldest_ms), self._newest_ms + 1, QUARTER_MS):
            quarter = self._quarter_at(start_ms)
            if quarter is not None and quarter.edges.first_register is not None:
                return quarter.edges.first_register
        return next((edge for edge in self._behind if edge.register_kwh is not None), None)

    def _power_before(self, time_ms: int) -> EnergySample | None:
        for start_ms in range(time_ms - QUARTER_MS, time_ms - self.limits.max_gap_ms - QUARTER_MS, -QUARTER_MS):
            quarter = self._quarter_at(start_ms)
            if quarter is not None and quarter.edges.last_power is not None:
                return quarter.edges.last_power
        return None

    def _power_behind(self, time_ms: int) -> EnergySample | None:
        for start_ms in range(time_ms, time_ms + self.limits.max_gap_ms, QUARTER_MS):
            quarter = self._quarter_at(start_ms)
            if quarter is not None and quarter.edges.first_power is not None:
                return quarter.edges.first_power
        return next((edge for edge in self._behind if edge.power_kw is not None), None)

    def _series_of(self, quarter_ms: int) -> list[EnergySample]:
        series = self._series.get(quarter_ms)
        if series is None:
            quarter = self._quarter_at(quarter_ms)
            inside = [] if quarter is None else self.meters.samples_of(quarter.samples)
            end_ms = quarter_ms + QUARTER_MS
            edges = (
                self._power_before(quarter_ms),
                self.register_before(quarter_ms),
                self._power_behind(end_ms),
                self.register_behind(end_ms),
            )
            outside = [edge for edge in edges if edge is not None]
            series = self._series[quarter_ms] = sorted([*inside, *outside], key=_time_of)
        return series


def _time_of(sample: EnergySample) -> int:
    return sample.at_ms


def _nearest(samples: Iterator[EnergySample]) -> list[EnergySample]:
    """The nearest samples on one side that have a power value and a reading, with what lies between and at their times."""
    found: list[EnergySample] = []
    power_ms = register_ms = None
    for sample in samples:
        if power_ms is not None and register_ms is not None and sample.at_ms not in (power_ms, register_ms):
            break
        found.append(sample)
        if power_ms is None and sample.power_kw is not None:
            power_ms = sample.at_ms
        if register_ms is None and sample.register_kwh is not None:
            register_ms = sample.at_ms
    return found
