"""Windows of devices that have gone quiet: time goes on for them by what comes through the partitions, and not by a message of theirs."""

from collections.abc import Sequence
from typing import Protocol

from ems_streams.domain.aggregates import DeviceAggregates
from ems_streams.domain.fold_outcome import NEVER_MS, NOT_YET_MS
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.windows import DAY_MS, HOUR_MS, QUARTER_MS, Window, WindowPolicy, span_of


def tick(state: DeviceAggregates, now_ms: int, policy: WindowPolicy) -> bool:
    """Move the watermark of a device that has gone quiet on, as far as time has gone on since its last message.

    Its own clock may be wrong; how long it has been quiet is told by when its messages arrived. True when there is something to settle.
    """
    quiet_ms = now_ms - state.arrived_ms
    if quiet_ms < policy.quiet_ms or state.newest_ms == NEVER_MS or min(state.closed_ms) > state.newest_ms:
        return False
    watermark_ms = state.newest_ms + quiet_ms
    if watermark_ms <= state.watermark_ms or not any(_closes(state, window, watermark_ms, policy) for window in Window):
        return False
    state.watermark_ms = watermark_ms
    return True


def _closes(state: DeviceAggregates, window: Window, watermark_ms: int, policy: WindowPolicy) -> bool:
    """Whether the window of the newest message, or an open minute before it, is open and would be closed by a watermark."""
    if window is Window.MINUTE and state.open:
        end_ms = state.open_from_ms + MINUTE_MS
    else:
        end_ms = span_of(window, state.newest_ms, policy.zone_of(state.site_id)).end_ms
    return state.closed_ms[window] < end_ms <= watermark_ms - policy.lateness_ms[window]


class Closing(Protocol):
    """What of a device's state decides when its windows close."""

    @property
    def site_id(self) -> int: ...
    @property
    def arrived_ms(self) -> int: ...
    @property
    def newest_ms(self) -> int: ...
    @property
    def watermark_ms(self) -> int: ...
    @property
    def open_from_ms(self) -> int: ...
    @property
    def closed_ms(self) -> Sequence[int]: ...


def next_tick_ms(state: Closing, policy: WindowPolicy) -> int:
    """The time from which on `tick` has something to do if nothing more arrives; `NOT_YET_MS` when every window is closed."""
    newest_ms, closed_ms = state.newest_ms, state.closed_ms
    if newest_ms == NEVER_MS or min(closed_ms) > newest_ms:
        return NOT_YET_MS
    # By so much the device has to be quiet at least, whatever its windows are.
    quiet_ms = max(policy.quiet_ms, state.watermark_ms - newest_ms + 1)
    if state.open_from_ms + MINUTE_MS + policy.lateness_ms[0] - newest_ms <= quiet_ms:
        return state.arrived_ms + quiet_ms
    ends_ms = [newest_ms - newest_ms % length_ms + length_ms for length_ms in (MINUTE_MS, QUARTER_MS, HOUR_MS, DAY_MS)]
    ends_ms.append(span_of(Window.LOCAL_DAY, newest_ms, policy.zone_of(state.site_id)).end_ms)
    if state.open_from_ms != NOT_YET_MS:
        ends_ms[Window.MINUTE] = state.open_from_ms + MINUTE_MS
    waits_ms = [
        end_ms + lateness_ms - newest_ms
        for end_ms, border_ms, lateness_ms in zip(ends_ms, closed_ms, policy.lateness_ms, strict=True)
        if border_ms < end_ms
    ]
    if not waits_ms:
        return NOT_YET_MS
    return state.arrived_ms + max(quiet_ms, min(waits_ms))
