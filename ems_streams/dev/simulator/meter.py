"""A revenue meter on a part of the site's consumption."""

from random import Random

from ems_streams.dev.simulator.models import DeviceModel, Metrics, electrical
from ems_streams.dev.simulator.noise import jitter
from ems_streams.dev.simulator.site import Site


class Meter(DeviceModel):
    """Extra metrics: `energyKwh`, a register that never goes back, `powerFactor` and `frequencyHz`.

    `efficiency` is the share of the apparent power that is real power, so powerKw = voltage * current * powerFactor / 1000.
    """

    device_type = "METER"
    serial_prefix = "MTR"
    __slots__ = ("_energy_kwh", "_share")

    def __init__(self, site: Site, random: Random) -> None:
        super().__init__(site, random)
        self._share = random.uniform(0.2, 1.0)
        self._energy_kwh = random.uniform(5_000.0, 400_000.0)

    def _measure(self, moment_s: float, elapsed_s: float) -> Metrics:
        power_kw = self._site.load_kw(moment_s) * self._share * (1.0 + jitter(self._random, 0.01))
        self._energy_kwh += power_kw * elapsed_s / 3600.0
        power_factor = round(0.965 + jitter(self._random, 0.02), 3)
        voltage = 400.0 - 0.02 * power_kw + jitter(self._random, 2.0)
        temperature = 0.3 * self._site.ambient(moment_s) + 16.0 + jitter(self._random, 0.1)
        metrics = electrical(power_kw, voltage, temperature, 100.0 * power_factor, power_factor)
        metrics["energyKwh"] = round(self._energy_kwh, 3)
        metrics["powerFactor"] = power_factor
        metrics["frequencyHz"] = round(50.0 + jitter(self._random, 0.03), 3)
        return metrics
