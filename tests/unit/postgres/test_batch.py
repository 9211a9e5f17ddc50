"""What is written at once of what was read: of revisions the greatest, and offsets to behind the last record."""

from datetime import UTC, datetime, timedelta

import pytest

from ems_streams.postgres import schema
from ems_streams.postgres.batch import Entry, batch_of, halves
from ems_streams.postgres.offsets import Move, Partition
from ems_streams.postgres.rows import Row, Source, row_of
from ems_streams.postgres.schema import DEVICE_AGGREGATES, DEVICE_STATUS_EVENTS
from tests.support.sink import Event, record_of, transition_of, window_of

A = Partition("device-aggregates", 0)
B = Partition("device-aggregates", 1)


def row(event: Event) -> Row:
    topic, _, value = record_of(event)
    return row_of(topic, value, Source(0, 0, int(datetime.now(UTC).timestamp() * 1000)))


def entry(partition: Partition, offset: int, event: Event | None) -> Entry:
    return Entry(partition, offset, None, None if event is None else row(event))


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_of_the_revisions_of_a_window_only_the_greatest_is_written(order: tuple[int, ...]) -> None:
    entries = [entry(A, offset, window_of("INV-1", 0, revision)) for offset, revision in enumerate(order)]

    batch = batch_of(entries, {A: 0}, {})

    assert [each.revision for each in batch.rows[DEVICE_AGGREGATES]] == [3]
    assert batch.moves == {A: Move(0, 3)}


def test_windows_that_differ_in_device_start_size_or_zone_are_different_rows() -> None:
    events = [
        window_of("INV-1"),
        window_of("INV-2"),
        window_of("INV-1", 1),
        window_of("INV-1", window="15m"),
        window_of("INV-1", window="1d-local", timeZone="Europe/Berlin"),
        window_of("INV-1", window="1d-local", timeZone="Asia/Kolkata"),
    ]

    batch = batch_of([entry(A, offset, event) for offset, event in enumerate(events)], {A: 0}, {})

    assert len(batch.rows[DEVICE_AGGREGATES]) == len(events)


def test_an_event_that_comes_twice_is_written_once() -> None:
    batch = batch_of([entry(A, 0, transition_of("INV-1")), entry(A, 1, transition_of("INV-1"))], {A: 0}, {})

    assert len(batch.rows[DEVICE_STATUS_EVENTS]) == 1


def test_offsets_move_past_gaps_and_past_what_has_no_row() -> None:
    entries = [entry(A, 7, window_of("INV-1")), entry(A, 11, None), entry(B, 3, None)]

    batch = batch_of(entries, {A: 5, B: 0}, {})

    assert batch.moves == {A: Move(5, 12), B: Move(0, 4)}
    assert batch_of(entries[2:], {B: 0}, {}).rows == {}


def test_rows_past_retention_are_left_out_and_counted() -> None:
    day = datetime(2026, 11, 20, tzinfo=UTC)
    entries = [entry(A, 0, window_of("INV-1", -1, day=day)), entry(A, 1, window_of("INV-1", 0, day=day))]

    batch = batch_of(entries, {A: 0}, {DEVICE_AGGREGATES: day})

    assert [each.moment for each in batch.rows[DEVICE_AGGREGATES]] == [day]
    assert (batch.expired, batch.moves) == (1, {A: Move(0, 2)})


def test_halves_keep_order_and_all() -> None:
    entries = [entry(A, offset, None) for offset in range(5)]

    left, right = halves(entries)

    assert [each.offset for each in (*left, *right)] == list(range(5))
    assert left
    assert right


def test_spans_begin_at_midnight_utc_whatever_the_zone_of_the_moment() -> None:
    moment = datetime(2026, 12, 31, 23, 30, tzinfo=UTC).astimezone()

    assert schema.Span.DAY.start_of(moment) == datetime(2026, 12, 31, tzinfo=UTC)
    assert schema.Span.MONTH.start_of(moment) == datetime(2026, 12, 1, tzinfo=UTC)
    assert schema.Span.MONTH.next_start(datetime(2026, 12, 1, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("table", schema.TABLES, ids=lambda table: table.name)
def test_names_of_partitions_can_be_read_back(table: schema.Table) -> None:
    start = table.span.start_of(datetime(2026, 2, 28, 12, tzinfo=UTC))

    assert table.start_of_partition(table.partition_name(start)) == start
    assert table.start_of_partition(f"{table.name}_default") is None
    assert table.span.next_start(start) - start >= timedelta(days=1)
