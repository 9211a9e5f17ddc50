"""A battery that takes the site's surplus and gives it back when the site needs power."""

from random import Random

from ems_streams.dev.simulator.models import DeviceModel, Metrics, electrical
from ems_streams.dev.simulator.noise import jitter
from ems_streams.dev.simulator.site import Site

_ONE_WAY_EFFICIENCY = 0.96
_FLOOR = 0.05
_TAPER_FROM = 0.9


class Battery(DeviceModel):
    """Extra metrics: `stateOfCharge` (percent, 5 to 100), and the registers `chargedKwh` and `dischargedKwh`."""

    device_type = "BATTERY"
    serial_prefix = "BAT"
    __slots__ = ("_capacity_kwh", "_charge", "_charged_kwh", "_discharged_kwh", "_rated_kw", "_share")

    def __init__(self, site: Site, random: Random) -> None:
        super().__init__(site, random)
        self._capacity_kwh = random.choice((50.0, 100.0, 200.0))
        self._rated_kw = self._capacity_kwh * 0.5
        self._share = random.uniform(0.3, 0.8)
        self._charge = random.uniform(0.2, 0.8)
        self._charged_kwh = random.uniform(100.0, 9_000.0)
        self._discharged_kwh = self._charged_kwh * 0.9

    def _measure(self, moment_s: float, elapsed_s: float) -> Metrics:
        wanted_kw = self.controls.limited(self._wanted_kw(moment_s))
        power_kw = -self._take(wanted_kw, elapsed_s) if wanted_kw > 0.0 else self._give(-wanted_kw, elapsed_s)
        load = abs(power_kw) / self._rated_kw
        voltage = 700.0 + 90.0 * (self._charge - 0.5) - 12.0 * power_kw / self._rated_kw + jitter(self._random, 0.4)
        temperature = 0.5 * self._site.ambient(moment_s) + 11.0 + 9.0 * load + jitter(self._random, 0.1)
        efficiency = 100.0 * _ONE_WAY_EFFICIENCY - 1.2 * load if load else 0.0
        metrics = electrical(power_kw, voltage, temperature, efficiency)
        metrics["stateOfCharge"] = round(self._charge * 100.0, 3)
        metrics["chargedKwh"] = round(self._charged_kwh, 3)
        metrics["dischargedKwh"] = round(self._discharged_kwh, 3)
        return metrics

    def _wanted_kw(self, moment_s: float) -> float:
        """Power to take, negative to give: the site's surplus, unless a command has said otherwise."""
        controls = self.controls
        if controls.mode == "IDLE":
            return 0.0
        if controls.charging or (controls.mode == "CHARGE" and controls.charging is None):
            if self._charge >= (1.0 if controls.charge_target is None else controls.charge_target):
                return 0.0
            return self._rated_kw if controls.charge_power_kw is None else controls.charge_power_kw
        wanted_kw = -self._rated_kw if controls.mode == "DISCHARGE" else self._site.surplus_kw(moment_s) * self._share
        return min(0.0, wanted_kw) if controls.charging is False else wanted_kw

    def _take(self, surplus_kw: float, elapsed_s: float) -> float:
        """Charge; returns the power drawn, which falls to nothing as the cells fill."""
        hours = elapsed_s / 3600.0
        room_kwh = max(0.0, 1.0 - self._charge) * self._capacity_kwh / _ONE_WAY_EFFICIENCY
        taper = min(1.0, max(0.0, 1.0 - self._charge) / (1.0 - _TAPER_FROM))
        power_kw = min(surplus_kw, self._rated_kw * taper, room_kwh / hours if hours else surplus_kw)
        self._charge = min(1.0, self._charge + power_kw * hours * _ONE_WAY_EFFICIENCY / self._capacity_kwh)
        self._charged_kwh += power_kw * hours
        return power_kw

    def _give(self, need_kw: float, elapsed_s: float) -> float:
        """Discharge; returns the power given, nothing at the floor."""
        hours = elapsed_s / 3600.0
        available_kwh = max(0.0, self._charge - _FLOOR) * self._capacity_kwh * _ONE_WAY_EFFICIENCY
        if available_kwh <= 0.0:
            return 0.0
        power_kw = min(need_kw, self._rated_kw, available_kwh / hours if hours else need_kw)
        self._charge = max(_FLOOR, self._charge - power_kw * hours / _ONE_WAY_EFFICIENCY / self._capacity_kwh)
        self._discharged_kwh += power_kw * hours
        return power_kw
