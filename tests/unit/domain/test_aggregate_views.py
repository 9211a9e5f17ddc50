"""The answer of `/aggregates`, as the contract has it."""

import orjson
import pytest

from ems_streams.domain.aggregate_views import aggregates_view, latest_metrics, total_view, window_view
from ems_streams.domain.aggregates import DeviceAggregates, fold
from ems_streams.domain.aggregates_codec import decode, encode
from ems_streams.domain.device_windows import WindowResult
from ems_streams.domain.fold_outcome import NOT_YET_MS
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.window_reading import current_windows
from ems_streams.domain.windows import Window
from tests.unit.domain.builders import NOON_MS, POLICY, SERIAL, Device, folded, identity, minutes, record


def current(device: Device, limit: int, end_ms: int = NOT_YET_MS) -> list[WindowResult]:
    return current_windows(device.state, device.quarters, POLICY, Window.MINUTE, limit=limit, end_ms=end_ms)


def test_the_answer_has_the_contracts_form() -> None:
    device = Device()
    device.send(
        record(NOON_MS, {"powerKw": 1.0}),
        record(NOON_MS + 1000, {"powerKw": 3.0}),
        record(NOON_MS + MINUTE_MS, {"voltage": 480.5}),
        record(NOON_MS + MINUTE_MS + 1, {"voltage": 480.5}),
    )
    voltage = {"sum": 961.0, "min": 480.5, "max": 480.5, "mean": 480.5, "last": 480.5, "stddev": 0.0}
    power = {"sum": 4.0, "min": 1.0, "max": 3.0, "mean": 2.0, "last": 3.0, "stddev": 1.0}
    assert orjson.loads(orjson.dumps(aggregates_view(device.state, current(device, 2)))) == {
        "serialNumber": SERIAL,
        "total": {"metrics": {"powerKw": {"count": 2, **power}, "voltage": {"count": 2, **voltage}}},
        "windows": [
            {
                "window": "1m",
                "windowStart": "2025-10-04T12:01:00Z",
                "windowEnd": "2025-10-04T12:02:00Z",
                "revision": 0,
                "eventCount": 2,
                "metrics": {"voltage": {"count": 2, **voltage, "p50": 480.5, "p95": 480.5, "p99": 480.5}},
                "energyKwh": None,
                "energyQuality": "GAP",
                "energyCoveredShare": 0.0,
            },
            {
                "window": "1m",
                "windowStart": "2025-10-04T12:00:00Z",
                "windowEnd": "2025-10-04T12:01:00Z",
                "revision": 0,
                "eventCount": 2,
                # Of two values, the middle one and those near the top are the lower, within the error of the sketch.
                "metrics": {"powerKw": {"count": 2, **power} | dict.fromkeys(("p50", "p95", "p99"), pytest.approx(1.0, rel=0.01))},
                "energyKwh": pytest.approx(2.0 / 3600),
                "energyQuality": "GAP",
                "energyCoveredShare": 0.016667,
            },
        ],
    }


def test_windows_come_newest_first_and_at_most_the_limit() -> None:
    device = Device()
    device.send(*(record(time_ms, metrics) for time_ms, metrics in [*minutes(4, first=3), *minutes(3)]))
    starts = [window_view(result)["windowStart"] for result in current(device, 100)]
    assert starts == sorted(starts, reverse=True)
    assert len(starts) == 7
    assert [window_view(result)["windowStart"] for result in current(device, 2)] == starts[:2]
    assert [window_view(result)["windowStart"] for result in current(device, 2, NOON_MS + 4 * MINUTE_MS)] == starts[3:5]
    assert current(device, 0) == current(device, -1) == []


def test_open_and_closed_windows_are_told_apart_by_their_revision() -> None:
    device = Device()
    device.send(record(NOON_MS, {"powerKw": 1.0}), record(NOON_MS + MINUTE_MS, {"powerKw": 2.0}))
    device.send(record(NOON_MS + 2 * MINUTE_MS, {"powerKw": 3.0}))
    device.send(record(NOON_MS + 1, {"powerKw": 4.0}))
    assert [result.revision for result in current(device, 10)] == [0, 0, 2]


def test_views_leave_the_state_alone() -> None:
    device = Device()
    device.send(*(record(time_ms, metrics) for time_ms, metrics in minutes(15)))
    before = encode(decode(encode(device.state))), dict(device.quarters.stored)
    first = aggregates_view(device.state, current(device, 10)), latest_metrics(device.state)
    assert (aggregates_view(device.state, current(device, 10)), latest_metrics(device.state)) == first
    assert (encode(device.state), device.quarters.stored) == before


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
    assert latest_metrics(state) == ({"temperature": 36.0, "powerKw": 11.0, "voltage": 480.0}, NOON_MS + 11 * MINUTE_MS + 5)
    assert latest_metrics(DeviceAggregates(SERIAL)) == ({}, None)


def test_latest_metrics_agree_with_the_total_for_a_clock_that_was_ahead() -> None:
    state = folded([(NOON_MS + 10**9, {"powerKw": 9.0})], arrived_ms=NOON_MS)
    fold(state, record(NOON_MS, {"powerKw": 1.0}), identity(100), 100, NOON_MS, POLICY)
    assert latest_metrics(state) == ({"powerKw": 9.0}, NOON_MS + 10**9)
    assert total_view(state)["metrics"]["powerKw"]["last"] == 9.0
