"""The window policy of this installation, from its settings."""

from collections.abc import Mapping
from functools import lru_cache
from zoneinfo import ZoneInfo

from ems_streams.domain.site_windows import SitePolicy
from ems_streams.domain.windows import Window, WindowPolicy
from ems_streams.settings import Settings


def window_policy(settings: Settings) -> WindowPolicy:
    """When windows close, how long they are corrected, and which site has which local day."""
    zones = site_zones(settings.site_time_zones)
    default = _zone(settings.default_time_zone)

    def zone_of(site_id: int) -> ZoneInfo | None:
        return zones.get(site_id, default)

    minute, quarter, hour, day = (round(seconds * 1000) for seconds in settings.window_lateness_s)
    return WindowPolicy(
        (minute, quarter, hour, day, day),
        horizon_ms=round(settings.correction_horizon_s * 1000),
        quiet_ms=round(settings.quiet_device_s * 1000),
        published=frozenset(Window.of_label(label) for label in settings.published_windows),
        zone_of=zone_of,
    )


def site_policy(settings: Settings) -> SitePolicy:
    """When the windows of sites close."""
    return SitePolicy(window_policy(settings), round(settings.site_lateness_s * 1000))


def site_zones(zones: Mapping[int, str]) -> dict[int, ZoneInfo | None]:
    """Time zone by site; None for UTC, whose day is there anyway."""
    return {site_id: _zone(name) for site_id, name in zones.items()}


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    return None if name == "UTC" else ZoneInfo(name)
