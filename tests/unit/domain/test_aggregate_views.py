"""The answer of `/aggregates`, as the contract has it."""

import orjson

from ems_streams.domain.aggregate_views import aggregates_view, latest_metrics, total_view, window_views
from ems_streams.domain.aggregates import DeviceAggregates, decode, encode, fold
from ems_streams.domain.timestamps import MINUTE_MS
from tests.unit.domain.builders import NOON_MS, SERIAL, folded, identity, minutes, record


def test_the_answer_has_the_contracts_form() -> None:
    state = folded([(NOON_MS, {"powerKw": 1.0}), (NOON_MS + 1000, {"powerKw": 3.0}), (NOON_MS + MINUTE_MS, {"voltage": 480.5})])
    assert orjson.loads(orjson.dumps(aggregates_view(state, limit=1))) == {
        "serialNumber": SERIAL,
        "total": {
            "metrics": {
                "powerKw": {"count": 2, "sum": 4.0, "min": 1.0, "max": 3.0, "mean": 2.0, "last": 3.0, "stddev": 1.0},
                "voltage": {"count": 1, "sum": 480.5, "min": 480.5, "max": 480.5, "mean": 480.5, "last": 480.5, "stddev": 0.0},
            }
        },
        "windows": [
            {
                "window": "1m",
                "windowStart": "2025-10-04T12:01:00Z",
                "windowEnd": "2025-10-04T12:02:00Z",
                "revision": 1,
                "metrics": {"voltage": {"count": 1, "sum": 480.5, "min": 480.5, "max": 480.5, "mean": 480.5, "last": 480.5, "stddev": 0.0}},
            }
        ],
    }


def test_windows_come_newest_first_and_at_most_the_limit() -> None:
    state = folded([*minutes(4, first=3), *minutes(3)])
    starts = [view["windowStart"] for view in window_views(state, 100)]
    assert starts == sorted(starts, reverse=True)
    assert len(starts) == 7
    assert [view["windowStart"] for view in window_views(state, 2)] == starts[:2]
    assert window_views(state, 0) == window_views(state, -1) == []


def test_the_revision_of_a_window_grows_with_every_event() -> None:
    state = DeviceAggregates(SERIAL)
    revisions = []
    for offset, metrics in enumerate([{"powerKw": 1.0}, {"voltage": 1.0}, {"current": 2.0}, {"powerKw": 1.0}]):
        fold(state, record(NOON_MS, metrics), identity(offset), offset)
        revisions.append(window_views(state, 1)[0]["revision"])
    assert revisions == sorted(set(revisions))


def test_views_leave_the_state_alone() -> None:
    state = decode(encode(folded(minutes(15))))
    before = encode(decode(encode(state)))
    first = aggregates_view(state, 10), latest_metrics(state)
    assert (aggregates_view(state, 10), latest_metrics(state)) == first
    assert encode(state) == before


def test_the_total_does_not_change_when_it_is_read() -> None:
    state = folded(minutes(12))
    assert total_view(state) == total_view(state)
    assert total_view(state)["metrics"]["powerKw"]["count"] == 12


def test_latest_metrics_are_the_newest_of_each() -> None:
    state = folded(
        [
            (NOON_MS - 10, {"temperature": 35.2}),
            *minutes(12),
            (NOON_MS + 11 * MINUTE_MS + 5, {"voltage": 480.0}),
            (NOON_MS - 5, {"powerKw": -1.0, "temperature": 36.0}),
        ]
    )
    assert state.late_events == 1
    assert latest_metrics(state) == ({"temperature": 36.0, "powerKw": 11.0, "voltage": 480.0}, NOON_MS + 11 * MINUTE_MS + 5)
    assert latest_metrics(DeviceAggregates(SERIAL)) == ({}, None)


def test_latest_metrics_agree_with_the_total_for_a_clock_that_was_ahead() -> None:
    state = folded([(NOON_MS + 10**9, {"powerKw": 9.0})], arrived_ms=NOON_MS)
    fold(state, record(NOON_MS, {"powerKw": 1.0}), identity(100), 100, NOON_MS)
    assert latest_metrics(state) == ({"powerKw": 9.0}, NOON_MS + 10**9)
    assert total_view(state)["metrics"]["powerKw"]["last"] == 9.0
