"""Windows of a device: functions of the set of its messages, whatever order, repetition and batches they come in."""

import random
from collections import defaultdict
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ems_streams.domain.accumulators import COUNT, LAST, MAX, MIN, exact_sum
from ems_streams.domain.aggregates import DeviceAggregates, total
from ems_streams.domain.energy import EnergyQuality
from ems_streams.domain.fold_outcome import Outcome
from ems_streams.domain.quarter import Quarter
from ems_streams.domain.summary import Summary
from ems_streams.domain.telemetry_record import TelemetryRecord
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.window_reading import current_windows
from ems_streams.domain.windows import DAY_MS, HOUR_MS, QUARTER_MS, Window, WindowPolicy, span_of
from tests.unit.domain.builders import NOON_MS, Device, MemoryQuarters, record

BERLIN = ZoneInfo("Europe/Berlin")
LOCAL = WindowPolicy(zone_of=lambda _site: BERLIN)
ALL_CLOSED_MS = 3 * DAY_MS

# Far from round, so that any other order of additions would show.
values = st.integers(min_value=-10_000_000, max_value=10_000_000).map(lambda number: number / 997)
readings = st.integers(min_value=0, max_value=100_000).map(lambda number: number / 7)
metrics = st.fixed_dictionaries({}, optional={"powerKw": values, "voltage": values, "energyTotalKwh": readings}).filter(bool)
offsets_ms = st.one_of(
    st.integers(min_value=0, max_value=4 * MINUTE_MS),
    st.integers(min_value=0, max_value=3 * HOUR_MS),
    st.integers(min_value=0, max_value=6 * HOUR_MS),
)
messages = st.lists(st.tuples(offsets_ms, metrics), min_size=1, max_size=40)


def records(found: list[tuple[int, dict[str, float]]]) -> list[TelemetryRecord]:
    return [record(NOON_MS - 6 * HOUR_MS + offset_ms, values) for offset_ms, values in found]


def contents(device: Device) -> dict[tuple[Window, int], Summary]:
    device.quiet(ALL_CLOSED_MS)
    # A window whose energy turned out to be none is the same as one that never was.
    return {key: content for key, content in device.last().items() if not content.is_empty}


def batches(found: list[TelemetryRecord], rnd: random.Random) -> list[list[TelemetryRecord]]:
    cuts = sorted(rnd.sample(range(len(found) + 1), rnd.randint(0, len(found))))
    return [found[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(found)], strict=True) if start < stop]


