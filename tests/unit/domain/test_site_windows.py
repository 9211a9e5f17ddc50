"""Windows of a site: functions of the set of its devices' parts, whatever order, repetition and batches they come in."""

import math
import random
from collections import defaultdict
from collections.abc import Iterator

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ems_streams.domain.accumulators import COUNT, MAX, MIN, exact_sum, mean
from ems_streams.domain.aggregate_events import SitePart
from ems_streams.domain.energy import EnergyQuality
from ems_streams.domain.events import SiteAggregateEvent, decode
from ems_streams.domain.site_contents import SiteResult, current_windows
from ems_streams.domain.site_events import site_event, site_view
from ems_streams.domain.site_records import Site, find, site_record_key
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.windows import DAY_MS, HOUR_MS, Window
from tests.unit.domain.builders import NOON_MS
from tests.unit.domain.site_builders import POLICY, SITE, World, part, summary

ALL_CLOSED_MS = 3 * DAY_MS
SERIALS = ("A", "B", "C", "D")
FOR_EVER = {"limit": 1000, "start_ms": 0, "end_ms": 2**60}

# Far from round, so that any other order of additions would show.
values_kw = st.integers(min_value=-10_000_000, max_value=10_000_000).map(lambda number: number / 997)
contents = st.tuples(st.lists(values_kw, min_size=1, max_size=4), st.one_of(st.none(), values_kw))
spans = st.one_of(
    st.tuples(st.integers(min_value=0, max_value=12), st.just(Window.MINUTE)),
    st.tuples(st.sampled_from((0, 15, 30)), st.just(Window.QUARTER)),
    st.tuples(st.sampled_from((0, 60)), st.just(Window.HOUR)),
)
windows = st.tuples(st.sampled_from(SERIALS), spans, st.sampled_from((SITE, SITE, SITE + 1)))


def parts_of(found: dict) -> list[SitePart]:
    """Every revision of every part."""
    return [
        part(serial, minute, summary(*values, kwh=kwh), revision=revision, window=window, site=site)
        for (serial, (minute, window), site), revisions in found.items()
        for revision, (values, kwh) in enumerate(revisions, start=1)
    ]


def last_parts(parts: list[SitePart]) -> dict[tuple[int, Window, int], dict[str, SitePart]]:
    """By window, the last revision of each device."""
    found: dict[tuple[int, Window, int], dict[str, SitePart]] = defaultdict(dict)
    for each in sorted(parts, key=lambda each: each.revision):
        found[each.site_id, each.window, each.span.start_ms][each.serial_number] = each
    return found


def batches(parts: list[SitePart], rnd: random.Random) -> Iterator[list[SitePart]]:
    cuts = sorted(rnd.sample(range(len(parts) + 1), rnd.randint(0, len(parts))))
    return (parts[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(parts)], strict=True) if start < stop)


def everything(world: World) -> dict:
    for site in (SITE, SITE + 1):
        world.quiet(ALL_CLOSED_MS, site)
    return world.last()


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(windows, st.lists(contents, min_size=1, max_size=3), min_size=1, max_size=25), st.randoms(use_true_random=False))
def test_any_order_repetition_and_split_gives_the_same_windows(found: dict, rnd: random.Random) -> None:
    """How many devices there are, and which have moved to the other site, included."""
    parts = parts_of(found)
    last = [each for by_serial in last_parts(parts).values() for each in by_serial.values()]
    in_order = World()
    for each in sorted(last, key=lambda each: each.span.end_ms):
        in_order.send(each)
    shuffled = parts + rnd.choices(parts, k=rnd.randint(0, 10))
    rnd.shuffle(shuffled)
    other = World()
    for batch in batches(shuffled, rnd):
        other.send(*batch)
        if rnd.random() < 0.2:
            other.quiet(rnd.choice((3 * MINUTE_MS, 20 * MINUTE_MS, 2 * HOUR_MS)))
    assert everything(other) == everything(in_order)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(windows, st.lists(contents, min_size=1, max_size=2), min_size=1, max_size=25))
