"""Rows of files as devices: what each says, what stays as it was, and what is wrong with it."""

import pytest

from ems_streams.domain.device_rows import BadRow, DeviceRow, devices_of
from ems_streams.domain.file_rows import Row, csv_rows
from ems_streams.domain.registry import RegistryEntry, provision, provisional_device_id
from ems_streams.domain.registry_import import compare
from ems_streams.errors import MalformedError

KNOWN = RegistryEntry(
    device_id=7,
    serial_number="INV-1",
    site_id=3,
    device_type="SOLAR_INVERTER",
    name="Roof",
    limits={"silenceTimeoutS": 60, "powerKw": {"max": 5}},
)
HEADER = "serialNumber,siteId,deviceType,deviceId,name,limits,provisioned"


def read_csv(*lines: str, header: str = HEADER, **renamed: str) -> list[DeviceRow | BadRow]:
    rows = csv_rows(f"{line}\n" for line in (header, *lines))
    return list(devices_of(rows, {"INV-1": KNOWN}.get, renamed, texts=True))


def read_json(**fields: object) -> DeviceRow | BadRow:
    (row,) = devices_of([Row(1, "", fields)], {"INV-1": KNOWN}.get, {}, texts=False)
    return row


def entry(row: DeviceRow | BadRow) -> RegistryEntry:
    assert isinstance(row, DeviceRow), row
    return row.entry


def test_a_new_device_gets_the_number_that_an_ingress_would_give_it() -> None:
    (row,) = read_csv(" NEW-1 , 5 ,,,,,")

    assert entry(row) == RegistryEntry(device_id=provisional_device_id("NEW-1"), serial_number="NEW-1", site_id=5)
    assert not isinstance(row, BadRow)
    assert not row.own_id


def test_what_a_row_does_not_say_stays_as_it_is() -> None:
    assert entry(read_csv("INV-1", header="serialNumber")[0]) == KNOWN
    assert entry(read_csv("INV-1,,,,,,")[0]) == KNOWN
    assert entry(read_csv("INV-1,4", header="serialNumber,siteId")[0]) == KNOWN.model_copy(update={"site_id": 4})


def test_whoever_is_in_a_file_is_registered_unless_the_row_says_otherwise() -> None:
    provisioned = provision("P-1", 3, "METER")
    rows = csv_rows(["serialNumber,provisioned\n", "P-1,\n", "P-1,TRUE\n"])
    plain, still = devices_of(rows, {"P-1": provisioned}.get, {}, texts=True)

    assert entry(plain) == provisioned.model_copy(update={"provisioned": False})
    assert entry(still) == provisioned


def test_limits_are_json_or_columns_of_their_own() -> None:
    (whole,) = read_csv('INV-1,,,,,"{""powerKw"": {""max"": 9}}",')
    (single,) = read_csv('INV-1,120,"{""max"": 2}"', header="serialNumber,limits.silenceTimeoutS,limits.current")

    assert entry(whole).limits == {"powerKw": {"max": 9}}
    assert entry(single).limits == {"silenceTimeoutS": 120, "powerKw": {"max": 5}, "current": {"max": 2}}


def test_null_takes_name_and_limits_away() -> None:
    cleared = entry(read_json(serialNumber="INV-1", name=None, limits=None))

    assert (cleared.name, cleared.limits, cleared.site_id) == (None, {}, 3)
    assert entry(read_json(serialNumber="INV-1", name="")).name is None
    assert entry(read_json(**{"serialNumber": "INV-1", "limits.silenceTimeoutS": None})).limits == {"powerKw": {"max": 5}}


def test_columns_may_be_called_otherwise() -> None:
    (row,) = read_csv("A-1;x,8", header="Serial No,Werk", **{"Serial No": "serialNumber", "Werk": "siteId"})
    assert isinstance(row, BadRow)
    (row,) = read_csv("A-1,8", header="Serial No,Werk", **{"Serial No": "serialNumber", "Werk": "siteId"})
    assert (entry(row).serial_number, entry(row).site_id) == ("A-1", 8)


