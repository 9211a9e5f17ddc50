"""What every simulated device is: something with a site that can be read at a moment."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from random import Random
from typing import ClassVar

from ems_streams.dev.simulator.controls import Controls
from ems_streams.dev.simulator.site import Site

Metrics = dict[str, float]
Sample = Callable[[float], Metrics]


class DeviceModel(ABC):
    """A device as physics: no I/O and no clock; moments are seconds since the epoch and never go back.

    Sign of `powerKw`: what a device gives is positive for inverters and batteries (so a charging battery is negative); what
    it draws is positive for meters and EV chargers. `current` has the sign of the power.

    Attributes:
        controls: What commands have set; the next measurement has it.
    """

    device_type: ClassVar[str]
    serial_prefix: ClassVar[str]

    __slots__ = ("_last_moment_s", "_random", "_site", "controls")

    def __init__(self, site: Site, random: Random) -> None:
        self._site = site
        self._random = random
        self._last_moment_s: float | None = None
        self.controls = Controls()

    def read(self, moment_s: float) -> Metrics:
        """Advance to a moment and measure; values have three decimals."""
        elapsed_s = 0.0 if self._last_moment_s is None else max(0.0, moment_s - self._last_moment_s)
        self._last_moment_s = moment_s
        return self._measure(moment_s, elapsed_s)

    @abstractmethod
    def _measure(self, moment_s: float, elapsed_s: float) -> Metrics:
        """Advance the state by `elapsed_s` up to `moment_s` and return the metrics of that moment."""


def electrical(power_kw: float, voltage: float, temperature: float, efficiency: float, power_factor: float = 1.0) -> Metrics:
    """The five metrics that every device has, with the current that follows from power, voltage and power factor."""
    volts = round(voltage, 3)
    return {
        # Adding zero makes 0.0 of -0.0.
        "powerKw": round(power_kw, 3) + 0.0,
        "voltage": volts,
        "current": round(power_kw * 1000.0 / (volts * power_factor), 3) + 0.0,
        "temperature": round(temperature, 3),
        "efficiency": round(efficiency, 3),
    }
