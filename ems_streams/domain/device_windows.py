"""The windows of one device as they are calculated from its quarters: what closing and reading them have in common.

Windows of minutes are there when the device sent something in them. Longer ones are also there when it did not, but its energy register
tells what was delivered meanwhile.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ems_streams.domain.aggregates import DeviceAggregates
from ems_streams.domain.fold_outcome import QUARTER_BYTES_MAX
from ems_streams.domain.quarter import Edges, Point, Quarter
from ems_streams.domain.quarter_energy import Meters, QuarterEnergy
from ems_streams.domain.samples import first_ms, ordered, pieces, split
from ems_streams.domain.section import add_samples
from ems_streams.domain.summary import Summary, merge_parts, summarize
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.windows import QUARTER_MS, Span, Window, WindowPolicy

_MINUTES: Final = QUARTER_MS // MINUTE_MS


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


class DeviceWindows:
    """The quarters of one device, with new samples put into them, and what its windows say.

    Attributes:
        state: Of the device.
        quarters: Of the device.
        policy: When windows close.
        zone: Of the device's site.
        meters: Which of its metrics say something about energy.
        known_end_ms: End of the last quarter that there was a record of at the begin.
    """

    def __init__(self, state: DeviceAggregates, quarters: Quarters, policy: WindowPolicy) -> None:
        self.state = state
        self.quarters = quarters
        self.policy = policy
        self.zone = policy.zone_of(state.site_id)
        self.names: Sequence[str] = state.metric_names
        self.meters = Meters.of(state.names)
        self._energy: QuarterEnergy | None = None
        self.known_end_ms = state.newest_quarter_ms + QUARTER_MS
        self._made_ms: list[int] = []

    def insert(self, samples: bytes, *, check: bool) -> bytes:
        """Put ordered samples into their quarters and the total; gives those that were not there yet."""
        fresh, beyond = [], []
        for start_ms, part in _by_quarter(samples):
            quarter = self.quarters.get(start_ms) or self.new_quarter(start_ms)
            if quarter.settled and not quarter.promoted:
                # Only if the horizon was shorter before. The samples of then are gone: what this one would be put with nobody has any more.
                self.state.late_events += len(pieces(part))
                beyond.append(part)
                continue
            if check and quarter.samples:
                part = self._without_known(quarter, part)  # noqa: PLW2901 - what is left of it
                if not part:
                    continue
            if len(quarter.samples) + len(part) > QUARTER_BYTES_MAX:
                part, rest = _cut(part, QUARTER_BYTES_MAX - len(quarter.samples))  # noqa: PLW2901 - what there is room for
                self.state.late_events += len(pieces(rest))
                beyond.append(rest)
                if not part:
                    continue
            quarter.settled = quarter.promoted = False
            in_order = not quarter.samples or not check
            quarter.samples = quarter.samples + part if in_order else ordered(quarter.samples, part).data
            quarter.summary = None
            quarter.edges = _widened(quarter.edges, self.meters.edges_of(part))
            self.quarters.put(quarter)
            fresh.append(part)
        data = b"".join(fresh)
        add_samples(self.state.base, data + b"".join(beyond))
        return data

    def _without_known(self, quarter: Quarter, part: bytes) -> bytes:
        known = {identity for _, identity, _ in pieces(quarter.samples)}
        every = pieces(part)
        kept = [sample for _, identity, sample in every if identity not in known]
        self.state.duplicate_events += len(every) - len(kept)
        return b"".join(kept)

    def new_quarter(self, start_ms: int) -> Quarter:
        """A quarter that there was no record of; the caller puts it."""
        state = self.state
        at = bisect_left(self._made_ms, start_ms)
        if at == len(self._made_ms) or self._made_ms[at] != start_ms:
            self._made_ms.insert(at, start_ms)
        state.oldest_quarter_ms = min(state.oldest_quarter_ms, start_ms)
        state.newest_quarter_ms = max(state.newest_quarter_ms, start_ms)
        return Quarter(start_ms)

    def recorded(self, start_ms: int, end_ms: int) -> Iterator[int]:
        """Starts of the quarters between two times that there may be a record of, in order.

        Not all quarters from the first to the last: between a device's messages from before its clock was set and those from afterwards there are years.
        """
        first_ms = max(start_ms, self.state.oldest_quarter_ms)
        yield from range(quarter_of(first_ms), min(end_ms, self.known_end_ms), QUARTER_MS)
        # More may be made while these are gone through.
        made, at_ms = self._made_ms, max(first_ms - QUARTER_MS + 1, self.known_end_ms)
        while (at := bisect_left(made, at_ms)) < len(made) and made[at] < end_ms:
            yield made[at]
            at_ms = made[at] + 1

    def recorded_before(self, quarter_ms: int) -> Iterator[int]:
        """Starts of the quarters before one that there may be a record of, the last one first."""
        made, before_ms = self._made_ms, quarter_ms
        while (at := bisect_left(made, before_ms)) > 0 and made[at - 1] >= self.known_end_ms:
            before_ms = made[at - 1]
            yield before_ms
        yield from range(min(quarter_ms, self.known_end_ms) - QUARTER_MS, self.state.oldest_quarter_ms - 1, -QUARTER_MS)

    def use_neighbours(self, behind: tuple[Point | None, Point | None]) -> None:
        """What is known behind all closed minutes; before any energy is asked for."""
        state = self.state
        self._energy = QuarterEnergy(
            self.meters,
            self.quarters.get,
            self,
            register_before_all=state.last_register,
            behind_all=behind,
        )

    @property
    def energies(self) -> QuarterEnergy:
        """Energies within quarters."""
        assert self._energy is not None
        return self._energy

    def content(self, window: Window, span: Span) -> Summary:
        """What a window says."""
        if window is Window.MINUTE:
            return self._minute(span)
        if window is Window.QUARTER:
            return self.quarter(span.start_ms)
        length_ms = span.end_ms - span.start_ms
        return merge_parts(
            (self.quarter(quarter_ms), QUARTER_MS / length_ms) for quarter_ms in range(span.start_ms, span.end_ms, QUARTER_MS)
        )

    def _minute(self, span: Span) -> Summary:
        quarter = self.quarters.get(quarter_of(span.start_ms))
        if quarter is None:
            return Summary()
        _, samples, _ = split(quarter.samples, span.start_ms, span.end_ms)
        content = summarize(samples, self.names)
        if content.events:
            content.energy = self.energies.over(span.start_ms, span.end_ms)
        return content

    def quarter(self, start_ms: int) -> Summary:
        """What a quarter says, calculated anew if need be."""
        quarter = self.quarters.get(start_ms)
        if quarter is not None and quarter.summary is not None:
            return quarter.summary
        if quarter is None and self.meters.register is None:
            return Summary()
        content = Summary() if quarter is None else summarize(quarter.samples, self.names)
        content.energy = self.energies.over(start_ms, start_ms + QUARTER_MS)
        if content.is_empty:
            return content
        if quarter is None:
            quarter = self.new_quarter(start_ms)
        quarter.summary = content
        self.quarters.put(quarter)
        return content


def slot_of(window: Window, span: Span) -> int:
    """Where the quarter that a window begins in keeps what was published of it."""
    if window is Window.MINUTE:
        return span.start_ms % QUARTER_MS // MINUTE_MS
    return _MINUTES + window - 1


def minute_of(time_ms: int) -> int:
    """Start of the minute that a time lies in."""
    return time_ms - time_ms % MINUTE_MS


def quarter_of(time_ms: int) -> int:
    """Start of the quarter that a time lies in."""
    return time_ms - time_ms % QUARTER_MS


def _by_quarter(samples: bytes) -> Iterator[tuple[int, bytes]]:
    rest = samples
    while rest:
        start_ms = quarter_of(first_ms(rest))
        part, rest = split(rest, start_ms + QUARTER_MS)
        yield start_ms, part


def _cut(samples: bytes, room: int) -> tuple[bytes, bytes]:
    """The first of ordered samples, of so many bytes at the most, and the rest."""
    at = 0
    for _, _, sample in pieces(samples):
        if at + len(sample) > room:
            break
        at += len(sample)
    return samples[:at], samples[at:]


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
