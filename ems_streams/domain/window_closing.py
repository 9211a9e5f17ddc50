"""Closing and correcting the windows of one device.

`settle` brings what `aggregates.fold` has taken in into the quarters, and gives every window that closed, or that says something else than it
did when it was published. It is called after a batch; how messages are cut into batches decides nothing about what windows say in the end, but for a device that floods us (`aggregates`).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from xxhash import xxh3_64_digest

from ems_streams.domain import summary as summaries
from ems_streams.domain.aggregates import DeviceAggregates
from ems_streams.domain.device_windows import DeviceWindows, Quarters, WindowResult, minute_of, quarter_of, slot_of
from ems_streams.domain.fold_outcome import NEVER_MS, NOT_YET_MS
from ems_streams.domain.quarter import Edges, Published
from ems_streams.domain.samples import first_ms, minutes_of, ordered, split, values_of
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.windows import DAY_MS, HOUR_MS, QUARTER_MS, Span, Window, WindowPolicy, span_of

_SHORTEST_MS: Final = (MINUTE_MS, QUARTER_MS, HOUR_MS, DAY_MS, 23 * HOUR_MS)


def settle(state: DeviceAggregates, quarters: Quarters, policy: WindowPolicy) -> list[WindowResult]:
    """Close what the watermark has passed and correct what late messages concern; in the order of the windows' ends.

    Changes the state and its quarters; the caller publishes what it gets, in the transaction that makes both durable.
    """
    if state.watermark_ms == NEVER_MS:
        return []
    return _Settling(state, quarters, policy).run()


class _Settling(DeviceWindows):
    """One pass over one device."""

    def __init__(self, state: DeviceAggregates, quarters: Quarters, policy: WindowPolicy) -> None:
        super().__init__(state, quarters, policy)
        self._closed_before = state.closed_ms
        self._results: list[WindowResult] = []
        self._affected: list[Span] = []

    def run(self) -> list[WindowResult]:
        state = self.state
        self._move_borders()
        arrived = ordered(state.open)
        state.duplicate_events += arrived.repeated
        closing, still_open = split(arrived.data, state.closed_ms[Window.MINUTE])
        late = ordered(state.late)
        state.duplicate_events += late.repeated
        late_samples = self.insert(late.data, check=True)
        self.insert(closing, check=False)
        state.open, state.late = bytearray(still_open), bytearray()
        state.open_from_ms = minute_of(first_ms(still_open)) if still_open else NOT_YET_MS
        behind = self.meters.edges_of(still_open)
        self.use_neighbours((behind.first_power, behind.first_register))
        self._affect_by_neighbours(self.meters.edges_of(arrived.data), behind)
        self._affect_by_late(late_samples)
        self._publish_all(closing, late_samples)
        self._forget()
        self._results.sort(key=lambda result: (result.span.end_ms, result.window))
        return self._results

    def _move_borders(self) -> None:
        closed_ms, watermark_ms = list(self.state.closed_ms), self.state.watermark_ms
        for window, lateness_ms in zip(Window, self.policy.lateness_ms, strict=True):
            # No window of this kind can have ended in less than this since the last one.
            if watermark_ms - lateness_ms >= closed_ms[window] + _SHORTEST_MS[window]:
                start_ms = span_of(window, max(watermark_ms - lateness_ms, 0), self.zone).start_ms
                closed_ms[window] = max(closed_ms[window], start_ms)
        self.state.closed_ms = tuple(closed_ms)

    # -- energy: what reaches into windows that were closed before --

    def _affect_by_neighbours(self, arrived: Edges, behind: Edges) -> None:
        """Where the first sample behind the minutes closed before is another one than was known then, their energy changes."""
        state = self.state
        border_ms = self._closed_before[Window.MINUTE]
        if border_ms != NEVER_MS:
            if arrived.first_power is not None and arrived.first_power != state.next_power:
                self._affect(border_ms - self.energies.limits.max_gap_ms, border_ms)
            if arrived.first_register is not None and arrived.first_register != state.next_register:
                self._affect(self._reading_before(border_ms), border_ms)
        state.next_power, state.next_register = behind.first_power, behind.first_register

    def _readings_around(self, time_ms: int) -> tuple[Edges, Edges]:
        """Edges of what lies before a time in its quarter, and of what lies behind it."""
        quarter = self.quarters.get(quarter_of(time_ms))
        before, _, behind = split(b"" if quarter is None else quarter.samples, time_ms, time_ms + 1)
        return self.meters.edges_of(before), self.meters.edges_of(behind)

    def _reading_before(self, time_ms: int) -> int:
        """Time of the last reading before a time, or the start of its quarter when there is none."""
        quarter_ms = quarter_of(time_ms)
        reading = self._readings_around(time_ms)[0].last_register or self.energies.register_before(quarter_ms)
        return quarter_ms if reading is None else reading[0]

    def _reading_behind(self, time_ms: int) -> int:
        """Time of the first reading behind a time, or the end of its quarter when there is none."""
        end_ms = quarter_of(time_ms) + QUARTER_MS
        reading = self._readings_around(time_ms)[1].first_register or self.energies.register_behind(end_ms)
        return end_ms if reading is None else reading[0]

    def _affect_by_late(self, late_samples: bytes) -> None:
        gap_ms, meters = self.energies.limits.max_gap_ms, self.meters
        for time_ms, values in values_of(late_samples):
            if any(number == meters.power for number, _ in values):
                self._affect(time_ms - gap_ms, time_ms + gap_ms)
            if any(number == meters.register and value > 0 for number, value in values):
                self._affect(self._reading_before(time_ms), self._reading_behind(time_ms))

    def _affect(self, start_ms: int, end_ms: int) -> None:
        if start_ms < end_ms:
            self._affected.append(Span(start_ms, end_ms))

    # -- publishing --

    def _publish_all(self, closing: bytes, late_samples: bytes) -> None:
        published = self.policy.published
        spans = list(_united(self._affected))
        quarters_ms = {quarter_of(time_ms) for time_ms in minutes_of(late_samples)}
        quarters_ms.update(quarter_ms for span in spans for quarter_ms in self._reachable(span.start_ms, span.end_ms))
        for quarter_ms in quarters_ms:
            self._calculate_again(quarter_ms)
        if Window.MINUTE in published:
            minutes_ms = {*minutes_of(closing), *minutes_of(late_samples), *self._minutes_in(spans)}
            for minute_ms in sorted(minutes_ms):
                self._publish(Window.MINUTE, Span(minute_ms, minute_ms + MINUTE_MS))
        closed_ms, before_ms = self.state.closed_ms[Window.QUARTER], self._closed_before[Window.QUARTER]
        if closed_ms > before_ms:
            quarters_ms.update(self._reachable(before_ms, closed_ms))
        closed = [quarter_ms for quarter_ms in sorted(quarters_ms) if quarter_ms + QUARTER_MS <= closed_ms]
        for window in (Window.QUARTER, Window.HOUR, Window.DAY, Window.LOCAL_DAY):
            if window in published and (window is not Window.LOCAL_DAY or self.zone is not None):
                self._publish_longer(window, closed)

    def _publish_longer(self, window: Window, changed_quarters_ms: Sequence[int]) -> None:
        closed_ms = self.state.closed_ms[window]
        # Windows that close now may have got their last quarter a while ago.
        waiting = list(self._reachable(self._closed_before[window], closed_ms)) if closed_ms > self._closed_before[window] else []
        spans = {span_of(window, quarter_ms, self.zone) for quarter_ms in (*changed_quarters_ms, *waiting)}
        # Of windows that were closed before, and began in quarters that are forgotten, nobody knows any more what they said, nor that they were published.
        forgotten_ms = self._closed_before[Window.QUARTER] - self.policy.kept_ms
        for span in sorted(spans, key=lambda each: each.start_ms):
            if span.end_ms <= closed_ms and (span.end_ms > self._closed_before[window] or span.start_ms + QUARTER_MS > forgotten_ms):
                self._publish(window, span)

    def _reachable(self, start_ms: int, end_ms: int) -> Iterator[int]:
        """Starts of the quarters between two times that there may be a record of, or energy in."""
        yield from self.recorded(start_ms, end_ms)
        if self.meters.register is None:
            return
        # After a silence of years only as far back as records are kept anyway.
        kept_ms, behind_ms = self.policy.kept_ms, max(start_ms, self.known_end_ms, self.state.oldest_quarter_ms)
        for made_ms in self.recorded(self.known_end_ms, NOT_YET_MS):
            yield from range(quarter_of(max(behind_ms, made_ms - kept_ms)), min(end_ms, made_ms), QUARTER_MS)
            behind_ms = max(behind_ms, made_ms + QUARTER_MS)
        yield from range(quarter_of(max(behind_ms, self.state.watermark_ms - kept_ms)), end_ms, QUARTER_MS)

    def _minutes_in(self, spans: Iterable[Span]) -> Iterator[int]:
        """Minutes with samples, closed by now, that lie in spans at least in part."""
        closed_ms = self.state.closed_ms[Window.MINUTE]
        for span in spans:
            for quarter_ms in self._reachable(span.start_ms, span.end_ms):
                quarter = self.quarters.get(quarter_ms)
                for minute_ms in minutes_of(quarter.samples if quarter is not None else b""):
                    if span.start_ms < minute_ms + MINUTE_MS and minute_ms < span.end_ms and minute_ms < closed_ms:
                        yield minute_ms

    def _calculate_again(self, quarter_ms: int) -> None:
        quarter = self.quarters.get(quarter_ms)
        if quarter is not None and not quarter.settled:
            quarter.summary = None

    def _publish(self, window: Window, span: Span) -> bool:
        """Publish a window unless it is empty or says what it said before; whether it was published."""
        content = self.content(window, span)
        holder = self.quarters.get(quarter_of(span.start_ms))
        slot = slot_of(window, span)
        before = None if holder is None else holder.published.get(slot)
        # Also a window that turns out to be empty is published again: energy that it was said to have may be none after all.
        if before is None and content.is_empty:
            return False
        digest = xxh3_64_digest(summaries.encode(content))
        if before is not None and before.digest == digest:
            return False
        holder = holder or self.new_quarter(quarter_of(span.start_ms))
        revision = 1 if before is None else before.revision + 1
        holder.published[slot] = Published(revision, digest)
        self.quarters.put(holder)
        self._results.append(WindowResult(window, span, revision, content))
        return True

    # -- forgetting --

    def _forget(self) -> None:
        """Give up the samples beyond the correction horizon, and records that no window needs any more."""
        state, before_ms, now_ms = self.state, self._closed_before[Window.QUARTER], self.state.closed_ms[Window.QUARTER]
        limit_ms = min(now_ms - self.policy.kept_ms, state.newest_quarter_ms)
        # A device whose clock was wrong by years, and is set, has to be rid of what lies behind them at once: all of it would be walked through again and again.
        if state.oldest_quarter_ms == NOT_YET_MS or (now_ms == before_ms and state.oldest_quarter_ms + QUARTER_MS > limit_ms):
            return
        settled_from_ms = max(before_ms - self.policy.horizon_ms - QUARTER_MS, state.oldest_quarter_ms)
        for start_ms in self.recorded(settled_from_ms, now_ms - self.policy.horizon_ms - QUARTER_MS + 1):
            quarter = self.quarters.get(start_ms)
            if quarter is not None and not quarter.settled:
                self.quarter(start_ms)
                quarter.samples, quarter.settled = b"", True
                self.quarters.put(quarter)
            elif quarter is not None and quarter.promoted:
                quarter.promoted = False
                self.quarters.put(quarter)
        for start_ms in self.recorded(state.oldest_quarter_ms, limit_ms - QUARTER_MS + 1):
            quarter = self.quarters.get(start_ms)
            if quarter is not None:
                state.last_register = quarter.edges.last_register or state.last_register
                self.quarters.delete(start_ms)
        state.oldest_quarter_ms = max(state.oldest_quarter_ms, quarter_of(limit_ms))


def _united(spans: Iterable[Span]) -> Iterator[Span]:
    """The same time in spans that do not overlap, in order."""
    united: Span | None = None
    for span in sorted(spans, key=lambda each: each.start_ms):
        if united is None or span.start_ms > united.end_ms:
            if united is not None:
                yield united
            united = span
        elif span.end_ms > united.end_ms:
            united = Span(united.start_ms, span.end_ms)
    if united is not None:
        yield united