@example(
    [
        (0, {"powerKw": 0.0, "energyTotalKwh": 809 / 7}),
        (1, {"energyTotalKwh": 1 / 7}),
        (4_634_435, {"energyTotalKwh": 12_989.0}),
    ],
    random.Random(1),
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(messages, st.randoms(use_true_random=False))
def test_any_order_repetition_and_split_gives_the_same_windows(found: list, rnd: random.Random) -> None:
    in_order = Device(LOCAL)
    in_order.send(*sorted(records(found), key=lambda each: each.timestamp_ms))
    shuffled = records(found) + rnd.choices(records(found), k=rnd.randint(0, 10))
    rnd.shuffle(shuffled)
    other = Device(LOCAL)
    for batch in batches(shuffled, rnd):
        other.send(*batch)
        if rnd.random() < 0.2:
            other.quiet(rnd.choice((3 * MINUTE_MS, QUARTER_MS, 2 * HOUR_MS)))
    assert contents(other) == contents(in_order)


@given(messages)
def test_what_a_window_says_is_what_its_messages_say(found: list) -> None:
    device = Device(LOCAL)
    for each in records(found):
        device.send(each)
    unique = {(each.timestamp_ms, tuple(sorted(each.metrics.items()))) for each in records(found)}
    wanted = defaultdict(list)
    for time_ms, pairs in unique:
        for window in Window:
            wanted[window, span_of(window, time_ms, BERLIN).start_ms].append((time_ms, dict(pairs)))
    found_windows = contents(device)
    assert {key for key, content in found_windows.items() if content.events} == set(wanted)
    for key, expected in wanted.items():
        content = found_windows[key]
        assert content.events == len(expected)
        for name, metric in content.metrics.items():
            column = [values[name] for _, values in expected if name in values]
            accumulator = metric.accumulator
            assert accumulator[COUNT] == len(column)
            assert (accumulator[MIN], accumulator[MAX]) == (min(column), max(column))
            assert exact_sum(accumulator) == pytest.approx(sum(column), rel=1e-12, abs=1e-9)
            newest_ms = max(time_ms for time_ms, values in expected if name in values)
            assert accumulator[LAST] in [values[name] for time_ms, values in expected if time_ms == newest_ms and name in values]
            assert sum(metric.sketch.values()) == len(column)


@given(messages)
def test_the_total_counts_every_message_once_however_far_windows_have_closed(found: list) -> None:
    device = Device()
    for each in records(found):
        device.send(each)
        device.send(each)
    unique = {(each.timestamp_ms, tuple(sorted(each.metrics.items()))) for each in records(found)}
    for name, accumulator in total(device.state).items():
        assert accumulator[COUNT] == sum(name in dict(pairs) for _, pairs in unique)


def power(minute: float, kw: float) -> TelemetryRecord:
    return record(NOON_MS + round(minute * MINUTE_MS), {"powerKw": kw})


def test_a_minute_closes_when_the_watermark_is_the_lateness_behind_its_end() -> None:
    device = Device()
    assert device.send(power(0, 1.0), power(1.499, 2.0)) == []
    (closed,) = device.send(power(1.5, 3.0))
    assert (closed.window, closed.span.start_ms, closed.revision, closed.summary.events) == (Window.MINUTE, NOON_MS, 1, 1)


def test_longer_windows_close_after_their_parts() -> None:
    device = Device(LOCAL)
    device.send(power(0, 1.0))
    closed = device.quiet(ALL_CLOSED_MS)
    assert [result.window for result in closed] == [Window.MINUTE, Window.QUARTER, Window.HOUR, Window.LOCAL_DAY, Window.DAY]


def test_a_late_message_gives_the_windows_that_it_concerns_a_next_revision() -> None:
    device = Device()
    device.send(power(0, 1.0))
    device.send(power(130, 2.0))
    revised = device.send(power(0.5, 3.0))
    assert [(result.window, result.revision, result.summary.events) for result in revised] == [
        (Window.MINUTE, 2, 2),
        (Window.QUARTER, 2, 2),
        (Window.HOUR, 2, 2),
    ]
    assert device.send(power(0.5, 3.0)) == [], "a repeated message changes nothing"
    assert device.state.duplicate_events == 1


def test_a_late_message_of_a_minute_that_had_none_is_its_first_revision() -> None:
    device = Device()
    device.send(power(0, 1.0))
    device.send(power(130, 2.0))
    minute, quarter, _ = device.send(power(7, 3.0))
    assert (minute.revision, quarter.revision) == (1, 2)


def test_beyond_the_horizon_a_message_is_late_for_good_and_counts_in_the_total_once() -> None:
    device = Device()
    device.send(power(0, 1.0))
    late = record(NOON_MS - DAY_MS - MINUTE_MS, {"powerKw": 5.0})
    assert device.send(late) == []
    assert device.send(late) == []
    assert device.outcomes == [Outcome.FOLDED, Outcome.LATE, Outcome.REPEATED]
    assert (device.state.late_events, total(device.state)["powerKw"][COUNT]) == (1, 2.0)


def test_a_device_whose_clock_runs_ahead_closes_no_window_of_the_present() -> None:
    device = Device()
    assert device.send(power(0, 1.0), record(NOON_MS + 2 * DAY_MS, {"powerKw": 9.0}), arrived_ms=NOON_MS) == []
    assert (device.state.future_events, device.state.watermark_ms) == (1, NOON_MS)
    assert total(device.state)["powerKw"][COUNT] == 2.0


def test_a_register_that_is_read_seldom_is_spread_over_what_it_was_not_read_in() -> None:
    device = Device()
    device.send(record(NOON_MS, {"energyTotalKwh": 100.0}))
    device.send(record(NOON_MS + HOUR_MS, {"energyTotalKwh": 104.0}))
    device.quiet(ALL_CLOSED_MS)
    found = device.last()
    quarters = [found[Window.QUARTER, NOON_MS + index * QUARTER_MS].energy for index in range(4)]
    assert [energy.kwh for energy in quarters] == [pytest.approx(1.0)] * 4
    assert {energy.quality for energy in quarters} == {EnergyQuality.ESTIMATED}
    assert found[Window.HOUR, NOON_MS].energy.kwh == pytest.approx(4.0)
    assert found[Window.DAY, NOON_MS - 12 * HOUR_MS].energy.kwh == pytest.approx(4.0)


def test_records_of_quarters_are_given_up_when_no_window_needs_them() -> None:
    device = Device()
    for day in range(6):
        for hour in range(24):
            device.send(record(NOON_MS - 6 * DAY_MS + day * DAY_MS + hour * HOUR_MS, {"powerKw": 1.0}))
    kept_ms = device.policy.kept_ms + HOUR_MS
    assert len(device.quarters.stored) <= kept_ms // QUARTER_MS
    with_samples = [start for start in device.quarters.stored if device.quarters.get(start).samples]
    assert min(with_samples) >= device.state.watermark_ms - device.policy.horizon_ms - HOUR_MS


def test_what_is_open_is_seen_too_and_seeing_changes_nothing() -> None:
    device = Device()
    device.send(power(0, 1.0), power(1, 2.0), power(1.6, 4.0))
    before = (device.state.open, dict(device.quarters.stored))
    newest, oldest = current_windows(device.state, device.quarters, device.policy, Window.MINUTE, limit=10)
    assert (newest.revision, newest.summary.events, oldest.revision, oldest.summary.events) == (0, 2, 1, 1)
    (hour,) = current_windows(device.state, device.quarters, device.policy, Window.HOUR, limit=10)
    assert (hour.revision, hour.summary.events) == (0, 3)
    assert (device.state.open, dict(device.quarters.stored)) == before
    assert current_windows(DeviceAggregates("X"), device.quarters, device.policy, Window.HOUR, limit=10) == []


@pytest.mark.parametrize(("month", "day", "hours"), [(3, 29, 23), (10, 25, 25), (7, 1, 24)])
def test_local_days_are_as_long_as_clocks_make_them(month: int, day: int, hours: int) -> None:
    from datetime import datetime

    noon_ms = int(datetime(2026, month, day, 12, tzinfo=BERLIN).timestamp() * 1000)
    span = span_of(Window.LOCAL_DAY, noon_ms, BERLIN)
    assert span.end_ms - span.start_ms == hours * HOUR_MS
    assert datetime.fromtimestamp(span.start_ms / 1000, BERLIN).hour == 0


def test_energy_that_turns_out_to_be_none_is_taken_back() -> None:
    """Between the readings 100 and 13,000 a device can have delivered so much; from the reading 1 that comes late, it cannot."""
    device = Device()
    device.send(record(NOON_MS, {"energyTotalKwh": 3_100.0}))
    device.send(record(NOON_MS + HOUR_MS, {"energyTotalKwh": 13_000.0}))
    device.quiet(4 * HOUR_MS)
    assert device.last()[Window.QUARTER, NOON_MS + QUARTER_MS].energy.kwh == pytest.approx(2_475.0)
    device.send(record(NOON_MS + 1, {"energyTotalKwh": 1.0}))
    revised = [result for result in device.published if (result.window, result.span.start_ms) == (Window.QUARTER, NOON_MS + QUARTER_MS)]
    assert [(result.revision, result.summary.energy.kwh) for result in revised] == [(1, pytest.approx(2_475.0)), (2, None)]


class CountedQuarters(MemoryQuarters):
    """With how often one was looked for."""

    looked = 0

    def get(self, start_ms: int) -> Quarter | None:
        self.looked += 1
        return super().get(start_ms)


# What a register says is spread over the two days behind which everything is forgotten, quarter by quarter, each of which looks for its neighbours.
@pytest.mark.parametrize(("values", "most"), [({"powerKw": 1.0}, 5_000), ({"energyTotalKwh": 100.0}, 400_000)], ids=["power", "register"])
@pytest.mark.parametrize("at_once", [False, True])
def test_years_between_a_clock_that_was_never_set_and_one_that_is_are_not_walked_through(
    values: dict[str, float], most: int, at_once: bool
) -> None:
    device = Device()
    quarters = device.quarters = CountedQuarters()
    in_2000_ms = 946_684_800_000
    sent = [record(in_2000_ms, values), *(record(NOON_MS + minute * MINUTE_MS, values) for minute in range(40))]
    if at_once:
        device.send(*sent)
    else:
        for each in sent:
            device.send(each)
    assert len(current_windows(device.state, device.quarters, device.policy, Window.MINUTE, limit=100)) >= 39
    assert quarters.looked < most
    device.quiet(ALL_CLOSED_MS)
    found = device.last()
    assert found[Window.MINUTE, in_2000_ms].events == 1
    assert sum(content.events for (window, _), content in found.items() if window is Window.HOUR) == 41
    assert device.state.oldest_quarter_ms >= NOON_MS - device.policy.kept_ms


def test_a_register_that_is_read_after_days_does_not_publish_what_is_forgotten_again() -> None:
    device = Device()
    hours = 60
    for minute in range(0, hours * 60, 5):
        values = {"powerKw": 1.0} if minute else {"powerKw": 1.0, "energyTotalKwh": 100.0}
        device.send(record(NOON_MS + minute * MINUTE_MS, values))
    before = dict(device.last())
    device.send(record(NOON_MS + hours * HOUR_MS, {"powerKw": 1.0, "energyTotalKwh": 400.0}))
    device.quiet(HOUR_MS)
    after = device.last()
    assert {key for key, content in before.items() if after[key].events < content.events} == set(), "nothing is said with less in it"
    revisions = [(each.window, each.span.start_ms, each.revision) for each in device.published]
    assert len(set(revisions)) == len(revisions), "each revision once"


def test_a_horizon_that_is_raised_does_not_take_away_what_windows_have_said() -> None:
    device = Device(WindowPolicy(horizon_ms=HOUR_MS))
    for minute in range(0, 6 * 60, 5):
        device.send(power(minute, 1.0))
    said = dict(device.last())
    device.policy = WindowPolicy(horizon_ms=DAY_MS)
    device.send(power(1, 9.0), arrived_ms=device.state.arrived_ms + 1)
    device.quiet(HOUR_MS)
    assert {key: device.last()[key].events for key in said} == {key: content.events for key, content in said.items()}
    assert (device.state.late_events, total(device.state)["powerKw"][COUNT]) == (1, 73.0)


def test_a_day_that_closes_later_than_it_may_be_corrected_has_all_of_its_messages() -> None:
    device = Device(WindowPolicy(horizon_ms=HOUR_MS, lateness_ms=(30_000, 60_000, 120_000, 4 * HOUR_MS, 4 * HOUR_MS)))
    midnight_ms = NOON_MS - 12 * HOUR_MS
    for minute in range(0, 54 * 60, 10):
        device.send(record(midnight_ms + minute * MINUTE_MS, {"powerKw": 1.0}))
    device.quiet(ALL_CLOSED_MS)
    days = [content.events for (window, _), content in sorted(device.last().items()) if window is Window.DAY]
    assert days == [144, 144, 36]
