"""What people and programs see of a device's statistics: the JSON of `/api/v1/devices/{serial}/aggregates`."""

from collections.abc import Iterable
from typing import Any

from ems_streams.domain.accumulators import LAST, LAST_MS, statistics_view
from ems_streams.domain.aggregates import DeviceAggregates, total
from ems_streams.domain.device_windows import WindowResult
from ems_streams.domain.timestamps import format_epoch_ms


def total_view(state: DeviceAggregates) -> dict[str, Any]:
    """Statistics over all time: `{"metrics": {name: {count, sum, min, max, mean, last, stddev}}}`."""
    return {"metrics": {name: statistics_view(accumulator) for name, accumulator in total(state).items()}}


def window_view(result: WindowResult) -> dict[str, Any]:
    """One window; `revision` 0 says that it is still open."""
    summary = result.summary
    return {
        "window": result.window.label,
        "windowStart": format_epoch_ms(result.span.start_ms),
        "windowEnd": format_epoch_ms(result.span.end_ms),
        "revision": result.revision,
        "eventCount": summary.events,
        "metrics": summary.metrics_view(),
        "energyKwh": summary.energy.kwh,
        "energyQuality": summary.energy.quality.name,
        "energyCoveredShare": round(summary.energy.covered_share, 6),
    }


def aggregates_view(state: DeviceAggregates, windows: Iterable[WindowResult]) -> dict[str, Any]:
    """The whole answer of `/aggregates`."""
    return {"serialNumber": state.serial_number, "total": total_view(state), "windows": [window_view(result) for result in windows]}


def latest_metrics(state: DeviceAggregates) -> tuple[dict[str, float], int | None]:
    """The last value of every metric, and the greatest event time in epoch milliseconds (`None` before any event)."""
    latest = total(state)
    newest_ms = max((accumulator[LAST_MS] for accumulator in latest.values()), default=None)
    return {name: latest[name][LAST] for name in state.names if name in latest}, None if newest_ms is None else int(newest_ms)
