"""Promoted windows in the state of their device."""

import pytest

from ems_streams.domain.device_windows import WindowResult
from ems_streams.domain.promotions import PromotedWindow, Promotion, decode_promotion, promote
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.windows import DAY_MS, HOUR_MS, Window, WindowPolicy
from ems_streams.errors import MalformedError
from tests.unit.domain.builders import NOON_MS, SERIAL, Device, record


def hour_of(values: list[float], extra: bool = False) -> Device:
    """A device with a message in each minute of the hour from noon on, all closed."""
    device = Device()
    device.send(*(record(NOON_MS + number * MINUTE_MS, {"powerKw": value}) for number, value in enumerate(values)))
    if extra:
        device.send(record(NOON_MS + 90_500, {"powerKw": 500.0}))
    device.quiet(15 * HOUR_MS)
    return device


def promotion_of(results: list[WindowResult], live_revision: int = 1) -> Promotion:
    last = {(each.window, each.span): each.summary for each in results}
    windows = [PromotedWindow(window, span, live_revision, summary) for (window, span), summary in last.items()]
    return Promotion("again", SERIAL, 123, 1, "SOLAR_INVERTER", windows)


def take(live: Device, promotion: Promotion) -> list[WindowResult]:
    results = promote(live.state, live.quarters, promotion, live.policy)
    live.quarters.forget()
    live.published += results
    return results


def test_only_what_differs_is_published_as_the_next_revision() -> None:
    live, shadow = hour_of([1.0] * 60), hour_of([1.0] * 60, extra=True)
    results = take(live, promotion_of(shadow.published))
    assert {(each.window, each.span.start_ms) for each in results} == {
        (Window.MINUTE, NOON_MS + MINUTE_MS),
        (Window.MINUTE, NOON_MS + 2 * MINUTE_MS),
        (Window.QUARTER, NOON_MS),
        (Window.HOUR, NOON_MS),
        (Window.DAY, NOON_MS - 12 * HOUR_MS),
    } - {(Window.MINUTE, NOON_MS + 2 * MINUTE_MS)}
    assert {each.revision for each in results} == {2}
    assert live.last() == shadow.last()


def test_a_promotion_that_comes_twice_changes_nothing() -> None:
    live, shadow = hour_of([1.0] * 60), hour_of([1.0] * 60, extra=True)
    promotion = promotion_of(shadow.published)
    assert take(live, promotion)
    assert take(live, promotion) == []


def test_a_revision_is_greater_than_the_last_one_that_anybody_has_seen() -> None:
    live, shadow = hour_of([1.0] * 60), hour_of([1.0] * 60, extra=True)
    assert {each.revision for each in take(live, promotion_of(shadow.published, live_revision=7))} == {8}


def test_of_windows_that_live_has_forgotten_the_same_revision_comes_each_time() -> None:
    live, shadow = hour_of([1.0] * 60), hour_of([1.0] * 60, extra=True)
    live.send(record(NOON_MS + 10 * DAY_MS, {"powerKw": 1.0}))
    assert live.quarters.get(NOON_MS) is None
    promotion = promotion_of([each for each in shadow.published if each.window is Window.HOUR], live_revision=3)
    first, again = take(live, promotion), take(live, promotion)
    assert first == again
    assert [each.revision for each in first] == [4]
    assert live.quarters.get(NOON_MS) is None


def test_a_quarter_that_live_has_nothing_of_is_kept_for_the_longer_windows() -> None:
    live, shadow = hour_of([1.0] * 60), Device()
    shadow.send(record(NOON_MS - HOUR_MS, {"powerKw": 5.0}))
    shadow.quiet(15 * HOUR_MS)
    take(live, promotion_of(shadow.published, live_revision=0))
    kept = live.quarters.get(NOON_MS - HOUR_MS)
    assert kept is not None
    assert kept.summary == shadow.last()[Window.QUARTER, NOON_MS - HOUR_MS]
    assert kept.settled
    assert live.state.oldest_quarter_ms <= NOON_MS - HOUR_MS


