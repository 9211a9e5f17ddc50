"""What people and programs see of `DeviceAggregates`: the JSON of `/api/v1/devices/{serial}/aggregates`."""

from typing import Any

from ems_streams.domain.accumulators import COUNT, LAST, LAST_MS, Accumulator, Accumulators, statistics_view
from ems_streams.domain.aggregates import DeviceAggregates, thaw, total
from ems_streams.domain.timestamps import MINUTE_MS, format_epoch_ms

WINDOW = "1m"


def total_view(state: DeviceAggregates) -> dict[str, Any]:
    """Statistics over all time: `{"metrics": {name: {count, sum, min, max, mean, last, stddev}}}`."""
    return {"metrics": _metrics_view(total(state))}


def window_views(state: DeviceAggregates, limit: int) -> list[dict[str, Any]]:
    """The newest `limit` windows that are kept, newest first.

    `revision` is the number of values in the window, so that a window that has changed has a greater one.
    """
    views = []
    for start_ms in sorted(state.windows, reverse=True)[: max(limit, 0)]:
        accumulators = thaw(state, state.windows[start_ms])
        views.append(
            {
                "window": WINDOW,
                "windowStart": format_epoch_ms(start_ms),
                "windowEnd": format_epoch_ms(start_ms + MINUTE_MS),
                "revision": int(sum(accumulator[COUNT] for accumulator in accumulators.values())),
                "metrics": _metrics_view(accumulators),
            }
        )
    return views


def aggregates_view(state: DeviceAggregates, limit: int) -> dict[str, Any]:
    """The whole answer of `/aggregates`."""
    return {"serialNumber": state.serial_number, "total": total_view(state), "windows": window_views(state, limit)}


def latest_metrics(state: DeviceAggregates) -> tuple[dict[str, float], int | None]:
    """The last value of every metric, and the greatest event time in epoch milliseconds (`None` before any event)."""
    latest: dict[str, Accumulator] = {}
    for start_ms in sorted(state.windows, reverse=True):
        latest = thaw(state, state.windows[start_ms]) | latest
        if len(latest) == len(state.names):
            break
    # The base is mostly older, but holds the events that were too far ahead as well.
    for name, accumulator in thaw(state, state.base).items():
        if name not in latest or accumulator[LAST_MS] > latest[name][LAST_MS]:
            latest = latest | {name: accumulator}
    newest_ms = max((accumulator[LAST_MS] for accumulator in latest.values()), default=None)
    return {name: latest[name][LAST] for name in state.names if name in latest}, None if newest_ms is None else int(newest_ms)


def _metrics_view(accumulators: Accumulators) -> dict[str, Any]:
    return {name: statistics_view(accumulator) for name, accumulator in accumulators.items()}
