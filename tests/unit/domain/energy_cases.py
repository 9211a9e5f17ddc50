"""Days of one device whose energy is known in closed form; `benchmarks/energy_table.py` prints what is found for them.

They go the way of real messages: through the fold, the closing of windows and all stored forms.
"""

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from ems_streams.domain.energy import EnergyQuality
from ems_streams.domain.summary import Summary
from ems_streams.domain.telemetry_record import TelemetryRecord
from ems_streams.domain.windows import DAY_MS, HOUR_MS, Window
from tests.unit.domain.builders import NOON_MS, Device, record

MIDNIGHT_MS = NOON_MS - 12 * HOUR_MS
STEP_MS = 10_000
BATCH = 60
EVENING_MS, MORNING_MS = -6 * HOUR_MS, 31 * HOUR_MS
"""From 18 o'clock of the day before up to 7 o'clock of the day after."""

Curve = Callable[[float], float]
"""Of hours since midnight."""
Metrics = dict[str, float]


@dataclass(frozen=True)
class Load:
    """A load whose energy is known.

    Attributes:
        power_kw: Power at a time.
        energy_kwh: Energy since midnight.
        greatest_kw: Greatest magnitude of the power.
    """

    power_kw: Curve
    energy_kwh: Curve
    greatest_kw: float


def _sun_kwh(hours: float) -> float:
    """Of a half-sine of 50 kW from 6 to 18 o'clock, on every day."""
    day, hour = divmod(hours, 24)
    return (day + (1 - math.cos((min(max(hour, 6), 18) - 6) / 12 * math.pi)) / 2) * 50 * 24 / math.pi


CONSTANT = Load(lambda _: 6.0, lambda hours: 6.0 * hours, 6.0)
RAMP = Load(lambda hours: 2.0 * hours, lambda hours: hours**2, 62.0)
SUN = Load(lambda hours: 50.0 * max(math.sin((hours % 24 - 6) / 12 * math.pi), 0.0), _sun_kwh, 50.0)
BATTERY = Load(
    lambda hours: -20.0 * math.sin(hours / 12 * math.pi), lambda hours: (math.cos(hours / 12 * math.pi) - 1) * 240 / math.pi, 20.0
)


def times(start_ms: int = EVENING_MS, end_ms: int = MORNING_MS) -> Iterable[int]:
    """Every ten seconds, milliseconds since midnight, the end included."""
    return range(start_ms, end_ms + 1, STEP_MS)


def power(load: Load) -> list[tuple[int, Metrics]]:
    """Messages with the power only, in watts as meters have them."""
    return [(at_ms, {"powerKw": round(load.power_kw(at_ms / HOUR_MS), 3)}) for at_ms in times()]


def register(load: Load, reading: Curve = lambda kwh: 1_000.0 + kwh) -> list[tuple[int, Metrics]]:
    """Messages with the register only, in watt-hours."""
    return [(at_ms, {"energyTotalKwh": round(reading(load.energy_kwh(at_ms / HOUR_MS)), 3)}) for at_ms in times()]


def both(load: Load, reading: Curve = lambda kwh: 1_000.0 + kwh) -> list[tuple[int, Metrics]]:
    """Messages with power and register."""
    return [(at_ms, one | other) for (at_ms, one), (_, other) in zip(power(load), register(load, reading), strict=True)]


def lossy(messages: list[tuple[int, Metrics]], share: float = 0.1, seed: int = 1) -> list[tuple[int, Metrics]]:
    """Without a share of the messages, at random."""
    draw = random.Random(seed)
    return [message for message in messages if draw.random() >= share]


def silent(messages: list[tuple[int, Metrics]], start_h: float, end_h: float) -> list[tuple[int, Metrics]]:
    """Without what lies between two hours."""
    return [(at_ms, metrics) for at_ms, metrics in messages if not start_h * HOUR_MS < at_ms < end_h * HOUR_MS]


