"""The hot decoders, compiled and not, accept, refuse and read exactly what the model of the event does."""

import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain import telemetry_record
from ems_streams.domain.events import TelemetryEvent, decode
from ems_streams.domain.telemetry_record import TelemetryRecord, decode_telemetry_record, decode_uncompiled, scan
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.errors import MalformedError

GOOD: dict[str, Any] = {
    "deviceId": 123,
    "serialNumber": "INV-001",
    "siteId": 1,
    "deviceType": "SOLAR_INVERTER",
    "telemetryData": {"powerKw": 45.2, "voltage": 480.5, "current": 94.3, "temperature": 35.2, "efficiency": 98.5},
    "timestamp": "2025-10-04T10:15:00Z",
    "eventType": "DEVICE_TELEMETRY",
}


def dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")


def by_the_model(value: bytes) -> TelemetryRecord | str:
    try:
        event = decode(TelemetryEvent, value)
    except MalformedError as error:
        return str(error)
    return TelemetryRecord(
        event.serial_number,
        event.device_id,
        event.site_id,
        event.device_type,
        event.telemetry_data,
        to_epoch_ms(event.timestamp),
        event.message_id,
    )


def outcome_of(decode_value: Callable[[bytes], TelemetryRecord], value: bytes) -> TelemetryRecord | str:
    try:
        return decode_value(value)
    except MalformedError as error:
        return str(error)


def assert_same(value: bytes) -> TelemetryRecord | str:
    expected, found = by_the_model(value), outcome_of(decode_telemetry_record, value)
    assert found == expected
    assert outcome_of(decode_uncompiled, value) == expected
    if isinstance(found, TelemetryRecord) and isinstance(expected, TelemetryRecord):
        # Equal is not the same: a zero has a sign, which states would keep.
        assert bits_of(found) == bits_of(expected)
    return found


def bits_of(record: TelemetryRecord) -> list[tuple[str, bytes]]:
    return [(name, struct.pack("<d", value)) for name, value in record.metrics.items()]


def changed(**changes: Any) -> bytes:
    return dumped(GOOD | changes)


def without(field: str) -> bytes:
    return dumped({name: value for name, value in GOOD.items() if name != field})


def test_the_example_of_the_contract() -> None:
    assert decode_telemetry_record(dumped(GOOD)) == TelemetryRecord(
        "INV-001", 123, 1, "SOLAR_INVERTER", GOOD["telemetryData"], 1_759_572_900_000, None
    )


def mixed(*values: Any) -> tuple[Any, ...]:
    return values


ACCEPTED: list[bytes] = [
    dumped(GOOD),
    b" \n" + dumped(GOOD) + b"\r\n\t",
    changed(messageId="m-1"),
    changed(messageId=None),
    changed(messageId=""),
    changed(unknown={"a": [1, None]}, timestampMs="x"),
    without("eventType"),
    changed(deviceId=0, siteId=2**63 - 1),
    changed(deviceType=""),
    changed(deviceType="Zähler\u0000"),
    changed(telemetryData={"a": 1, "b": -0.0, "c": 1e300, "d": 5e-324, "e": 2**64}),
    changed(telemetryData={f"m{number}": number for number in range(64)}),
    changed(telemetryData={"A" * 64: 1}),
    changed(serialNumber="a" * 64),
    changed(serialNumber="0_.:-"),
    *(
        changed(timestamp=text)
        for text in (
            "2025-10-04T10:15:00.123Z",
            "2025-10-04T10:15:00.123456Z",
            "2025-10-04T10:15:00.0009Z",
            "2025-10-04T10:15:00.1234564Z",
            "2025-10-04T10:15:00+02:00",
            "2025-10-04T10:15:00-0730",
            "2025-10-04 10:15:00Z",
            "2025-10-04t10:15:00z",
            "1970-01-01T00:00:00Z",
            "9998-12-31T23:59:59.999Z",
            "2024-02-29T00:00:00Z",
            "1759572900",
            1_759_572_900,
            1_759_572_900.25,
            1_759_572_900_123,
        )
    ),
]

