"""Rows of files as events."""

import pytest

from ems_streams.domain.backfill_rows import BadRow, GoodRow, csv_rows, events_of, json_rows
from ems_streams.domain.registry import RegistryEntry
from ems_streams.errors import MalformedError

KNOWN = RegistryEntry(device_id=7, serial_number="INV-1", site_id=3, device_type="SOLAR_INVERTER")


def read(rows, **options) -> list[GoodRow | BadRow]:
    return list(events_of(rows, {"INV-1": KNOWN}.get, **{"provision_unknown": True, **options}))


def test_a_row_of_a_known_device_needs_only_serial_time_and_metrics() -> None:
    (row,) = read(csv_rows(["serialNumber,timestamp,powerKw,voltage\n", "INV-1,2026-01-05T10:00:00Z,1.5,\n"]))
    assert isinstance(row, GoodRow)
    assert (row.event.device_id, row.event.site_id, row.event.device_type) == (7, 3, "SOLAR_INVERTER")
    assert row.event.telemetry_data == {"powerKw": 1.5}


def test_the_same_row_has_the_same_id_wherever_it_stands_and_another_row_another() -> None:
    one, other, third = read(
        json_rows(
            [
                '{"serialNumber":"INV-1","timestamp":"2026-01-05T10:00:00Z","powerKw":1.5}',
                '{"timestamp":"2026-01-05T10:00:00","serialNumber":"INV-1","telemetryData":{"powerKw":1.5}}',
                '{"serialNumber":"INV-1","timestamp":"2026-01-05T10:00:00Z","powerKw":1.6}',
            ]
        )
    )
    assert isinstance(one, GoodRow)
    assert isinstance(other, GoodRow)
    assert isinstance(third, GoodRow)
    assert one.event.message_id == other.event.message_id != third.event.message_id
    assert one.event.message_id is not None


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("INV-1,yesterday,1.0,,", "timestamp='yesterday'"),
        ("INV-1,2026-01-05T10:00:00Z,much,,", "telemetryData.powerKw='much'"),
        ("INV-1,2026-01-05T10:00:00Z,nan,,", "telemetryData.powerKw=nan"),
        ("INV-1,2026-01-05T10:00:00Z,,,", "telemetryData={}"),
        ("INV 1,2026-01-05T10:00:00Z,1.0,3,", "serialNumber='INV 1'"),
        ("NEW-1,2026-01-05T10:00:00Z,1.0,,", "siteId: expected"),
        ("INV-1,2026-01-05T10:00:00Z,1.0,4,", "siteId=4: the registry has the device at 3"),
        ("INV-1,2026-01-05T10:00:00Z", "2 cells, expected 5"),
    ],
)
def test_a_bad_row_is_named_with_its_line_and_its_neighbours_are_kept(row: str, named: str) -> None:
    good = "INV-1,2026-01-05T10:00:00Z,1.0,,"
    found = read(csv_rows(f"{line}\n" for line in ("serialNumber,timestamp,powerKw,siteId,deviceType", good, row, good)))
    assert [type(each) for each in found] == [GoodRow, BadRow, GoodRow]
    bad = found[1]
    assert isinstance(bad, BadRow)
    assert bad.line == 3
    assert named in bad.reason


def test_an_unknown_device_is_provisioned_or_refused() -> None:
    rows = ['{"serialNumber":"NEW-1","siteId":5,"timestamp":"2026-01-05T10:00:00Z","powerKw":1.5}']
    (row,) = read(json_rows(rows))
    assert isinstance(row, GoodRow)
    assert (row.event.site_id, row.registered) == (5, False)
    assert row.event.device_id > 0
    (refused,) = read(json_rows(rows), provision_unknown=False)
    assert isinstance(refused, BadRow)
    assert "unknown_device" in refused.reason


def test_a_header_without_the_columns_that_every_row_needs_is_refused() -> None:
    with pytest.raises(MalformedError, match="serialNumber and timestamp"):
        list(csv_rows(["timestamp,powerKw\n"]))
