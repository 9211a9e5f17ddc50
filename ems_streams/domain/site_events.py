"""Windows of sites as JSON: records of `site-aggregates`, and the answer of `/api/v1/sites/{siteId}/aggregates`."""

from collections.abc import Iterable
from typing import Any

import orjson

from ems_streams.domain.aggregate_views import window_view
from ems_streams.domain.site_contents import SiteResult
from ems_streams.domain.timestamps import format_epoch_ms
from ems_streams.domain.windows import Window

EVENT_TYPE = "SITE_AGGREGATE"


def site_event(site_id: int, window: SiteResult, time_zone: str | None) -> bytes:
    """The value of a record of `site-aggregates` (`events.SiteAggregateEvent`).

    Args:
        site_id: Site.
        window: One of its windows.
        time_zone: Of the site.
    """
    result = window.result
    view: dict[str, Any] = {
        "eventId": f"site-{site_id}:{result.window.label}:{format_epoch_ms(result.span.start_ms)}:{result.revision}",
        "eventType": EVENT_TYPE,
        "siteId": site_id,
    }
    if result.window is Window.LOCAL_DAY:
        view["timeZone"] = time_zone
    return orjson.dumps(view | site_window_view(window))


def site_window_view(window: SiteResult) -> dict[str, Any]:
    """One window; `revision` 0 says that it is still open."""
    return window_view(window.result) | {"devicesReported": window.devices_reported, "devicesTotal": window.devices_total}


def site_view(site_id: int, windows: Iterable[SiteResult]) -> dict[str, Any]:
    """The whole answer of `/aggregates`."""
    return {"siteId": site_id, "windows": [site_window_view(window) for window in windows]}