REFUSED: list[bytes] = [
    b"null",
    b"[]",
    b"1",
    b'"text"',
    b"{}",
    b"{",
    b"not json",
    b"\xff\xfe",
    b"\xef\xbb\xbf" + dumped(GOOD),
    dumped(GOOD) + b"x",
    dumped(GOOD) * 2,
    dumped(GOOD)[:-1],
    dumped(GOOD).replace(b"INV-001", b"INV-\xff01"),
    dumped(GOOD).replace(b"45.2", b"NaN"),
    dumped(GOOD).replace(b"45.2", b"Infinity"),
    dumped(GOOD).replace(b"45.2", b"1e400"),
    dumped(GOOD).replace(b"45.2", b"-1e400"),
    dumped(GOOD).replace(b"45.2", b"045.2"),
    dumped(GOOD).replace(b"45.2", b"9" * 400),
    b"[" * 100_000,
    *(without(field) for field in GOOD if field != "eventType"),
    *(
        changed(telemetryData=metrics)
        for metrics in mixed(
            {},
            [],
            None,
            "powerKw",
            {"powerKw": None},
            {"powerKw": True},
            {"powerKw": "45.2"},
            {"powerKw": [45.2]},
            {"powerKw": {}},
            {"": 1},
            {"1a": 1},
            {"_a": 1},
            {"power kW": 1},
            {"leistung_ä": 1},
            {"powerKw\n": 1},
            {"A" * 65: 1},
            {f"m{number}": number for number in range(65)},
        )
    ),
    *(changed(serialNumber=serial) for serial in ("", "-a", "a" * 65, "a b", "a/b", "INV-001\n", "ä", None, 1)),
    *(changed(deviceId=number) for number in (-1, 2**63, 2**64, 2**70, 1.0, 1.5, "1", True, None)),
    *(changed(siteId=number) for number in (-1, 2**63, 1.0, "1", None)),
    *(changed(deviceType=kind) for kind in (None, 1)),
    *(changed(eventType=kind) for kind in (None, "", "DEVICE_STATUS_CHANGE", 1)),
    *(changed(messageId=message) for message in mixed(1, True, {})),
    *(
        changed(timestamp=text)
        for text in mixed(
            "2025-10-04T10:15:00",
            "2025-10-04",
            "2025-13-04T10:15:00Z",
            "2025-02-29T10:15:00Z",
            "2025-10-04T24:15:00Z",
            "2025-10-04T10:15:60Z",
            "20251004T101500Z",
            "2025-W40-6T10:15:00Z",
            "yesterday",
            "",
            None,
            True,
            {},
            -1,
            "1969-12-31T23:59:59.999Z",
            "9999-01-01T00:00:00Z",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            "10000-01-01T00:00:00Z",
        )
    ),
]


USUAL = [
    dumped(GOOD),
    changed(messageId="m-1", timestamp="2025-10-04T10:15:00.123Z", telemetryData={"powerKw": 45}),
    json.dumps(GOOD).encode(),
    json.dumps(GOOD, indent=2).encode() + b"\n",
    json.dumps(dict(reversed(GOOD.items()))).encode(),
]
compiled = pytest.mark.skipif(scan(USUAL[0]) is None, reason="there is no C compiler here, so there is no scanner")


@pytest.mark.parametrize("value", ACCEPTED)
def test_good_records_are_read_as_the_model_reads_them(value: bytes) -> None:
    found = assert_same(value)
    assert isinstance(found, TelemetryRecord)
    assert all(type(metric) is float for metric in found.metrics.values())


@pytest.mark.parametrize("value", REFUSED)
def test_bad_records_are_refused_with_the_models_words(value: bytes) -> None:
    assert isinstance(assert_same(value), str)


@pytest.mark.parametrize("value", [b"", None])
def test_a_record_without_a_value_is_refused(value: bytes | None) -> None:
    with pytest.raises(MalformedError, match="empty"):
        decode_telemetry_record(value)


def test_an_error_names_field_value_and_expectation() -> None:
    with pytest.raises(MalformedError, match=r"invalid_field: telemetryData\.powerKw='45\.2': .*number"):
        decode_telemetry_record(changed(telemetryData={"powerKw": "45.2"}))


def test_the_usual_record_does_not_take_the_careful_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(value: bytes | None) -> TelemetryRecord:
        raise AssertionError(value)

    monkeypatch.setattr(telemetry_record, "_decode_carefully", fail)
    for value in USUAL:
        decode_uncompiled(value)


