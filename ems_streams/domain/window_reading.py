"""Windows of a device as they are now, for whoever asks; reading changes nothing."""

import copy
from dataclasses import replace

from ems_streams.domain.aggregates import DeviceAggregates
from ems_streams.domain.device_windows import DeviceWindows, Quarters, WindowResult, quarter_of, slot_of
from ems_streams.domain.fold_outcome import NEVER_MS, NOT_YET_MS
from ems_streams.domain.quarter import Quarter
from ems_streams.domain.samples import ordered
from ems_streams.domain.windows import QUARTER_MS, Window, WindowPolicy, span_of


def current_windows(
    state: DeviceAggregates,
    quarters: Quarters,
    policy: WindowPolicy,
    window: Window,
    *,
    limit: int,
    start_ms: int = NEVER_MS,
    end_ms: int = NOT_YET_MS,
) -> list[WindowResult]:
    """The newest windows of a kind, newest first, open ones with what they have so far; changes nothing.

    Only such as are known whole: of what is beyond the correction horizon the samples are gone, and of older times everything.

    Args:
        state: Of the device.
        quarters: Of the device.
        policy: When windows close.
        window: The kind.
        limit: How many at the most.
        start_ms: Only windows that begin then or later.
        end_ms: Only windows that begin before.
    """
    if state.newest_ms == NEVER_MS:
        return []
    aside = copy.copy(state)
    aside.late = bytearray()
    reading = _Reading(aside, _Overlay(quarters), policy)
    return reading.current(window, limit, start_ms, end_ms)


class _Overlay:
    """Quarters that can be changed without a trace."""

    def __init__(self, below: Quarters) -> None:
        self._below = below
        self._copies: dict[int, Quarter | None] = {}

    def get(self, start_ms: int) -> Quarter | None:
        if start_ms not in self._copies:
            quarter = self._below.get(start_ms)
            self._copies[start_ms] = None if quarter is None else replace(quarter, published=dict(quarter.published))
        return self._copies[start_ms]

    def put(self, quarter: Quarter) -> None:
        self._copies[quarter.start_ms] = quarter

    def delete(self, start_ms: int) -> None:
        self._copies[start_ms] = None


class _Reading(DeviceWindows):
    """One look at one device."""

    def current(self, window: Window, limit: int, start_ms: int, end_ms: int) -> list[WindowResult]:
        state, closed_ms = self.state, self.state.closed_ms
        state.base = bytearray(state.base)
        self.insert(ordered(state.open).data, check=False)
        self.use_neighbours((None, None))
        found: list[WindowResult] = []
        kept_ms = self.policy.horizon_ms if window is Window.MINUTE else self.policy.kept_ms
        first_ms = max(start_ms, closed_ms[Window.QUARTER] - kept_ms)
        at_ms = min(state.newest_ms, end_ms - 1)
        while len(found) < limit and at_ms >= max(first_ms, state.oldest_quarter_ms):
            span = span_of(window, at_ms, self.zone)
            if span.start_ms < first_ms:
                break
            content = self.content(window, span)
            if not content.is_empty:
                holder = self.quarters.get(quarter_of(span.start_ms))
                published = None if holder is None else holder.published.get(slot_of(window, span))
                is_open = span.end_ms > closed_ms[window]
                found.append(WindowResult(window, span, 0 if is_open or published is None else published.revision, content))
            at_ms = self._before(span.start_ms)
        return found

    def _before(self, time_ms: int) -> int:
        """The last time before one at which there may be something: where there is a record, or a register that was not read for not too long."""
        at_ms = time_ms - 1
        if self.meters.register is not None and at_ms >= self.state.newest_ms - self.policy.kept_ms:
            return at_ms
        last_ms = next(iter(self.recorded_before(quarter_of(at_ms) + QUARTER_MS)), NEVER_MS)
        return min(at_ms, last_ms + QUARTER_MS - 1)
