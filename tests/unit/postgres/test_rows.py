"""What a record becomes, and what is told of one that becomes nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from ems_streams.domain.events import AggregateEvent, MetricStatistics, SiteAggregateEvent
from ems_streams.errors import MalformedError
from ems_streams.kafka.catalogue import DEVICE_AGGREGATES, DEVICE_NOTIFICATIONS, DEVICE_STATUS, SITE_AGGREGATES
from ems_streams.postgres import schema
from ems_streams.postgres.rows import Row, Source, row_of
from tests.support.sink import METRIC, TODAY, notification_of, record_of, site_window_of, transition_of, window_of

NOW_MS = int(datetime.now(UTC).timestamp() * 1000)
SOURCE = Source(partition=3, offset=41, timestamp_ms=NOW_MS)


def row(event: dict[str, Any]) -> Row:
    topic, _, value = record_of(event)
    return row_of(topic, value, SOURCE)


def as_dict(found: Row) -> dict[str, Any]:
    return dict(zip(found.table.columns, found.values, strict=True))


def reason(topic: str, value: bytes | None) -> str:
    with pytest.raises(MalformedError) as raised:
        row_of(topic, value, SOURCE)
    return raised.value.reason


def test_a_device_window_becomes_a_row_with_its_metrics_untouched() -> None:
    found = row(window_of("INV-1", 5, 2))

    assert found.table is schema.DEVICE_AGGREGATES
    assert found.key == ("INV-1", "1m", TODAY + timedelta(minutes=5), "")
    assert (found.revision, found.moment) == (2, TODAY + timedelta(minutes=5))
    values = as_dict(found)
    assert orjson.loads(values.pop("metrics")) == {"powerKw": METRIC}
    assert values | {"window_end": None} == {
        "serial_number": "INV-1", "window_size": "1m", "window_start": TODAY + timedelta(minutes=5), "window_end": None, "time_zone": "",
        "device_id": 1, "site_id": 7, "device_type": "SOLAR_INVERTER", "revision": 2, "event_count": 6, "energy_kwh": 0.75,
        "energy_quality": "MEASURED", "energy_covered_share": 0.98, "event_id": window_of("INV-1", 5, 2)["eventId"],
        "source_partition": 3, "source_offset": 41,
    }  # fmt: skip


def test_a_local_day_has_its_zone_in_its_key() -> None:
    found = row(window_of("INV-1", window="1d-local", timeZone="Europe/Berlin"))

    assert found.key == ("INV-1", "1d-local", TODAY, "Europe/Berlin")


def test_a_site_window_becomes_a_row() -> None:
    values = as_dict(row(site_window_of(9)))

    assert (values["site_id"], values["devices_reported"], values["devices_total"]) == (9, 2, 3)


def test_transitions_and_notifications_become_rows_that_nothing_revises() -> None:
    transition, notification = row(transition_of("INV-1")), row(notification_of("INV-1"))

    assert (transition.table, transition.key[0], transition.revision) == (schema.DEVICE_STATUS_EVENTS, "INV-1-1", 0)
    assert (notification.table, notification.key[0], notification.revision) == (schema.NOTIFICATIONS, "INV-1-1", 0)
    assert as_dict(transition)["new_status"] == "OFFLINE"
    assert orjson.loads(as_dict(notification)["data"]) == {"previousStatus": "ONLINE"}


def test_what_workers_encode_is_what_the_sink_takes() -> None:
    statistics = MetricStatistics.model_validate(METRIC | {"sum": None, "mean": None})
    common = {
        "event_id": "x", "site_id": 7, "window": "1d-local", "time_zone": "Europe/Berlin", "window_start": TODAY, "revision": 1,
        "window_end": TODAY + timedelta(days=1), "event_count": 6, "metrics": {"powerKw": statistics}, "energy_quality": "GAP",
        "energy_covered_share": 0.0,
    }  # fmt: skip
    device = AggregateEvent.model_validate(common | {"device_id": 1, "serial_number": "A", "device_type": "METER"})
    site = SiteAggregateEvent.model_validate(common | {"devices_reported": 1, "devices_total": 2})

    of_device, of_site = row_of(DEVICE_AGGREGATES, device.encode(), SOURCE), row_of(SITE_AGGREGATES, site.encode(), SOURCE)

    assert of_device.key == ("A", "1d-local", TODAY, "Europe/Berlin")
    assert of_site.key == (7, "1d-local", TODAY, "Europe/Berlin")
    assert (as_dict(of_device)["energy_kwh"], as_dict(of_device)["energy_quality"]) == (None, "GAP")


def test_fields_and_metrics_that_are_not_known_are_let_through() -> None:
    found = row(window_of("INV-1", metrics={"powerKw": {"p42": 1, "nested": {"a": [None]}}}, somethingNew=1, window="5m"))

    assert orjson.loads(as_dict(found)["metrics"]) == {"powerKw": {"p42": 1, "nested": {"a": [None]}}}


def test_energy_may_be_absent_or_null() -> None:
    absent = window_of("INV-1")
    del absent["energyKwh"]

    assert as_dict(row(absent))["energy_kwh"] is None
    assert as_dict(row(window_of("INV-1", energyKwh=None, timeZone=None)))["energy_kwh"] is None


@pytest.mark.parametrize(
    ("topic", "value", "expected"),
    [
        (DEVICE_AGGREGATES, None, "empty"),
        (DEVICE_STATUS, b"{", "invalid_json"),
        (DEVICE_NOTIFICATIONS, orjson.dumps(notification_of("A", kind="OTHER")), "invalid_field"),
        (SITE_AGGREGATES, orjson.dumps(site_window_of(1, devicesTotal=-1)), "invalid_field"),
        (DEVICE_AGGREGATES, orjson.dumps(window_of("A", revision=2**31)), "invalid_field"),
        (DEVICE_AGGREGATES, orjson.dumps(window_of("A", window="1 minute")), "invalid_field"),
        (DEVICE_AGGREGATES, orjson.dumps(window_of("A")).replace(b"0.75", b"NaN"), "invalid_json"),
        (DEVICE_AGGREGATES, orjson.dumps(window_of("A")).replace(b"30.5", b"-Infinity"), "invalid_json"),
        (DEVICE_AGGREGATES, orjson.dumps(window_of("A")).replace(b"30.5", b"1" + b"0" * 30), "invalid_field"),
        (DEVICE_AGGREGATES, orjson.dumps(window_of("A", day=TODAY + timedelta(days=40))), "too_far_ahead"),
    ],
)
def test_what_is_no_event_names_its_defect(topic: str, value: bytes | None, expected: str) -> None:
    assert reason(topic, value) == expected


def test_letters_of_no_number_are_welcome_in_texts() -> None:
    assert as_dict(row(transition_of("A", reason="NaN, or -Infinity")))["reason"] == "NaN, or -Infinity"


def test_a_time_is_too_far_ahead_of_its_record_and_not_of_the_clock() -> None:
    old = Source(0, 0, NOW_MS - 60 * 86_400_000)

    with pytest.raises(MalformedError, match="too_far_ahead"):
        row_of(DEVICE_AGGREGATES, orjson.dumps(window_of("A")), old)