@pytest.mark.parametrize(
    ("line", "field", "value", "expected"),
    [
        ("NEW 1,1,,,,,", "serialNumber", "'NEW 1'", "pattern"),
        (",1,,,,,", "serialNumber", "nothing", "expected a value"),
        ("NEW-1,,,,,,", "siteId", "nothing", "registry does not know it"),
        ("NEW-1,one,,,,,", "siteId", "'one'", "expected a valid integer"),
        ("NEW-1,1.0,,,,,", "siteId", "'1.0'", "expected a valid integer"),
        ("NEW-1,1_0,,,,,", "siteId", "'1_0'", "expected a valid integer"),
        ("NEW-1,-1,,,,,", "siteId", "'-1'", "expected a valid integer"),
        ("NEW-1,1,,9223372036854775808,,,", "deviceId", "9223372036854775808", "less than or equal"),
        ("NEW-1,1,9X,,,,", "deviceType", "'9X'", "pattern"),
        (f"NEW-1,1,,,{'n' * 201},,", "name", "'nnn", "at most 200 characters"),
        ("NEW-1,1,,,,high,", "limits", "'high'", "expected a valid JSON object"),
        ("NEW-1,1,,,,[1],", "limits", "an array", "expected a valid JSON object"),
        ('NEW-1,1,,,,"{""silenceTimeoutS"": -1}",', "limits.silenceTimeoutS", "-1", "expected seconds from 0"),
        ("NEW-1,1,,,,,perhaps", "provisioned", "'perhaps'", "expected a valid boolean"),
    ],
)
def test_a_bad_row_says_line_field_value_and_what_was_expected(line: str, field: str, value: str, expected: str) -> None:
    good, bad, same = read_csv("A-1,1,,,,,", line, "INV-1,,,,,,")

    assert isinstance(good, DeviceRow)
    assert isinstance(same, DeviceRow)
    assert isinstance(bad, BadRow)
    assert bad.row.line == 3
    (problem,) = bad.problems
    assert (problem.field, expected in problem.expected) == (field, True), problem
    assert (problem.value or "").startswith(value)


def test_all_that_is_wrong_with_a_row_is_said_at_once() -> None:
    (bad,) = read_csv("NEW 1,one,,x,,,")
    assert isinstance(bad, BadRow)
    assert sorted(str(each.field) for each in bad.problems) == ["deviceId", "serialNumber", "siteId"]


@pytest.mark.parametrize("serial", [7, None, ["A"], "\ud800", True])
def test_a_serial_number_that_is_no_text_is_a_bad_row_and_no_crash(serial: object) -> None:
    bad = read_json(serialNumber=serial, siteId=1)
    assert isinstance(bad, BadRow)
    assert "serialNumber" in {each.field for each in bad.problems}


def nested(levels: int) -> object:
    return [] if levels == 0 else [nested(levels - 1)]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": "\ud83d"}, "name"),
        ({"name": "B\udcfcro"}, "name"),
        ({"limits": {"powerKw": 2**64}}, "limits"),
        ({"limits": {"powerKw": nested(300)}}, "limits"),
        ({"limits.note": "\udcfc"}, "limits"),
        ({"limits": {"note": "n" * 65_536}}, "limits"),
    ],
)
def test_what_can_be_read_and_not_written_is_a_bad_row_and_no_crash(fields: dict[str, object], named: str) -> None:
    bad = read_json(serialNumber="NEW-1", siteId=1, **fields)
    assert isinstance(bad, BadRow)
    assert {each.field for each in bad.problems} == {named}


def test_a_comparison_tells_new_changed_same_and_missing_apart() -> None:
    known = {"INV-1": KNOWN, "GONE": provision("GONE", 1)}
    rows = csv_rows([f"{HEADER}\n", "INV-1,4,,,,,\n", "NEW-1,1,,,,,\n", "NEW-1,1,,,,,\n", "NEW-1,2,,,,,\n", "bad row\n"])

    found = compare(devices_of(rows, known.get, {}, texts=True), known)

    assert [each.serial_number for each in found.new] == ["NEW-1"]
    assert [each.differences for each in found.changed] == [{"siteId": (3, 4)}]
    assert (found.unchanged, found.good) == (1, 3)
    assert [each.row.line for each in found.bad] == [5, 6]
    assert "line 3 says something else" in str(found.bad[0].problems[0])
    assert [each.serial_number for each in found.missing] == ["GONE"]
    assert isinstance(found.bad[1].row.fields, MalformedError)


def test_a_number_belongs_to_one_device_but_what_is_so_already_may_stay() -> None:
    twin = RegistryEntry(device_id=7, serial_number="TWIN", site_id=3)
    known = {"INV-1": KNOWN, "TWIN": twin}
    header = "serialNumber,siteId,deviceId\n"

    taken = compare(devices_of(csv_rows([header, "NEW-1,1,7\n", "A-1,1,8\n", "A-2,1,8\n"]), known.get, {}, texts=True), known)
    same = compare(devices_of(csv_rows([header, "INV-1,3,7\n", "TWIN,3,7\n"]), known.get, {}, texts=True), known)
    swapped = compare(devices_of(csv_rows([header, "INV-1,3,9\n", "A-1,1,7\n"]), {"INV-1": KNOWN}.get, {}, texts=True), {"INV-1": KNOWN})

    assert [str(each.problems[0]) for each in taken.bad] == [
        "deviceId=7: expected a number of its own: it is that of the registered device 'TWIN'",
        "deviceId=8: expected a number of its own: it is that of 'A-1' in line 3",
    ]
    assert (same.unchanged, same.bad) == (2, [])
    assert (len(swapped.new), len(swapped.changed), swapped.bad) == (1, 1, [])