def changed(messages: list[tuple[int, Metrics]], change: Callable[[int, Metrics], Metrics]) -> list[tuple[int, Metrics]]:
    """With other values from some time on."""
    return [(at_ms, metrics | change(at_ms, metrics)) for at_ms, metrics in messages]


def _reset_at_noon(load: Load) -> Callable[[int, Metrics], Metrics]:
    noon_kwh = load.energy_kwh(12)
    return lambda at_ms, _: {"energyTotalKwh": round(load.energy_kwh(at_ms / HOUR_MS) - noon_kwh, 3)} if at_ms >= DAY_MS // 2 else {}


def _zero_at_night(at_ms: int, _: Metrics) -> Metrics:
    return {} if 6 * HOUR_MS < at_ms % DAY_MS < 18 * HOUR_MS else {"energyTotalKwh": 0.0}


def _other_meter_at_noon(at_ms: int, metrics: Metrics) -> Metrics:
    return {"energyTotalKwh": metrics["energyTotalKwh"] + 500_000.0} if at_ms >= DAY_MS // 2 else {}


def _once(at_h: float, **values: float) -> Callable[[int, Metrics], Metrics]:
    return lambda at_ms, _: values if at_ms == at_h * HOUR_MS else {}


@dataclass(frozen=True)
class Case:
    """A day and what has to be found for it.

    Attributes:
        name: What happens.
        load: What really happened.
        messages: By milliseconds since midnight.
        bound_kwh: How far from the truth the day may be.
        quality: Of the day.
        covered_share: Of the day.
        hour_bound_kwh: How far from the truth each hour may be; None where hours cannot be known.
        skew_ms: The device's clock is so much ahead.
        disorder: Messages come up to 20 minutes late, and one in five comes again.
    """

    name: str
    load: Load
    messages: list[tuple[int, Metrics]]
    bound_kwh: float
    quality: EnergyQuality
    covered_share: float = 1.0
    hour_bound_kwh: float | None = None
    skew_ms: int = 0
    disorder: bool = False

    @property
    def true_kwh(self) -> float:
        """Energy of the day."""
        return self.load.energy_kwh(24)

    def device(self) -> Device:
        """A device that sent all of it, and was quiet for a few days then."""
        device = Device()
        arrivals = self._arrivals()
        for start in range(0, len(arrivals), BATCH):
            batch = arrivals[start : start + BATCH]
            device.send(*(message for _, message in batch), arrived_ms=max(arrived_ms for arrived_ms, _ in batch))
        device.quiet(3 * DAY_MS)
        return device

    def _arrivals(self) -> list[tuple[int, TelemetryRecord]]:
        draw = random.Random(7)
        found = []
        for at_ms, metrics in self.messages:
            message = record(MIDNIGHT_MS + at_ms + self.skew_ms, metrics)
            found.append((MIDNIGHT_MS + at_ms + (draw.randrange(20 * 60_000) if self.disorder else 0), message))
            if self.disorder and draw.random() < 0.2:
                found.append((MIDNIGHT_MS + at_ms + draw.randrange(20 * 60_000), message))
        return sorted(found, key=lambda each: each[0])


MEASURED, INTEGRATED, ESTIMATED, GAP = EnergyQuality

