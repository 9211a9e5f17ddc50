"""A site: its place under the sun, its weather and what its people consume."""

from math import cos, exp, pi
from random import Random

from ems_streams.dev.simulator.noise import SmoothNoise
from ems_streams.dev.simulator.sun import DAY_S, clear_sky_irradiance, season, sine_of_elevation, solar_hour, through_clouds

_EPOCH_WEEKDAY = 3


class Site:
    """What the devices of one site have in common; every value is a function of the moment (seconds since the epoch, UTC)."""

    __slots__ = ("_cloud_fast", "_cloud_slow", "_demand", "_latitude_deg", "_longitude_deg", "_peak_load_kw", "_warmth", "site_id")

    def __init__(self, seed: int, site_id: int) -> None:
        random = Random(f"{seed}/site/{site_id}")
        self.site_id = site_id
        self._latitude_deg = round(random.uniform(40.0, 55.0), 3)
        self._longitude_deg = round(random.uniform(0.0, 15.0), 3)
        self._peak_load_kw = random.uniform(40.0, 160.0)
        self._cloud_slow = SmoothNoise(random, 3 * 3600.0)
        self._cloud_fast = SmoothNoise(random, 240.0)
        self._warmth = SmoothNoise(random, 5 * 3600.0)
        self._demand = SmoothNoise(random, 420.0)

    def irradiance(self, moment_s: float) -> float:
        """What reaches the panels in W/m2; 0 at night."""
        clear = clear_sky_irradiance(sine_of_elevation(moment_s, self._latitude_deg, self._longitude_deg))
        if not clear:
            return 0.0
        cover = 0.65 * self._cloud_slow.at(moment_s) + 0.35 * self._cloud_fast.at(moment_s)
        return through_clouds(clear, cover)

    def ambient(self, moment_s: float) -> float:
        """Temperature of the air in degrees Celsius; warmest at 15 h."""
        daily = cos((solar_hour(moment_s, self._longitude_deg) - 15.0) * pi / 12.0)
        return 11.0 + 9.0 * season(moment_s) + 5.0 * daily + 6.0 * (self._warmth.at(moment_s) - 0.5)

    def load_kw(self, moment_s: float) -> float:
        """What the site consumes; a base load, a peak at about 8 h and a higher one at 19 h, less at weekends."""
        hour = solar_hour(moment_s, self._longitude_deg)
        morning = exp(-(((hour - 8.0) / 1.8) ** 2))
        evening = exp(-(((hour - 19.0) / 2.4) ** 2))
        weekday = (int(moment_s // DAY_S) + _EPOCH_WEEKDAY) % 7
        share = 0.22 + 0.38 * morning + 0.55 * evening
        return self._peak_load_kw * share * (0.75 if weekday >= 5 else 1.0) * (0.85 + 0.3 * self._demand.at(moment_s))

    def surplus_kw(self, moment_s: float) -> float:
        """What the panels of the site give beyond its consumption; negative when the site needs power."""
        return self._peak_load_kw * 1.4 * self.irradiance(moment_s) / 1000.0 - self.load_kw(moment_s)

    def hour(self, moment_s: float) -> float:
        """Local solar time in hours, 0..24."""
        return solar_hour(moment_s, self._longitude_deg)
