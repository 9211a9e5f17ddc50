"""Stored forms of the records of sites, and what sites tell each other."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.site_codec import decode, encode
from ems_streams.domain.site_membership import Joined, Left, decode_site_record, locate
from ems_streams.domain.site_records import (
    SITES_KEY,
    Day,
    Member,
    Part,
    Roster,
    Site,
    SiteRecord,
    Sites,
    SiteWindow,
    Whereabouts,
    WindowKey,
    day_key,
    member_key,
    part_key,
    roster_key,
    site_record_key,
    whereabouts_key,
    window_key,
)
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.domain.windows import Span, Window
from ems_streams.errors import MalformedError
from tests.unit.domain.builders import NOON_MS
from tests.unit.domain.site_builders import MemoryRecords, part

times_ms = st.integers(min_value=-1, max_value=253_370_764_800_000)
counts = st.integers(min_value=0, max_value=2**32 - 1)
site_ids = st.integers(min_value=0, max_value=2**63 - 1)
per_window = st.lists(times_ms, min_size=len(Window), max_size=len(Window))
keys = st.builds(WindowKey, st.sampled_from(Window), times_ms)
serials = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}", fullmatch=True)
records = st.one_of(
    st.builds(Sites, st.lists(site_ids)),
    st.builds(
        Site,
        times_ms,
        times_ms,
        times_ms,
        times_ms,
        counts,
        per_window,
        st.dictionaries(keys, times_ms, max_size=5),
        st.lists(st.integers(min_value=0, max_value=3_000_000)),
    ),
    st.builds(Roster, st.lists(serials, max_size=5)),
    st.builds(Member, counts, times_ms, times_ms, per_window),
    st.builds(Day, st.sets(keys, max_size=5)),
    st.builds(SiteWindow, times_ms, st.integers(min_value=0, max_value=2**2000), counts, counts, counts, st.binary()),
    st.builds(Part, counts, st.binary()),
    st.builds(Whereabouts, site_ids, times_ms),
)


@given(records)
def test_what_is_stored_is_what_is_read(record: SiteRecord) -> None:
    assert decode(encode(record)) == record


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x12\x00", b"\x14", encode(Site()) + b"\x00", encode(Member(0, 0))[:-1], b"\x15\x09" + bytes(8)]
)
def test_what_is_no_record_is_told(data: bytes) -> None:
    with pytest.raises(StateCodecError):
        decode(data)


def test_no_two_records_share_a_key_and_none_has_that_of_the_positions() -> None:
    key = WindowKey(Window.MINUTE, NOON_MS)
    found = [
        SITES_KEY,
        site_record_key(1),
        roster_key(1),
        member_key(1, "A"),
        day_key(1, 20_000),
        window_key(1, key),
        part_key(1, key, "A"),
        whereabouts_key("A"),
        site_record_key(2),
        window_key(1, WindowKey(Window.QUARTER, NOON_MS)),
        part_key(1, key, "B"),
    ]
    assert len(set(found)) == len(found)
    assert not any(each.startswith(b"\x00") for each in found)


@pytest.mark.parametrize("event", [part("A", 3), Joined("A", 7, NOON_MS), Left("A", 7, NOON_MS)])
def test_a_record_of_site_parts_is_read_as_it_was_written(event: object) -> None:
    assert decode_site_record(event.encode()) == event


@pytest.mark.parametrize("value", [None, b"", b"{}", b"[1]", b"\n", b'{"siteId":1}\n', b'{"joined":"A","siteId":"x","since":1}', b"\xff"])
def test_what_is_none_is_malformed(value: bytes | None) -> None:
    with pytest.raises(MalformedError):
        decode_site_record(value)


def test_a_part_that_could_not_be_merged_or_shown_is_malformed_at_once() -> None:
    good = part("A", 3)
    stored = good.summary.stored
    broken = [
        replace(good, summary=replace(good.summary, stored=stored[:-1])),
        replace(good, summary=replace(good.summary, stored=b"\xff" + stored[1:])),
        replace(good, serial_number="A\0B"),
        replace(good, revision=0),
        replace(good, span=Span(good.span.end_ms, good.span.start_ms)),
        replace(good, span=Span(good.span.start_ms, 2**62)),
    ]
    for each in broken:
        with pytest.raises(MalformedError):
            decode_site_record(each.encode())


def test_the_site_that_a_device_was_at_is_told_and_no_other() -> None:
    known = MemoryRecords()
    assert locate(Joined("A", 1, 100), known) is None
    assert locate(Joined("A", 1, 200), known) is None
    assert locate(Joined("A", 2, 300), known) == Left("A", 1, 300)
    assert locate(Joined("A", 1, 250), known) == Left("A", 1, 300), "what comes late is told where the device is now"
    assert locate(Joined("B", 1, 300), known) is None


def test_of_two_sites_at_the_same_time_one_has_the_device() -> None:
    for first, second in ((1, 2), (2, 1)):
        known = MemoryRecords()
        locate(Joined("A", first, 100), known)
        assert locate(Joined("A", second, 100), known) == Left("A", 1, 101)