CASES = {
    case.name: case
    for case in (
        Case("constant load, power", CONSTANT, power(CONSTANT), 1e-9, INTEGRATED, hour_bound_kwh=1e-9),
        Case("constant load, register", CONSTANT, register(CONSTANT), 0.001, MEASURED, hour_bound_kwh=0.001),
        Case("ramp, power", RAMP, power(RAMP), 0.001, INTEGRATED, hour_bound_kwh=0.001),
        Case("the sun's half-sine, power", SUN, power(SUN), 0.001, INTEGRATED, hour_bound_kwh=0.001),
        Case("the sun's half-sine, register", SUN, register(SUN), 0.001, MEASURED, hour_bound_kwh=0.001),
        Case("battery, charged and discharged, power", BATTERY, power(BATTERY), 0.001, INTEGRATED, hour_bound_kwh=0.001),
        Case("a tenth of the messages lost, power", SUN, lossy(power(SUN)), 0.001, INTEGRATED, hour_bound_kwh=0.001),
        Case("a tenth of the messages lost, register", SUN, lossy(register(SUN)), 0.03, MEASURED, hour_bound_kwh=0.03),
        Case("messages late, in disorder and repeated, power", SUN, power(SUN), 0.001, INTEGRATED, hour_bound_kwh=0.001, disorder=True),
        Case("messages late, in disorder and repeated, register", SUN, register(SUN), 0.001, MEASURED, hour_bound_kwh=0.001, disorder=True),
        Case(
            "register reset at noon", CONSTANT, changed(register(CONSTANT), _reset_at_noon(CONSTANT)), 0.03, ESTIMATED, hour_bound_kwh=0.03
        ),
        Case(
            "register reset at noon, in an hour without messages",
            CONSTANT,
            silent(changed(register(CONSTANT), _reset_at_noon(CONSTANT)), 11.5, 12.5),
            3.01,
            ESTIMATED,
        ),
        Case(
            "register rollover after six digits",
            CONSTANT,
            register(CONSTANT, lambda kwh: (999_950 + kwh) % 1e6),
            0.001,
            ESTIMATED,
            hour_bound_kwh=0.001,
        ),
        Case(
            "register rollover of 32 bits of watt-hours",
            CONSTANT,
            register(CONSTANT, lambda kwh: (4_294_900 + kwh) % 4_294_967.296),
            0.001,
            ESTIMATED,
            hour_bound_kwh=0.001,
        ),
        Case(
            "register that reads 0 at night",
            SUN,
            changed(both(SUN, lambda kwh: 5.0 + kwh), _zero_at_night),
            0.001,
            ESTIMATED,
            hour_bound_kwh=0.001,
        ),
        Case(
            "meter replaced by one that reads 500,000 kWh more",
            CONSTANT,
            changed(both(CONSTANT), _other_meter_at_noon),
            0.001,
            INTEGRATED,
            hour_bound_kwh=0.001,
        ),
        Case("one reading of a thousandth", CONSTANT, changed(both(CONSTANT), _once(9, energyTotalKwh=1.1)), 1.2, ESTIMATED),
        Case("one reading 5 kWh too low", CONSTANT, changed(both(CONSTANT), _once(9, energyTotalKwh=1_049.0)), 5.01, ESTIMATED),
        Case(
            "one power value of a million kW", CONSTANT, changed(power(CONSTANT), _once(9, powerKw=1e6)), 0.034, INTEGRATED, 1 - 20 / 86_400
        ),
        Case("clock of the device 90 s behind, power", SUN, power(SUN), 0.001, INTEGRATED, skew_ms=-90_000),
        Case("clock of the device 30 min ahead, register", SUN, register(SUN), 0.001, MEASURED, skew_ms=1_800_000),
        Case("10 h without messages, power", CONSTANT, silent(power(CONSTANT), 8, 18), 60.001, GAP, 14 / 24),
        Case("10 h without messages, register", CONSTANT, silent(register(CONSTANT), 8, 18), 0.001, ESTIMATED, hour_bound_kwh=0.001),
        Case("10 h of sun without messages, power", SUN, silent(power(SUN), 7, 17), 368.97, GAP, 14 / 24),
        Case("10 h of sun without messages, register", SUN, silent(register(SUN), 7, 17), 0.001, ESTIMATED),
    )
}


@cache
def windows_of(name: str) -> dict[tuple[Window, int], Summary]:
    """What the last revision of every window of a case says."""
    return CASES[name].device().last()


def day_of(name: str) -> Summary:
    """What is said of the day itself."""
    return windows_of(name)[Window.DAY, MIDNIGHT_MS]
