"""Energy of one device over parts of its quarters: gathers the samples that matter, on either side of the span too."""

import contextlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from ems_streams.domain.energy import DEFAULT_LIMITS, Energy, EnergyLimits, EnergyQuality, EnergySample, energy_over
from ems_streams.domain.fold_outcome import NOT_YET_MS
from ems_streams.domain.quarter import Edges, Point, Quarter
from ems_streams.domain.samples import values_of
from ems_streams.domain.windows import QUARTER_MS

POWER: Final = "powerKw"
REGISTERS: Final = ("energyTotalKwh", "totalEnergyKwh", "energyKwh")
"""Metrics that are taken for the energy register: the first of them that a device has."""

Around = tuple[Point | None, Point | None]
"""Nearest power value and nearest reading on one side."""
_NONE: Final[Around] = (None, None)


class Series:
    """What ordered samples, and the nearest ones around them, say about energy; a register that reads 0 says nothing.

    Compiled where there is a C compiler (`_windows.pyx`); what stands here is what that does, and does it where there is none.

    Args:
        samples: In order.
        power: Number of the power metric.
        register: Number of the energy register.
        before: Nearest values before the samples.
        behind: Nearest values behind them.
    """

    def __init__(
        self, samples: bytes | bytearray, power: int | None, register: int | None, before: Around = _NONE, behind: Around = _NONE
    ) -> None:
        self._power: list[Point] = [before[0]] if before[0] else []
        self._register: list[Point] = [before[1]] if before[1] else []
        for time_ms, values in values_of(samples):
            for number, value in values:
                if number == power:
                    self._power.append((time_ms, value))
                elif number == register and value > 0:
                    self._register.append((time_ms, value))
        self._power += [behind[0]] if behind[0] else []
        self._register += [behind[1]] if behind[1] else []

    def edges(self) -> Edges:
        """First and last of each kind, the greatest of several at one time."""
        return Edges(_first(self._power), max(self._power, default=None), _first(self._register), max(self._register, default=None))

    def energy(self, start_ms: int, end_ms: int, max_gap_ms: float, max_power_kw: float) -> tuple[float | None, int, float]:
        """Energy between two times as (kWh or None, source, covered share)."""
        samples = [
            *(EnergySample(time_ms, power_kw=value) for time_ms, value in self._power),
            *(EnergySample(time_ms, register_kwh=value) for time_ms, value in self._register),
        ]
        found = energy_over(samples, start_ms, end_ms, EnergyLimits(int(max_gap_ms), max_power_kw))
        return found.kwh, found.source, found.covered_share


def _first(points: list[Point]) -> Point | None:
    return min(points, key=lambda point: (point[0], -point[1]), default=None)


PythonSeries = Series
if sys.byteorder == "little":  # the compiled one takes the bytes as they are
    with contextlib.suppress(ImportError):
        from ems_streams.domain._windows import Series  # type: ignore[assignment]  # the same methods


@dataclass(frozen=True, slots=True)
class Meters:
    """Which of a device's metrics say something about energy, by number.

    Attributes:
        power: The power metric, None when the device has none.
        register: The energy register.
    """

    power: int | None
    register: int | None

    @classmethod
    def of(cls, names: dict[str, int]) -> "Meters":
        """Those of a device with these metric names."""
        return cls(names.get(POWER), next((names[name] for name in REGISTERS if name in names), None))

    def edges_of(self, samples: bytes | bytearray) -> Edges:
        """First and last of what ordered samples say."""
        return Edges(*Series(samples, self.power, self.register, _NONE, _NONE).edges())


class Records(Protocol):
    """Of which quarters of a device there may be records."""

    def recorded(self, start_ms: int, end_ms: int) -> Iterable[int]:
        """Starts between two times, in order."""

    def recorded_before(self, quarter_ms: int) -> Iterable[int]:
        """Starts before one of them, the last one first."""


class QuarterEnergy:
    """Energies within the quarters of one device; asks for each quarter's neighbours once.

    Args:
        meters: Of the device.
        quarter_at: The quarter that begins at a time, if there is a record of it.
        records: Which quarters there may be a record of.
        register_before_all: Last reading before all of them.
        behind_all: First power value and first reading behind all closed minutes.
        limits: What is believed.
    """

    def __init__(
        self,
        meters: Meters,
        quarter_at: Callable[[int], Quarter | None],
        records: Records,
        *,
        register_before_all: Point | None,
        behind_all: Around,
        limits: EnergyLimits = DEFAULT_LIMITS,
    ) -> None:
        self.meters = meters
        self.limits = limits
        self._quarter_at = quarter_at
        self._records = records
        self._register_before_all = register_before_all
        self._behind_all = behind_all
        self._series: dict[int, Series] = {}

    def over(self, start_ms: int, end_ms: int) -> Energy:
        """Energy of a span that lies within one quarter."""
        series = self._series_of(start_ms - start_ms % QUARTER_MS)
        kwh, source, covered_share = series.energy(start_ms, end_ms, self.limits.max_gap_ms, self.limits.max_power_kw)
        return Energy(kwh, EnergyQuality(source), covered_share)

    def register_before(self, quarter_ms: int) -> Point | None:
        """Last reading before the quarter that begins at a time."""
        if self.meters.register is None:
            return None
        for start_ms in self._records.recorded_before(quarter_ms):
            quarter = self._quarter_at(start_ms)
            if quarter is not None and quarter.edges.last_register is not None:
                return quarter.edges.last_register
        return self._register_before_all

    def register_behind(self, quarter_ms: int) -> Point | None:
        """First reading from the quarter on that begins at a time."""
        if self.meters.register is None:
            return None
        for start_ms in self._records.recorded(quarter_ms, NOT_YET_MS):
            quarter = self._quarter_at(start_ms)
            if quarter is not None and quarter.edges.first_register is not None:
                return quarter.edges.first_register
        return self._behind_all[1]

    def _power_before(self, quarter_ms: int) -> Point | None:
        for start_ms in range(quarter_ms - QUARTER_MS, quarter_ms - self.limits.max_gap_ms - QUARTER_MS, -QUARTER_MS):
            quarter = self._quarter_at(start_ms)
            if quarter is not None and quarter.edges.last_power is not None:
                return quarter.edges.last_power
        return None

    def _power_behind(self, quarter_ms: int) -> Point | None:
        for start_ms in range(quarter_ms, quarter_ms + self.limits.max_gap_ms, QUARTER_MS):
            quarter = self._quarter_at(start_ms)
            if quarter is not None and quarter.edges.first_power is not None:
                return quarter.edges.first_power
        return self._behind_all[0]

    def _series_of(self, quarter_ms: int) -> Series:
        series = self._series.get(quarter_ms)
        if series is None:
            quarter, end_ms = self._quarter_at(quarter_ms), quarter_ms + QUARTER_MS
            series = self._series[quarter_ms] = Series(
                b"" if quarter is None else quarter.samples,
                self.meters.power,
                self.meters.register,
                (self._power_before(quarter_ms), self.register_before(quarter_ms)),
                (self._power_behind(end_ms), self.register_behind(end_ms)),
            )
        return series
