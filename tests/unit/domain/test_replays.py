"""Which windows a replay can say something about, and how it ends."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from ems_streams.domain.replay_closing import close_up_to
from ems_streams.domain.replays import ReplayDefinition, read_range
from ems_streams.domain.timestamps import MINUTE_MS, to_epoch_ms
from ems_streams.domain.windows import DAY_MS, HOUR_MS, QUARTER_MS, Span, Window, WindowPolicy, span_of
from tests.unit.domain.builders import NOON_MS, Device, record

FROM = datetime(2026, 1, 5, 6, 20, tzinfo=UTC)
TO = datetime(2026, 1, 6, 7, 40, tzinfo=UTC)


def definition(**changes: object) -> ReplayDefinition:
    fields = {
        "name": "again",
        "application_id": "app",
        "topic": "device-telemetry",
        "from_time": FROM,
        "to_time": TO,
        "lead_in_ms": 0,
        "lead_out_ms": 0,
        "offsets": {0: (3, 10), 1: (0, 5)},
        "created_at": TO,
    }
    return ReplayDefinition.model_validate(fields | changes)


def covered(window: Window) -> list[Span]:
    spans = {span_of(window, at_ms, None) for at_ms in range(to_epoch_ms(FROM) - DAY_MS, to_epoch_ms(TO) + DAY_MS, QUARTER_MS)}
    return sorted((span for span in spans if definition().covers(span)), key=lambda span: span.start_ms)


def test_windows_that_reach_beyond_the_range_are_not_covered() -> None:
    hours = covered(Window.HOUR)
    assert hours[0].start_ms == to_epoch_ms(FROM.replace(hour=7, minute=0))
    assert hours[-1].end_ms == to_epoch_ms(TO.replace(minute=0))
    assert covered(Window.DAY) == []
    assert len(covered(Window.QUARTER)) == 25 * 4


def test_a_window_of_the_very_range_is_covered_and_one_beside_it_does_not_touch_it() -> None:
    start_ms, end_ms = to_epoch_ms(FROM), to_epoch_ms(TO)
    assert definition().covers(Span(start_ms, end_ms))
    assert not definition().covers(Span(start_ms - 1, end_ms))
    assert not definition().touches(Span(start_ms - HOUR_MS, start_ms))
    assert definition().touches(Span(start_ms - HOUR_MS, start_ms + 1))


def test_records_are_read_from_before_the_range_to_behind_it() -> None:
    assert read_range(FROM, TO, 1000, 2000) == (to_epoch_ms(FROM) - 1000, to_epoch_ms(TO) + 2000)
    assert definition().events_total == 12


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValidationError, match="ends before it begins"):
        definition(to_time=FROM)


def test_a_definition_is_read_as_it_was_written_and_its_offsets_are_no_part_of_the_request() -> None:
    one = definition(devices=("A",), sites=(4,))
    assert ReplayDefinition.model_validate_json(one.encode()) == one
    assert one.same_request(definition(devices=("A",), sites=(4,), offsets={0: (1, 2)}, created_at=FROM))
    assert not one.same_request(definition(devices=("B",), sites=(4,)))
    assert (one.wants("A", 4), one.wants("A", 5), one.wants("B", 4)) == (True, False, False)


def test_at_the_end_every_window_of_the_range_is_closed_whatever_its_kind() -> None:
    policy = WindowPolicy(zone_of=lambda _: ZoneInfo("Europe/Berlin"))
    device = Device(policy)
    device.send(record(NOON_MS, {"powerKw": 1.0}), record(NOON_MS + 10 * MINUTE_MS, {"powerKw": 1.0}))
    end_ms = NOON_MS - NOON_MS % DAY_MS + DAY_MS
    assert close_up_to(device.state, end_ms, policy)
    device.settle()
    assert {result.window for result in device.published} == set(Window)
    assert not close_up_to(device.state, end_ms - 2 * HOUR_MS, policy)


def test_a_device_that_has_said_nothing_has_nothing_to_close() -> None:
    assert not close_up_to(Device().state, NOON_MS, WindowPolicy())
