"""Closed windows of one device for a trial of alarm rules, made from its telemetry as workers make them."""

from collections.abc import Iterator
from typing import Final

from ems_streams.domain.aggregate_events import device_event
from ems_streams.domain.aggregates import DeviceAggregates, fold
from ems_streams.domain.alarm_folds import Arrival
from ems_streams.domain.alarm_windows import ClosedWindow, decode_closed_window
from ems_streams.domain.fold_outcome import NOT_YET_MS, Outcome
from ems_streams.domain.identifiers import message_identity
from ems_streams.domain.quarter import Quarter
from ems_streams.domain.telemetry_record import TelemetryRecord
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.domain.window_closing import settle
from ems_streams.domain.window_ticks import next_tick_ms, tick
from ems_streams.domain.windows import WindowPolicy

Closed = Iterator[tuple[Arrival, ClosedWindow]]

_ANY_TIME_MS: Final = 2**62


class _Quarters:
    """Quarters in memory."""

    def __init__(self) -> None:
        self._kept: dict[int, Quarter] = {}

    def get(self, start_ms: int) -> Quarter | None:
        return self._kept.get(start_ms)

    def put(self, quarter: Quarter) -> None:
        self._kept[quarter.start_ms] = quarter

    def delete(self, start_ms: int) -> None:
        self._kept.pop(start_ms, None)


class TrialWindows:
    """The windows of one device; what comes of a call has to be taken before the next one."""

    def __init__(self, serial_number: str, policy: WindowPolicy) -> None:
        self._state = DeviceAggregates(serial_number)
        self._quarters = _Quarters()
        self._policy = policy
        self._offset = -1

    def take(self, record: TelemetryRecord, arrived_ms: int, offset: int) -> Closed:
        """Windows that a record closes or corrects."""
        self._offset = offset
        # A file may have the same row twice, and means one message by it.
        said = record.message_id or repr((record.timestamp_ms, sorted(record.metrics.items())))
        outcome = fold(self._state, record, message_identity(said), offset, arrived_ms, self._policy)
        if outcome is Outcome.DUE:
            yield from self._settled(arrived_ms)

    def let_time_go_on(self, now_ms: int) -> Closed:
        """Windows that close without a message, until a time."""
        while (due_ms := next_tick_ms(self._state, self._policy)) <= now_ms and due_ms != NOT_YET_MS:
            if not tick(self._state, due_ms, self._policy):
                return
            yield from self._settled(due_ms)

    def close(self) -> Closed:
        """All that is still open."""
        yield from self.let_time_go_on(_ANY_TIME_MS)

    def _settled(self, at_ms: int) -> Closed:
        zone = self._policy.zone_of(self._state.site_id)
        for result in settle(self._state, self._quarters, self._policy):
            closed = decode_closed_window(device_event(self._state, result, None if zone is None else zone.key))
            yield Arrival(min(to_epoch_ms(closed.window_end), at_ms), at_ms, self._offset), closed
