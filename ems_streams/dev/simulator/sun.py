"""Where the sun stands and what reaches the ground through a clear sky."""

from functools import lru_cache
from math import cos, exp, pi, radians, sin

DAY_S = 86_400.0
_DAYS_PER_YEAR = 365.2425
_OBLIQUITY = radians(23.44)


@lru_cache(maxsize=1024)
def _day_terms(day: int, latitude_deg: float) -> tuple[float, float]:
    """The two terms of the elevation that change from day to day only."""
    day_of_year = day % _DAYS_PER_YEAR
    declination = -_OBLIQUITY * cos(2.0 * pi * (day_of_year + 10.0) / _DAYS_PER_YEAR)
    latitude = radians(latitude_deg)
    return sin(latitude) * sin(declination), cos(latitude) * cos(declination)


def solar_hour(moment_s: float, longitude_deg: float) -> float:
    """Local solar time in hours, 0..24; the sun is highest at 12."""
    return ((moment_s / 3600.0) + longitude_deg / 15.0) % 24.0


def sine_of_elevation(moment_s: float, latitude_deg: float, longitude_deg: float) -> float:
    """Sine of the sun's elevation over the horizon: negative at night, 1 in the zenith."""
    constant, amplitude = _day_terms(int(moment_s // DAY_S), latitude_deg)
    return constant + amplitude * cos((solar_hour(moment_s, longitude_deg) - 12.0) * pi / 12.0)


def clear_sky_irradiance(sine: float) -> float:
    """Global horizontal irradiance under a clear sky in W/m2 (Haurwitz 1945); 0 when the sun is down."""
    if sine <= 0.001:
        return 0.0
    return 1098.0 * sine * exp(-0.057 / sine)


def through_clouds(irradiance: float, cover: float) -> float:
    """What is left under a cloud cover of 0..1 (Kasten and Czeplak 1980)."""
    return float(irradiance * (1.0 - 0.75 * cover**3.4))


def season(moment_s: float) -> float:
    """-1 in the middle of the northern winter, 1 in the middle of its summer, about a month after the solstice."""
    day_of_year = (moment_s / DAY_S) % _DAYS_PER_YEAR
    return -cos(2.0 * pi * (day_of_year - 20.0) / _DAYS_PER_YEAR)