def test_a_window_says_what_the_messages_of_all_its_devices_say(found: dict) -> None:
    parts = parts_of(found)
    world = World()
    world.send(*parts)
    said = everything(world)
    wanted = last_parts(parts)
    assert said.keys() == wanted.keys()
    for key, by_serial in wanted.items():
        content, reported, total = said[key]
        accumulators = [each.summary.metrics["powerKw"].accumulator for each in by_serial.values()]
        merged = content.metrics["powerKw"].accumulator
        assert reported == len(by_serial) <= total <= len(SERIALS)
        assert content.events == merged[COUNT] == sum(each[COUNT] for each in accumulators)
        assert exact_sum(merged) == pytest.approx(math.fsum(exact_sum(each) for each in accumulators), rel=1e-12, abs=1e-9)
        assert (merged[MIN], merged[MAX]) == (min(each[MIN] for each in accumulators), max(each[MAX] for each in accumulators))
        known = [each.summary.energy.kwh for each in by_serial.values() if each.summary.energy.kwh is not None]
        assert content.energy.kwh == (pytest.approx(math.fsum(known), abs=1e-9) if known else None)
        assert content.energy.covered_share == pytest.approx(len(known) / len(by_serial))


def test_means_weigh_messages_and_not_devices() -> None:
    world = World()
    world.send(part("A", 0, summary(1.0, 1.0, 1.0)), part("B", 0, summary(5.0)))
    (closed,) = world.quiet(HOUR_MS)
    assert mean(closed.result.summary.metrics["powerKw"].accumulator) == 2.0