def test_a_later_message_corrects_a_promoted_window_beyond_its_promotion() -> None:
    live, shadow = Device(), hour_of([1.0] * 60, extra=True)
    live.send(*(record(NOON_MS + number * MINUTE_MS, {"powerKw": 1.0}) for number in range(30)))
    quarter = [each for each in shadow.published if each.window is Window.QUARTER and each.span.start_ms == NOON_MS]
    (promoted,) = take(live, promotion_of(quarter))
    late = live.send(record(NOON_MS + 3 * MINUTE_MS + 7_000, {"powerKw": 2.0}))
    assert [each.revision for each in late if each.window is Window.QUARTER] == [promoted.revision + 1]


@pytest.mark.parametrize("at_once", [True, False])
def test_messages_of_a_quarter_that_live_had_nothing_of_are_in_its_windows_when_they_come_after_all(at_once: bool) -> None:
    """A device was away, its gap was filled by a replay, and then it delivers what it had kept."""
    live, shadow = Device(), Device()
    live.send(record(NOON_MS - HOUR_MS, {"powerKw": 1.0}))
    live.quiet(20 * MINUTE_MS)
    shadow.send(*(record(NOON_MS + number * MINUTE_MS, {"powerKw": 5.0}) for number in range(15)))
    shadow.quiet(DAY_MS)
    promoted = {each.span.start_ms: each.revision for each in take(live, promotion_of(shadow.published)) if each.window is Window.QUARTER}
    assert promoted.keys() == {NOON_MS}
    kept = [record(NOON_MS + number * MINUTE_MS, {"powerKw": 7.0}) for number in range(15)]
    for part in [kept] if at_once else [[each] for each in kept]:
        live.send(*part)
    live.quiet(DAY_MS)
    last = [each for each in live.published if each.window is Window.QUARTER and each.span.start_ms == NOON_MS][-1]
    assert (last.summary.events, live.state.late_events) == (15, 0)
    assert last.revision > promoted[NOON_MS]


def test_a_horizon_that_is_raised_takes_nothing_away_from_what_was_promoted_beyond_it() -> None:
    live, shadow = Device(WindowPolicy(horizon_ms=HOUR_MS)), Device()
    live.send(record(NOON_MS - HOUR_MS, {"powerKw": 1.0}))
    live.send(record(NOON_MS + 5 * HOUR_MS, {"powerKw": 1.0}))
    shadow.send(*(record(NOON_MS + number * MINUTE_MS, {"powerKw": 5.0}) for number in range(15)))
    shadow.quiet(DAY_MS)
    take(live, promotion_of(shadow.published))
    live.policy = WindowPolicy(horizon_ms=DAY_MS)
    live.send(record(NOON_MS + MINUTE_MS, {"powerKw": 7.0}), arrived_ms=NOON_MS + 5 * HOUR_MS + 1)
    live.quiet(DAY_MS)
    assert live.state.late_events == 1
    assert all(each.summary.events == 15 for each in live.published if each.span.start_ms == NOON_MS and each.window is Window.QUARTER)


def test_a_promotion_is_read_as_it_was_written() -> None:
    promotion = promotion_of(hour_of([1.0, 2.5, -3.0] * 20).published)
    assert decode_promotion(promotion.encode()) == promotion


@pytest.mark.parametrize("value", [None, b"", b"{}\nxx", b'{"windows": []}\n', promotion_of(hour_of([1.0] * 20).published).encode()[:-3]])
def test_damaged_promotions_are_malformed(value: bytes | None) -> None:
    with pytest.raises(MalformedError, match="invalid_promotion"):
        decode_promotion(value)


def test_windows_are_published_in_the_order_of_their_ends() -> None:
    live, shadow = hour_of([1.0] * 60), hour_of([2.0] * 60)
    ends = [each.span.end_ms for each in take(live, promotion_of(list(reversed(shadow.published))))]
    assert ends == sorted(ends)
    assert len(ends) == 60 + 4 + 1 + 1