@compiled
@pytest.mark.parametrize("value", USUAL)
def test_the_usual_record_is_scanned(value: bytes) -> None:
    assert scan(value) == decode_uncompiled(value)
    assert scan(value.rstrip()[:-1]) is None
    assert scan(value + b"}") is None


@compiled
def test_records_compare_by_their_fields_and_do_not_change() -> None:
    record = decode_telemetry_record(USUAL[1])
    assert record != decode_telemetry_record(USUAL[0])
    assert repr(record) == "TelemetryRecord('INV-001', 123, 1, 'SOLAR_INVERTER', {'powerKw': 45.0}, 1759572900123, 'm-1')"
    with pytest.raises(AttributeError):
        record.timestamp_ms = 1  # type: ignore[misc]  # what is tried is that it fails


@compiled
def test_more_names_than_are_remembered_are_read_all_the_same() -> None:
    """What is full then stays full for the tests that follow, and only costs time."""
    for number in range(5_000):
        assert_same_uncompiled(changed(telemetryData={f"name_{number}": number}, deviceType=f"TYPE_{number}"))


def assert_same_uncompiled(value: bytes) -> None:
    assert decode_telemetry_record(value) == decode_uncompiled(value)


@pytest.mark.parametrize(("fraction", "timestamp_ms"), [(".1239994", 123), (".1239996", 124), (".9999999", 1000)])
def test_times_finer_than_a_microsecond_are_rounded(fraction: str, timestamp_ms: int) -> None:
    found = decode_telemetry_record(changed(timestamp=f"2025-10-04T10:15:00{fraction}Z"))
    assert found.timestamp_ms == 1_759_572_900_000 + timestamp_ms


def test_of_a_metric_that_occurs_twice_the_last_value_counts() -> None:
    value = dumped(GOOD).replace(b'"voltage"', b'"powerKw"')
    assert assert_same(value) == decode_telemetry_record(value)
    assert decode_telemetry_record(value).metrics["powerKw"] == 480.5


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("2025-10-04T10:15:00Z"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "messageId", "other"]), json_values, max_size=3))
def test_whatever_a_field_holds_both_agree(changes: dict[str, Any]) -> None:
    assert_same(changed(**changes))


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=66) | st.from_regex(r"\A[A-Za-z][A-Za-z0-9_]{0,63}\n?\Z"), st.floats() | st.integers(), max_size=5
    )
)
def test_whatever_the_metrics_are_both_agree(metrics: dict[str, Any]) -> None:
    assert_same(changed(telemetryData=metrics))


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["r", "f", "e", "10"]))
def test_whatever_a_number_is_all_round_it_the_same(number: float, form: str) -> None:
    text = {"r": repr(number), "f": f"{number:f}", "e": f"{number:.20E}", "10": f"{number:.10g}"}[form]
    assert_same(dumped(GOOD).replace(b"45.2", text.encode()))


@given(
    st.sampled_from([0, 1]),
    st.integers(min_value=0),
    st.one_of(st.binary(max_size=2), st.sampled_from([b'"', b"\\", b"0", b".", b"-", b"e"])),
)
def test_whatever_a_damaged_record_is_all_agree(sample: int, place: int, damage: bytes) -> None:
    """Times finer than a microsecond and repeated metrics are the known exceptions; one damage makes neither."""
    value = USUAL[sample]
    at = place % len(value)
    assert_same(value[:at] + damage + value[at + 1 :])


@given(st.datetimes(), st.integers(min_value=-14 * 60, max_value=14 * 60), st.integers(min_value=0, max_value=9))
def test_whatever_the_time_is_both_agree(moment: Any, offset_min: int, digits: int) -> None:
    sign = "-" if offset_min < 0 else "+"
    fraction = f".{moment.microsecond:06d}000"[: digits + 1] if digits else ""
    offset = f"{sign}{abs(offset_min) // 60:02d}:{abs(offset_min) % 60:02d}"
    assert_same(changed(timestamp=f"{moment:%H:%M:%S}".join((f"{moment.year:04d}-{moment:%m-%d}T", fraction + offset))))


@given(st.binary(max_size=40), st.integers(min_value=0, max_value=300), st.integers(min_value=0, max_value=10))
def test_damaged_bytes_are_never_anything_but_malformed(noise: bytes, at: int, dropped: int) -> None:
    good = dumped(GOOD)
    assert_same(good[:at] + noise + good[at + dropped :])