def revisions(results: list[SiteResult]) -> list[tuple[int, int, int, int]]:
    """Minute, revision, devices reported and devices in all."""
    return [
        ((each.result.span.start_ms - NOON_MS) // MINUTE_MS, each.result.revision, each.devices_reported, each.devices_total)
        for each in results
    ]


def running(devices: int = 3, minutes: int = 3) -> World:
    """A site whose devices have had part in some minutes, all but the last of them closed."""
    world = World()
    for minute in range(minutes):
        world.send(*(part(serial, minute) for serial in SERIALS[:devices]))
    return world


def test_a_new_site_waits_for_its_devices_as_long_as_it_may() -> None:
    world = World()
    assert world.send(part("A", 0)) == []
    assert world.send(part("B", 0)) == []
    assert revisions(world.send(part("A", 1))) == [(0, 1, 2, 2)]


def test_a_window_closes_when_every_device_that_had_part_in_those_before_has_reported() -> None:
    world = running()
    assert world.send(part("A", 3)) == []
    assert world.send(part("C", 3)) == []
    assert revisions(world.send(part("B", 3))) == [(3, 1, 3, 3)]


def test_a_device_that_is_silent_holds_a_window_up_until_the_others_are_a_lateness_further() -> None:
    world = running()
    assert world.send(part("A", 3), part("B", 3)) == []
    assert revisions(world.send(part("A", 4))) == [(3, 1, 2, 3)]
    assert revisions(world.send(part("C", 3))) == [(3, 2, 3, 3)]


def test_a_device_that_has_been_silent_for_a_while_holds_up_nothing_and_still_counts() -> None:
    world = running()
    for minute in range(3, 8):
        world.send(part("A", minute), part("B", minute))
    assert revisions(world.send(part("A", 8), part("B", 8))) == [(8, 1, 2, 3)]


def test_an_hour_waits_a_minute_for_the_other_devices_and_not_for_the_next_hour() -> None:
    world = World()
    world.send(*(part(serial, minute) for minute in range(58, 62) for serial in "AB"))
    assert world.send(part("A", 59, window=Window.HOUR)) == []
    world.send(*(part(serial, 61) for serial in "AB"))
    hour, *_ = world.send(part("A", 62), part("B", 62))
    assert (hour.result.window, hour.devices_reported) == (Window.HOUR, 1)


def test_a_batch_gives_a_window_one_revision_however_many_parts_change_it() -> None:
    world = running()
    world.send(part("A", 3), part("B", 3), part("C", 3))
    changed = world.send(*(part(serial, 3, summary(9.0), revision=revision) for revision in (2, 3) for serial in "ABC"))
    assert revisions(changed) == [(3, 2, 3, 3)]


def test_what_changes_nothing_is_no_revision() -> None:
    world = running()
    world.send(part("A", 3), part("B", 3), part("C", 3))
    assert world.send(part("A", 3), part("A", 2)) == [], "known already"
    assert world.send(part("A", 3, revision=2)) == [], "another revision that says the same"
    assert world.send(part("A", 3, summary(1.0), revision=1)) == [], "an older one"


def test_a_device_whose_clock_runs_ahead_does_not_close_the_windows_of_the_others() -> None:
    world = running()
    at_ms = NOON_MS + 4 * MINUTE_MS + 30_000
    assert world.send(part("C", 50), arrived_ms=at_ms) == []
    assert world.send(part("A", 3), arrived_ms=at_ms) == []
    assert revisions(world.send(part("B", 3), arrived_ms=at_ms)) == [(3, 1, 2, 3)], "C has nothing to say of it any more"


def test_the_last_windows_of_a_site_close_when_time_has_gone_on() -> None:
    world = World()
    world.send(part("A", 0))
    assert world.quiet(POLICY.windows.quiet_ms - 1) == []
    assert revisions(world.quiet(POLICY.windows.quiet_ms)) == [(0, 1, 1, 1)]
    world.send(part("A", 0, window=Window.HOUR))
    assert [each.result.window for each in world.quiet(ALL_CLOSED_MS)] == [Window.HOUR]
    assert world.quiet(2 * ALL_CLOSED_MS) == []


def test_a_device_that_moved_counts_at_its_new_site_only() -> None:
    world = running()
    world.send(*(part(serial, minute, site=8) for minute in range(3, 6) for serial in "CD"))
    for minute in range(3, 6):
        world.send(part("A", minute), part("B", minute))
    counts = {(site, (start_ms - NOON_MS) // MINUTE_MS): said[1:] for (site, _, start_ms), said in world.last().items()}
    assert counts[SITE, 2] == (3, 3)
    assert counts[SITE, 3] == counts[SITE, 4] == (2, 2)
    assert counts[8, 3] == (2, 2)
    world.send(part("C", 6), part("A", 6), part("B", 6), part("D", 6, site=8))
    world.send(part("C", 7), part("A", 7), part("B", 7), part("D", 7, site=8))
    assert world.last()[SITE, Window.MINUTE, NOON_MS + 6 * MINUTE_MS][1:] == (3, 3)
    assert world.last()[8, Window.MINUTE, NOON_MS + 6 * MINUTE_MS][1:] == (1, 1)


def test_a_device_that_comes_later_does_not_count_in_windows_before() -> None:
    world = running(devices=2)
    world.send(part("C", 3), part("A", 3), part("B", 3))
    world.quiet(ALL_CLOSED_MS)
    assert [said[2] for _, said in sorted(world.last().items())] == [2, 2, 2, 3]


def test_windows_that_nothing_can_correct_any_more_are_forgotten_with_their_parts() -> None:
    world = World()
    for hour in range(0, 24 * 6, 2):
        world.send(part("A", hour * 60), part("B", hour * 60), part("A", hour * 60, window=Window.HOUR))
    kept_hours = (POLICY.windows.kept_ms + HOUR_MS) // HOUR_MS
    # Per two hours a window of a minute with two parts, and one of an hour with one; and a few records of the site itself.
    assert len(world.records.stored) <= kept_hours // 2 * 5 + 20
    assert world.send(part("A", 0, summary(99.0), revision=2)) == []
    site = find(world.records, Site, site_record_key(SITE))
    assert site is not None
    assert site.late_parts == 1


def test_what_is_open_is_seen_too_and_seeing_changes_nothing() -> None:
    world = running()
    world.send(part("A", 3))
    before = dict(world.records.stored)
    found = current_windows(SITE, world.records, Window.MINUTE, **FOR_EVER)
    assert found is not None
    assert revisions(found) == [(3, 0, 1, 3), (2, 1, 3, 3), (1, 1, 3, 3), (0, 1, 3, 3)]
    assert [each.result for each in found[1:]] == [each.result for _, each in reversed(world.published)]
    some = current_windows(SITE, world.records, Window.MINUTE, limit=1, start_ms=0, end_ms=NOON_MS + 2 * MINUTE_MS)
    assert revisions(some or []) == [(1, 1, 3, 3)]
    assert current_windows(99, world.records, Window.MINUTE, **FOR_EVER) is None
    world.records.forget()
    assert world.records.stored == before


def test_what_is_published_is_the_event_of_the_contract() -> None:
    world = World()
    world.send(part("A", 0, summary(1.0, kwh=0.5)), part("B", 0, summary(3.0, kwh=0.25)), part("C", 0, summary(2.0, kwh=0.25, share=0.5)))
    (closed,) = world.quiet(HOUR_MS)
    event = decode(SiteAggregateEvent, site_event(SITE, closed, None))
    assert event.event_id == "site-7:1m:2025-10-04T12:00:00Z:1"
    assert (event.devices_reported, event.devices_total, event.event_count) == (3, 3, 3)
    assert (event.energy_kwh, event.energy_covered_share, event.energy_quality) == (1.0, 0.833333, EnergyQuality.GAP.name)
    assert event.metrics["powerKw"].mean == 2.0
    view = site_view(SITE, [closed])
    assert view["siteId"] == SITE
    assert orjson.loads(orjson.dumps(view))["windows"][0]["devicesTotal"] == 3
