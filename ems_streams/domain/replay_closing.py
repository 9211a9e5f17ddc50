"""The end of a replay: windows of its range that are still open are closed by event time, without any clock."""

from ems_streams.domain.aggregates import DeviceAggregates
from ems_streams.domain.fold_outcome import NEVER_MS
from ems_streams.domain.windows import Window, WindowPolicy


def close_up_to(state: DeviceAggregates, end_ms: int, policy: WindowPolicy) -> bool:
    """Move a device's watermark so far that every window that ends by `end_ms` is closed; True when there is something to settle.

    Windows that are closed beyond `end_ms` in passing are outside of the range, and no one looks at them.
    """
    needed_ms = end_ms + policy.lateness_ms[Window.LOCAL_DAY]
    if state.newest_ms == NEVER_MS or min(state.closed_ms) >= end_ms:
        return False
    state.watermark_ms = max(state.watermark_ms, needed_ms)
    return True
