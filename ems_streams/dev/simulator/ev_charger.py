"""An EV charger: cars come and go, and charge along a curve that falls off as they fill."""

from random import Random

from ems_streams.dev.simulator.models import DeviceModel, Metrics, electrical
from ems_streams.dev.simulator.noise import jitter
from ems_streams.dev.simulator.site import Site

_CAR_EFFICIENCY = 0.93
_TAPER_FROM = 0.8
_STEP_S = 60.0
_MAX_STEPS = 200


class EvCharger(DeviceModel):
    """Extra metrics: `connected` (0 or 1), `stateOfCharge` of the car (percent, 0 without a car), `sessionEnergyKwh`, `energyKwh`."""

    device_type = "EV_CHARGER"
    serial_prefix = "EVC"
    __slots__ = ("_capacity_kwh", "_change_at_s", "_charge", "_connected", "_energy_kwh", "_rated_kw", "_session_kwh", "_target")

    def __init__(self, site: Site, random: Random) -> None:
        super().__init__(site, random)
        self._rated_kw = random.choice((7.4, 11.0, 22.0, 50.0))
        self._energy_kwh = random.uniform(500.0, 30_000.0)
        self._connected = False
        self._change_at_s = 0.0
        self._capacity_kwh = self._charge = self._target = self._session_kwh = 0.0

    def _measure(self, moment_s: float, elapsed_s: float) -> Metrics:
        if not self._change_at_s:
            self._begin(moment_s)
        self._advance(moment_s - elapsed_s, moment_s)
        power_kw = self._power_kw()
        load = power_kw / self._rated_kw
        temperature = self._site.ambient(moment_s) + 4.0 + 14.0 * load + jitter(self._random, 0.2)
        efficiency = 94.5 - 1.5 * load + jitter(self._random, 0.05) if power_kw else 0.0
        metrics = electrical(power_kw, 400.0 - 3.0 * load + jitter(self._random, 1.5), temperature, efficiency)
        metrics["connected"] = 1.0 if self._connected else 0.0
        metrics["stateOfCharge"] = round(self._charge * 100.0, 3)
        metrics["sessionEnergyKwh"] = round(self._session_kwh, 3)
        metrics["energyKwh"] = round(self._energy_kwh, 3)
        return metrics

    def _begin(self, moment_s: float) -> None:
        """Half of the chargers have a car when the simulation starts."""
        if self._random.random() < 0.5:
            self._arrive(moment_s)
        else:
            self._change_at_s = moment_s + self._random.uniform(30.0, 3600.0)

    def _advance(self, from_s: float, to_s: float) -> None:
        step_s = max(_STEP_S, (to_s - from_s) / _MAX_STEPS)
        while from_s < to_s:
            until_s = min(to_s, from_s + step_s, max(self._change_at_s, from_s))
            self._charge_for(until_s - from_s)
            from_s = until_s
            if from_s >= self._change_at_s:
                self._depart(from_s) if self._connected else self._arrive(from_s)

    def _arrive(self, moment_s: float) -> None:
        self._connected = True
        self._capacity_kwh = self._random.uniform(40.0, 90.0)
        self._charge = self._random.uniform(0.1, 0.6)
        self._target = self._random.uniform(0.8, 1.0)
        self._session_kwh = 0.0
        self._change_at_s = moment_s + self._random.uniform(0.5, 8.0) * 3600.0

    def _depart(self, moment_s: float) -> None:
        self._connected = False
        self._charge = self._session_kwh = 0.0
        busy = 7.0 <= self._site.hour(moment_s) <= 21.0
        self._change_at_s = moment_s + max(60.0, self._random.expovariate(1.0 / (2400.0 if busy else 14_400.0)))

    def _power_kw(self) -> float:
        """Full power up to 80 percent, then falling to a tenth; nothing without a car, when it has what it wants, or when told so."""
        controls = self.controls
        if not self._connected or self._charge >= self._wanted_charge() or controls.charging is False or controls.mode == "UNAVAILABLE":
            return 0.0
        tapered = max(0.0, self._charge - _TAPER_FROM) / (1.0 - _TAPER_FROM)
        power_kw = self._rated_kw * (1.0 - 0.9 * tapered)
        return controls.limited(power_kw if controls.charge_power_kw is None else min(power_kw, controls.charge_power_kw))

    def _wanted_charge(self) -> float:
        """State of charge at which it stops: what the car wants, or less when told so."""
        told = self.controls.charge_target
        return self._target if told is None else min(self._target, told)

    def _charge_for(self, elapsed_s: float) -> None:
        power_kw = self._power_kw()
        if not power_kw:
            return
        target = self._wanted_charge()
        needed_kwh = (target - self._charge) * self._capacity_kwh / _CAR_EFFICIENCY
        drawn_kwh = min(power_kw * elapsed_s / 3600.0, needed_kwh)
        self._charge = min(target, self._charge + drawn_kwh * _CAR_EFFICIENCY / self._capacity_kwh)
        self._session_kwh += drawn_kwh
        self._energy_kwh += drawn_kwh
