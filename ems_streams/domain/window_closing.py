"""Closing and correcting the windows of one device.

`settle` brings what `aggregates.fold` has taken in into the quarters, and gives every window that closed, or that says something else than it
did when it was published. It is called after a batch; how messages are cut into batches decides nothing about what windows say in the end.

Windows of minutes are there when the device sent something in them. Longer ones are also there when it did not, but its energy register
tells what was delivered meanwhile.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from xxhash import xxh3_64_digest

from ems_streams.domain import summary as summaries
from ems_streams.domain.aggregates import NEVER_MS, NOT_YET_MS, DeviceAggregates
from ems_streams.domain.quarter import Edges, Point, Published, Quarter
from ems_streams.domain.quarter_energy import Meters, QuarterEnergy
from ems_streams.domain.samples import first_ms, minutes_of, ordered, pieces, split, values_of
from ems_streams.domain.section import add_samples
from ems_streams.domain.summary import Summary, merge_parts, summarize
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.windows import DAY_MS, HOUR_MS, QUARTER_MS, Span, Window, WindowPolicy, span_of

_MINUTES: Final = QUARTER_MS // MINUTE_MS
_SHORTEST_MS: Final = (MINUTE_MS, QUARTER_MS, HOUR_MS, DAY_MS, 23 * HOUR_MS)


class Quarters(Protocol):
    """The quarters of one device."""

    def get(self, start_ms: int) -> Quarter | None:
        """The record of the quarter that begins there, the very object that is changed; None when there is none."""

    def put(self, quarter: Quarter) -> None:
        """Keep a quarter that is new or was changed."""

    def delete(self, start_ms: int) -> None:
        """Forget a quarter."""


@dataclass(frozen=True, slots=True)
class WindowResult:
    """What a window says.

    Attributes:
        window: Its kind.
        span: From when to when.
        revision: 1 when it closed, then one more for each correction; 0 while it is open.
        summary: Statistics and energy.
    """

    window: Window
    span: Span
    revision: int
    summary: Summary


def settle(state: DeviceAggregates, quarters: Quarters, policy: WindowPolicy) -> list[WindowResult]:
    """Close what the watermark has passed and correct what late messages concern; in the order of the windows' ends.

    Changes the state and its quarters; the caller publishes what it gets, in the transaction that makes both durable.
    """
    if state.watermark_ms == NEVER_MS:
        return []
    return _Settling(state, quarters, policy).run()


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
    aside.closed_ms, aside.late = list(state.closed_ms), bytearray()
    reading = _Settling(aside, _Overlay(quarters), policy)
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


class _Settling:
    """One pass over one device."""

    def __init__(self, state: DeviceAggregates, quarters: Quarters, policy: WindowPolicy) -> None:
        self._state = state
        self._quarters = quarters
        self._policy = policy
        self._zone = policy.zone_of(state.site_id)
        self._names: Sequence[str] = state.metric_names
        self._meters = Meters.of(state.names)
        self._closed_before = list(state.closed_ms)
        self._results: list[WindowResult] = []
        self._affected: list[Span] = []
        self._energy: QuarterEnergy | None = None

    # -- closing --

    def run(self) -> list[WindowResult]:
        state = self._state
        self._move_borders()
        arrived = ordered(state.open)
        state.duplicate_events += arrived.repeated
        closing, still_open = split(arrived.data, state.closed_ms[Window.MINUTE])
        late = ordered(state.late)
        state.duplicate_events += late.repeated
        late_samples = self._insert(late.data, check=True)
        self._insert(closing, check=False)
        state.open, state.late = bytearray(still_open), bytearray()
        state.open_from_ms = _minute_of(first_ms(still_open)) if still_open else NOT_YET_MS
        behind = self._meters.edges_of(still_open)
        self._use_neighbours((behind.first_power, behind.first_register))
        self._affect_by_neighbours(self._meters.edges_of(arrived.data), behind)
        self._affect_by_late(late_samples)
        self._publish_all(closing, late_samples)
        self._forget()
        self._results.sort(key=lambda result: (result.span.end_ms, result.window))
        return self._results

    def _move_borders(self) -> None:
        closed_ms, watermark_ms = self._state.closed_ms, self._state.watermark_ms
        for window, lateness_ms in zip(Window, self._policy.lateness_ms, strict=True):
            # No window of this kind can have ended in less than this since the last one.
            if watermark_ms - lateness_ms >= closed_ms[window] + _SHORTEST_MS[window]:
                start_ms = span_of(window, max(watermark_ms - lateness_ms, 0), self._zone).start_ms
                closed_ms[window] = max(closed_ms[window], start_ms)

    def _insert(self, samples: bytes, *, check: bool) -> bytes:
        """Put ordered samples into their quarters and the total; gives those that were not there yet."""
        fresh = []
        for start_ms, part in _by_quarter(samples):
            quarter = self._quarters.get(start_ms) or self._new_quarter(start_ms)
            if check and quarter.samples:
                part = self._without_known(quarter, part)  # noqa: PLW2901 - what is left of it
                if not part:
                    continue
            in_order = not quarter.samples or not check
            quarter.samples = quarter.samples + part if in_order else ordered(quarter.samples, part).data
            quarter.summary = None
            quarter.edges = _widened(quarter.edges, self._meters.edges_of(part))
            self._quarters.put(quarter)
            fresh.append(part)
        data = b"".join(fresh)
        add_samples(self._state.base, data)
        return data

    def _without_known(self, quarter: Quarter, part: bytes) -> bytes:
        known = {identity for _, identity, _ in pieces(quarter.samples)}
        every = pieces(part)
        kept = [sample for _, identity, sample in every if identity not in known]
        self._state.duplicate_events += len(every) - len(kept)
        return b"".join(kept)

    def _new_quarter(self, start_ms: int) -> Quarter:
        state = self._state
        state.oldest_quarter_ms = min(state.oldest_quarter_ms, start_ms)
        state.newest_quarter_ms = max(state.newest_quarter_ms, start_ms)
        return Quarter(start_ms)

    # -- energy: what reaches into windows that were closed before --

    def _use_neighbours(self, behind: tuple[Point | None, Point | None]) -> None:
        state = self._state
        self._energy = QuarterEnergy(
            self._meters,
            self._quarters.get,
            (state.oldest_quarter_ms, state.newest_quarter_ms),
            register_before_all=state.last_register,
            behind_all=behind,
        )

    @property
    def _energies(self) -> QuarterEnergy:
        assert self._energy is not None
        return self._energy

    def _affect_by_neighbours(self, arrived: Edges, behind: Edges) -> None:
        """Where the first sample behind the minutes closed before is another one than was known then, their energy changes."""
        state = self._state
        border_ms = self._closed_before[Window.MINUTE]
        if border_ms != NEVER_MS:
            if arrived.first_power is not None and arrived.first_power != state.next_power:
                self._affect(border_ms - self._energies.limits.max_gap_ms, border_ms)
            if arrived.first_register is not None and arrived.first_register != state.next_register:
                self._affect(self._reading_before(border_ms), border_ms)
        state.next_power, state.next_register = behind.first_power, behind.first_register

    def _readings_around(self, time_ms: int) -> tuple[Edges, Edges]:
        """Edges of what lies before a time in its quarter, and of what lies behind it."""
        quarter = self._quarters.get(_quarter_of(time_ms))
        before, _, behind = split(b"" if quarter is None else quarter.samples, time_ms, time_ms + 1)
        return self._meters.edges_of(before), self._meters.edges_of(behind)

    def _reading_before(self, time_ms: int) -> int:
        """Time of the last reading before a time, or the start of its quarter when there is none."""
        quarter_ms = _quarter_of(time_ms)
        reading = self._readings_around(time_ms)[0].last_register or self._energies.register_before(quarter_ms)
        return quarter_ms if reading is None else reading[0]

    def _reading_behind(self, time_ms: int) -> int:
        """Time of the first reading behind a time, or the end of its quarter when there is none."""
        end_ms = _quarter_of(time_ms) + QUARTER_MS
        reading = self._readings_around(time_ms)[1].first_register or self._energies.register_behind(end_ms)
        return end_ms if reading is None else reading[0]

    def _affect_by_late(self, late_samples: bytes) -> None:
        gap_ms, meters = self._energies.limits.max_gap_ms, self._meters
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
        published = self._policy.published
        spans = list(_united(self._affected))
        quarters_ms = {_quarter_of(time_ms) for time_ms in minutes_of(late_samples)}
        quarters_ms.update(quarter_ms for span in spans for quarter_ms in self._reachable(span.start_ms, span.end_ms))
        for quarter_ms in quarters_ms:
            self._calculate_again(quarter_ms)
        if Window.MINUTE in published:
            minutes_ms = {*minutes_of(closing), *minutes_of(late_samples), *self._minutes_in(spans)}
            for minute_ms in sorted(minutes_ms):
                self._publish(Window.MINUTE, Span(minute_ms, minute_ms + MINUTE_MS))
        closed_ms, before_ms = self._state.closed_ms[Window.QUARTER], self._closed_before[Window.QUARTER]
        if closed_ms > before_ms:
            quarters_ms.update(self._reachable(before_ms, closed_ms))
        closed = [quarter_ms for quarter_ms in sorted(quarters_ms) if quarter_ms + QUARTER_MS <= closed_ms]
        for window in (Window.QUARTER, Window.HOUR, Window.DAY, Window.LOCAL_DAY):
            if window in published and (window is not Window.LOCAL_DAY or self._zone is not None):
                self._publish_longer(window, closed)

    def _publish_longer(self, window: Window, changed_quarters_ms: Sequence[int]) -> None:
        closed_ms = self._state.closed_ms[window]
        # Windows that close now may have got their last quarter a while ago.
        waiting = list(self._reachable(self._closed_before[window], closed_ms)) if closed_ms > self._closed_before[window] else []
        spans = {span_of(window, quarter_ms, self._zone) for quarter_ms in (*changed_quarters_ms, *waiting)}
        for span in sorted(spans, key=lambda each: each.start_ms):
            if span.end_ms <= closed_ms:
                self._publish(window, span)

    def _reachable(self, start_ms: int, end_ms: int) -> Iterator[int]:
        """Starts of the quarters between two times that there may be a record of, or energy in."""
        state = self._state
        stop_ms = min(end_ms, state.newest_quarter_ms + QUARTER_MS)
        yield from range(_quarter_of(max(start_ms, state.oldest_quarter_ms)), stop_ms, QUARTER_MS)
        if self._meters.register is not None:
            # After a silence of years only as far back as records are kept anyway.
            first_ms = max(start_ms, state.newest_quarter_ms + QUARTER_MS, state.watermark_ms - self._policy.kept_ms)
            yield from range(_quarter_of(first_ms), end_ms, QUARTER_MS)

    def _minutes_in(self, spans: Iterable[Span]) -> Iterator[int]:
        """Minutes with samples, closed by now, that lie in spans at least in part."""
        closed_ms = self._state.closed_ms[Window.MINUTE]
        for span in spans:
            for quarter_ms in self._reachable(span.start_ms, span.end_ms):
                quarter = self._quarters.get(quarter_ms)
                for minute_ms in minutes_of(quarter.samples if quarter is not None else b""):
                    if span.start_ms < minute_ms + MINUTE_MS and minute_ms < span.end_ms and minute_ms < closed_ms:
                        yield minute_ms

    def _calculate_again(self, quarter_ms: int) -> None:
        quarter = self._quarters.get(quarter_ms)
        if quarter is not None and not quarter.settled:
            quarter.summary = None

    def _publish(self, window: Window, span: Span) -> bool:
        """Publish a window unless it is empty or says what it said before; whether it was published."""
        content = self._content(window, span)
        holder = self._quarters.get(_quarter_of(span.start_ms))
        slot = _slot(window, span)
        before = None if holder is None else holder.published.get(slot)
        # Also a window that turns out to be empty is published again: energy that it was said to have may be none after all.
        if before is None and content.is_empty:
            return False
        digest = xxh3_64_digest(summaries.encode(content))
        if before is not None and before.digest == digest:
            return False
        holder = holder or self._new_quarter(_quarter_of(span.start_ms))
        revision = 1 if before is None else before.revision + 1
        holder.published[slot] = Published(revision, digest)
        self._quarters.put(holder)
        self._results.append(WindowResult(window, span, revision, content))
        return True

    # -- contents --

    def _content(self, window: Window, span: Span) -> Summary:
        if window is Window.MINUTE:
            return self._minute(span)
        if window is Window.QUARTER:
            return self._quarter(span.start_ms)
        length_ms = span.end_ms - span.start_ms
        return merge_parts(
            (self._quarter(quarter_ms), QUARTER_MS / length_ms) for quarter_ms in range(span.start_ms, span.end_ms, QUARTER_MS)
        )

    def _minute(self, span: Span) -> Summary:
        quarter = self._quarters.get(_quarter_of(span.start_ms))
        if quarter is None:
            return Summary()
        _, samples, _ = split(quarter.samples, span.start_ms, span.end_ms)
        content = summarize(samples, self._names)
        if content.events:
            content.energy = self._energies.over(span.start_ms, span.end_ms)
        return content

    def _quarter(self, start_ms: int) -> Summary:
        quarter = self._quarters.get(start_ms)
        if quarter is not None and quarter.summary is not None:
            return quarter.summary
        if quarter is None and self._meters.register is None:
            return Summary()
        content = Summary() if quarter is None else summarize(quarter.samples, self._names)
        content.energy = self._energies.over(start_ms, start_ms + QUARTER_MS)
        if content.is_empty:
            return content
        if quarter is None:
            quarter = self._new_quarter(start_ms)
        quarter.summary = content
        self._quarters.put(quarter)
        return content

    # -- forgetting --

    def _forget(self) -> None:
        """Give up the samples beyond the correction horizon, and records that no window needs any more."""
        state, before_ms, now_ms = self._state, self._closed_before[Window.QUARTER], self._state.closed_ms[Window.QUARTER]
        if now_ms == before_ms or state.oldest_quarter_ms == NOT_YET_MS:
            return
        settled_from_ms = max(before_ms - self._policy.horizon_ms - QUARTER_MS, state.oldest_quarter_ms)
        for start_ms in range(_quarter_of(settled_from_ms), now_ms - self._policy.horizon_ms - QUARTER_MS + 1, QUARTER_MS):
            quarter = self._quarters.get(start_ms)
            if quarter is not None and not quarter.settled:
                self._quarter(start_ms)
                quarter.samples, quarter.settled = b"", True
                self._quarters.put(quarter)
        limit_ms = min(now_ms - self._policy.kept_ms, state.newest_quarter_ms)
        while state.oldest_quarter_ms + QUARTER_MS <= limit_ms:
            quarter = self._quarters.get(state.oldest_quarter_ms)
            if quarter is not None:
                state.last_register = quarter.edges.last_register or state.last_register
                self._quarters.delete(state.oldest_quarter_ms)
            state.oldest_quarter_ms += QUARTER_MS

    # -- reading --

    def current(self, window: Window, limit: int, start_ms: int, end_ms: int) -> list[WindowResult]:
        state, closed_ms = self._state, self._state.closed_ms
        state.base = bytearray(state.base)
        self._insert(ordered(state.open).data, check=False)
        self._use_neighbours((None, None))
        found: list[WindowResult] = []
        kept_ms = self._policy.horizon_ms if window is Window.MINUTE else self._policy.kept_ms
        first_ms = max(start_ms, closed_ms[Window.QUARTER] - kept_ms)
        at_ms = min(state.newest_ms, end_ms - 1)
        while len(found) < limit and at_ms >= max(first_ms, state.oldest_quarter_ms):
            span = span_of(window, at_ms, self._zone)
            if span.start_ms < first_ms:
                break
            content = self._content(window, span)
            if not content.is_empty:
                holder = self._quarters.get(_quarter_of(span.start_ms))
                published = None if holder is None else holder.published.get(_slot(window, span))
                is_open = span.end_ms > closed_ms[window]
                found.append(WindowResult(window, span, 0 if is_open or published is None else published.revision, content))
            at_ms = span.start_ms - 1
        return found


def _slot(window: Window, span: Span) -> int:
    """Where the quarter that a window begins in keeps what was published of it."""
    if window is Window.MINUTE:
        return span.start_ms % QUARTER_MS // MINUTE_MS
    return _MINUTES + window - 1


def _minute_of(time_ms: int) -> int:
    return time_ms - time_ms % MINUTE_MS


def _quarter_of(time_ms: int) -> int:
    return time_ms - time_ms % QUARTER_MS


def _by_quarter(samples: bytes) -> Iterator[tuple[int, bytes]]:
    rest = samples
    while rest:
        start_ms = _quarter_of(first_ms(rest))
        part, rest = split(rest, start_ms + QUARTER_MS)
        yield start_ms, part


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


def _widened(edges: Edges, others: Edges) -> Edges:
    return Edges(
        _first(edges.first_power, others.first_power),
        _last(edges.last_power, others.last_power),
        _first(edges.first_register, others.first_register),
        _last(edges.last_register, others.last_register),
    )


def _first(one: Point | None, other: Point | None) -> Point | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other, key=lambda point: (point[0], -point[1]))


def _last(one: Point | None, other: Point | None) -> Point | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)
