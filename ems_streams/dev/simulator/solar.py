"""A string inverter: irradiance, cell temperature, conversion losses, clipping at its rating."""

from random import Random

from ems_streams.dev.simulator.models import DeviceModel, Metrics, electrical
from ems_streams.dev.simulator.noise import jitter
from ems_streams.dev.simulator.site import Site

_CELL_HEATING = 0.03
_LOSS_PER_DEGREE = 0.004


class SolarInverter(DeviceModel):
    """Extra metrics: `irradiance` (W/m2) and `energyKwh`, a register that never goes back."""

    device_type = "SOLAR_INVERTER"
    serial_prefix = "INV"
    __slots__ = ("_energy_kwh", "_panels_kw", "_rated_kw")

    def __init__(self, site: Site, random: Random) -> None:
        super().__init__(site, random)
        self._rated_kw = random.choice((10.0, 25.0, 50.0, 60.0))
        self._panels_kw = self._rated_kw * random.uniform(1.0, 1.25)
        self._energy_kwh = random.uniform(1_000.0, 90_000.0)

    def _measure(self, moment_s: float, elapsed_s: float) -> Metrics:
        irradiance = self._site.irradiance(moment_s)
        ambient = self._site.ambient(moment_s)
        cell = ambient + _CELL_HEATING * irradiance
        direct_kw = self._panels_kw * irradiance / 1000.0 * (1.0 - _LOSS_PER_DEGREE * (cell - 25.0))
        efficiency = _efficiency(direct_kw / self._rated_kw)
        power_kw = self.controls.limited(min(self._rated_kw, direct_kw * efficiency / 100.0))
        if self.controls.mode == "STANDBY":
            power_kw = 0.0
        self._energy_kwh += power_kw * elapsed_s / 3600.0
        heat = 18.0 * power_kw / self._rated_kw
        metrics = electrical(power_kw, 480.0 + jitter(self._random, 2.5), ambient + heat + jitter(self._random, 0.2), efficiency)
        metrics["irradiance"] = round(irradiance, 3)
        metrics["energyKwh"] = round(self._energy_kwh, 3)
        return metrics


def _efficiency(load: float) -> float:
    """Percent of the panels' power that arrives: poor at very low load, best at about half, 0 when there is none."""
    if load <= 0.0:
        return 0.0
    return max(20.0, 98.9 - 0.2 / max(load, 0.003) - 0.5 * load)
