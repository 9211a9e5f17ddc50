"""Payloads of devices: everything accepted is a valid event; everything else is named."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.device_topic import DeviceTopic, TopicKind
from ems_streams.domain.events import CommandAck, StatusReport, TelemetryEvent, decode, format_time
from ems_streams.domain.mqtt_payload import MAX_PAYLOAD_BYTES, encode_command_ack, encode_status_report, encode_telemetry
from ems_streams.domain.registry import Directory, RegistryEntry, provisional_device_id
from ems_streams.errors import MalformedError

TELEMETRY = DeviceTopic(1, "INV-001", TopicKind.TELEMETRY)
STATUS = DeviceTopic(1, "INV-001", TopicKind.STATUS)
ACK = DeviceTopic(1, "INV-001", TopicKind.ACK)
NOW_US = 1_760_000_000_123_456  # 2025-10-09T08:53:20.123456Z
NOW = "2025-10-09T08:53:20.123456Z"


class Entries(dict[str, RegistryEntry]):
    """A registry in memory."""

    def learn(self, entry: RegistryEntry) -> None:
        self[entry.serial_number] = entry


@pytest.fixture
def entries() -> Entries:
    return Entries()


@pytest.fixture
def directory(entries: Entries) -> Directory:
    return Directory(entries, provision_unknown=True)


def telemetry(payload: bytes, directory: Directory) -> dict[str, Any]:
    event: dict[str, Any] = orjson.loads(encode_telemetry(payload, TELEMETRY, NOW_US, directory))
    return event


def test_the_smallest_message_becomes_the_full_schema(directory: Directory) -> None:
    assert telemetry(b'{"powerKw": 45.2}', directory) == {
        "deviceId": provisional_device_id("INV-001"),
        "serialNumber": "INV-001",
        "siteId": 1,
        "deviceType": "UNKNOWN",
        "telemetryData": {"powerKw": 45.2},
        "timestamp": NOW,
        "eventType": "DEVICE_TELEMETRY",
    }


def test_the_full_event_of_the_contract_passes_through_unchanged(directory: Directory) -> None:
    event = {
        "deviceId": 123,
        "serialNumber": "INV-001",
        "siteId": 1,
        "deviceType": "SOLAR_INVERTER",
        "telemetryData": {"powerKw": 45.2, "voltage": 480.5, "current": 94.3, "temperature": 35.2, "efficiency": 98.5},
        "timestamp": "2025-10-04T10:15:00Z",
        "eventType": "DEVICE_TELEMETRY",
    }
    assert telemetry(json.dumps(event).encode(), directory) == event


def test_a_message_with_a_timestamp_gives_the_same_bytes_whenever_it_arrives(directory: Directory) -> None:
    payload = b'{"powerKw":1,"timestamp":"2025-10-04T10:15:00Z","messageId":"m-1"}'
    first = encode_telemetry(payload, TELEMETRY, NOW_US, directory)
    assert encode_telemetry(payload, TELEMETRY, NOW_US + 5_000_000, directory) == first


@pytest.mark.parametrize(
    ("given_time", "expected"),
    [
        ("2025-10-04T10:15:00Z", "2025-10-04T10:15:00Z"),
        ("2025-10-04T12:15:00+02:00", "2025-10-04T10:15:00Z"),
        ("2025-10-04T10:15:00.000Z", "2025-10-04T10:15:00Z"),
        ("2025-10-04T10:15:00.125Z", "2025-10-04T10:15:00.125Z"),
        ("2025-10-04T10:15:00.125400Z", "2025-10-04T10:15:00.125400Z"),
        ("2025-10-04T10:15:00.125000Z", "2025-10-04T10:15:00.125Z"),
        ("2025-10-04T10:15Z", "2025-10-04T10:15:00Z"),
        ("2025-10-10T08:53:20Z", "2025-10-10T08:53:20Z"),  # a day ahead, less some milliseconds
        (None, NOW),
    ],
)
def test_times_are_utc_in_one_spelling(given_time: str | None, expected: str, directory: Directory) -> None:
    assert telemetry(orjson.dumps({"powerKw": 1, "timestamp": given_time}), directory)["timestamp"] == expected


MALFORMED_TELEMETRY: list[tuple[str, bytes]] = [
    ("empty", b""),
    ("invalid_json", b"hello"),
    ("invalid_json", b'{"powerKw": 45.2'),
    ("invalid_json", b'{"powerKw": 45.2}}'),
    ("invalid_json", b"{'powerKw': 45.2}"),
    ("invalid_json", b'{"powerKw": NaN}'),
    ("invalid_json", b'{"powerKw": -Infinity}'),
    ("invalid_json", b'{"powerKw": 1e999}'),
    ("invalid_json", b'{"powerKw": 0x10}'),
    ("invalid_json", b'{"powerKw\xff": 1}'),
    ("invalid_json", b'\xef\xbb\xbf{"powerKw": 1}'),
    ("invalid_json", b'{"\\ud800": 1}'),
    ("invalid_json", b"[" * 100_000),
    ("invalid_json", b'{"a":' * 5_000 + b"1" + b"}" * 5_000),
    ("invalid_json", b"\x00\x01\x02"),
    ("not_an_object", b"45.2"),
    ("not_an_object", b"null"),
    ("not_an_object", b'[{"powerKw": 45.2}]'),
    ("no_metrics", b"{}"),
    ("no_metrics", b'{"telemetryData": {}}'),
    ("no_metrics", b'{"timestamp": "2025-10-04T10:15:00Z"}'),
    ("invalid_metric_value", b'{"powerKw": "45.2"}'),
    ("invalid_metric_value", b'{"powerKw": true}'),
    ("invalid_metric_value", b'{"powerKw": null}'),
    ("invalid_metric_value", b'{"powerKw": [45.2]}'),
    ("invalid_metric_value", b'{"powerKw": ' + b'{"a":' * 900 + b"1" + b"}" * 901),
    ("invalid_metric_value", b'{"powerKw": 45.2, "note": "' + b"x" * 900_000 + b'"}'),
    ("invalid_metric_name", b'{"": 1}'),
    ("invalid_metric_name", b'{"1power": 1}'),
    ("invalid_metric_name", b'{"power kw": 1}'),
    ("invalid_metric_name", '{"leistung\N{LATIN SMALL LETTER U WITH DIAERESIS}": 1}'.encode()),
    ("invalid_metric_name", b'{"' + b"a" * 65 + b'": 1}'),
    ("invalid_metric_name", b'{"powerKw\\n": 1}'),
    ("too_many_metrics", orjson.dumps({f"m{number}": number for number in range(65)})),
    ("too_large", b'{"powerKw": 45.2}' + b" " * MAX_PAYLOAD_BYTES),
    ("invalid_field", b'{"telemetryData": null}'),
    ("invalid_field", b'{"telemetryData": [1]}'),
    ("unknown_field", b'{"telemetryData": {"powerKw": 1}, "voltage": 480.5}'),
    ("unknown_field", b'{"telemetryData": {"powerKw": 1}, "firmware": "1.2"}'),
    ("invalid_timestamp", b'{"powerKw": 1, "timestamp": 1760000000}'),
    ("invalid_timestamp", b'{"powerKw": 1, "timestamp": "yesterday"}'),
    ("invalid_timestamp", b'{"powerKw": 1, "timestamp": ""}'),
    ("invalid_timestamp", b'{"powerKw": 1, "timestamp": "2025-10-04"}'),
    ("invalid_timestamp", b'{"powerKw": 1, "timestamp": "2025-10-04T10:15:00"}'),
    ("invalid_timestamp", b'{"powerKw": 1, "timestamp": "2025-02-30T10:15:00Z"}'),
    ("timestamp_out_of_range", b'{"powerKw": 1, "timestamp": "1970-01-01T00:00:00Z"}'),
    ("timestamp_out_of_range", b'{"powerKw": 1, "timestamp": "0001-01-01T00:00:00+14:00"}'),
    ("timestamp_out_of_range", b'{"powerKw": 1, "timestamp": "9999-12-31T23:59:59-14:00"}'),
    ("timestamp_out_of_range", b'{"powerKw": 1, "timestamp": "2025-10-10T08:53:21Z"}'),
    ("serial_mismatch", b'{"powerKw": 1, "serialNumber": "INV-002"}'),
    ("serial_mismatch", b'{"powerKw": 1, "serialNumber": 1}'),
    ("site_mismatch", b'{"powerKw": 1, "siteId": 2}'),
    ("site_mismatch", b'{"powerKw": 1, "siteId": "1"}'),
    ("site_mismatch", b'{"powerKw": 1, "siteId": true}'),
    ("invalid_field", b'{"powerKw": 1, "deviceId": "123"}'),
    ("invalid_field", b'{"powerKw": 1, "deviceId": 0}'),
    ("invalid_field", b'{"powerKw": 1, "deviceId": 1.0}'),
    ("invalid_field", b'{"powerKw": 1, "deviceType": 5}'),
    ("invalid_field", b'{"powerKw": 1, "messageId": 5}'),
    ("invalid_field", b'{"powerKw": 1, "messageId": ""}'),
    ("invalid_field", b'{"powerKw": 1, "messageId": "a\\u0000b"}'),
    ("invalid_field", b'{"powerKw": 1, "messageId": "' + b"a" * 129 + b'"}'),
]


@pytest.mark.parametrize(("reason", "payload"), MALFORMED_TELEMETRY, ids=[f"{r}-{p[:32]!r}" for r, p in MALFORMED_TELEMETRY])
def test_malformed_telemetry_is_named_and_registers_nobody(reason: str, payload: bytes, directory: Directory, entries: Entries) -> None:
    with pytest.raises(MalformedError) as caught:
        encode_telemetry(payload, TELEMETRY, NOW_US, directory)
    assert caught.value.reason == reason
    assert len(caught.value.detail) < 400
    assert not entries
    assert not directory.take_new()


def test_a_key_given_twice_counts_with_its_last_value(directory: Directory) -> None:
    assert telemetry(b'{"powerKw": 1, "powerKw": 2}', directory)["telemetryData"] == {"powerKw": 2.0}


names = st.from_regex(r"\A[A-Za-z][A-Za-z0-9_]{0,20}\Z").filter(
    lambda name: name not in {"timestamp", "messageId", "deviceId", "deviceType", "serialNumber", "siteId", "eventType", "telemetryData"}
)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1)


@given(metrics=st.dictionaries(names, numbers, min_size=1, max_size=64), wrapped=st.booleans())
def test_every_set_of_finite_numbers_is_a_valid_event_with_the_same_numbers(metrics: dict[str, float], wrapped: bool) -> None:
    payload = orjson.dumps({"telemetryData": metrics} if wrapped else metrics)
    value = encode_telemetry(payload, TELEMETRY, NOW_US, Directory(Entries(), provision_unknown=True))
    event = decode(TelemetryEvent, value)
    assert event.telemetry_data == {name: float(number) for name, number in metrics.items()}
    assert event.encode() is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(payload=st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_either_a_valid_event_or_malformed(payload: bytes) -> None:
    kinds: list[tuple[Any, DeviceTopic, Any]] = [
        (encode_telemetry, TELEMETRY, TelemetryEvent),
        (encode_status_report, STATUS, StatusReport),
        (encode_command_ack, ACK, CommandAck),
    ]
    for encode, topic, model in kinds:
        try:
            value = encode(payload, topic, NOW_US, Directory(Entries(), provision_unknown=True))
        except MalformedError:
            continue
        decode(model, value)


def test_a_status_is_a_report_with_its_reason(directory: Directory) -> None:
    payload = b'{"status":"OFFLINE","reason":"last will","timestamp":"2025-10-04T10:15:00Z"}'
    report = decode(StatusReport, encode_status_report(payload, STATUS, NOW_US, directory))
    assert (report.status, report.reason, report.site_id) == ("OFFLINE", "last will", 1)


@pytest.mark.parametrize(
    ("reason", "payload"),
    [
        ("missing_field", b"{}"),
        ("invalid_field", b'{"status":"UNKNOWN"}'),
        ("invalid_field", b'{"status":"online"}'),
        ("invalid_field", b'{"status":["ONLINE"]}'),
        ("invalid_field", b'{"status":"ONLINE","reason":5}'),
        ("unknown_field", b'{"status":"ONLINE","powerKw":5}'),
        ("invalid_json", b"ONLINE"),
    ],
)
def test_malformed_status(reason: str, payload: bytes, directory: Directory) -> None:
    with pytest.raises(MalformedError) as caught:
        encode_status_report(payload, STATUS, NOW_US, directory)
    assert caught.value.reason == reason


def test_an_answer_to_a_command(directory: Directory) -> None:
    ack = decode(CommandAck, encode_command_ack(b'{"commandId":"c-1","result":"FAILED","detail":"hot"}', ACK, NOW_US, directory))
    assert (ack.command_id, ack.result, ack.detail) == ("c-1", "FAILED", "hot")
    assert (ack.serial_number, ack.site_id, format_time(ack.timestamp)) == ("INV-001", 1, NOW)


@pytest.mark.parametrize(
    ("detail", "kept"),
    [("", None), ("d" * 1001, "d" * 1000), ("a\x00b", "a\ufffdb"), ("well", "well")],
    ids=["empty", "long", "NUL", "usual"],
)
def test_a_remark_of_an_answer_does_not_cost_the_answer(detail: str, kept: str | None, directory: Directory) -> None:
    payload = orjson.dumps({"commandId": "c-1", "result": "COMPLETED", "detail": detail})
    event = orjson.loads(encode_command_ack(payload, ACK, NOW_US, directory))
    assert (event["result"], event.get("detail")) == ("COMPLETED", kept)


@pytest.mark.parametrize("timestamp", ["1970-01-01T00:00:05Z", "2099-01-01T00:00:00Z"])
def test_an_answer_of_a_device_whose_clock_was_never_set_has_the_time_of_its_receipt(timestamp: str, directory: Directory) -> None:
    payload = orjson.dumps({"commandId": "c-1", "result": "COMPLETED", "timestamp": timestamp})
    assert orjson.loads(encode_command_ack(payload, ACK, NOW_US, directory))["timestamp"] == NOW


@pytest.mark.parametrize("result", ["ACCEPTED", "REJECTED", "COMPLETED", "FAILED"])
def test_an_answer_with_a_timestamp_gives_the_same_bytes_whenever_it_arrives(result: str, directory: Directory) -> None:
    payload = orjson.dumps({"commandId": "c-1", "result": result, "timestamp": "2025-10-04T10:15:00.125Z", "serialNumber": "INV-001"})
    value = encode_command_ack(payload, ACK, NOW_US, directory)
    assert encode_command_ack(payload, ACK, NOW_US + 60_000_000, directory) == value
    assert orjson.loads(value)["timestamp"] == "2025-10-04T10:15:00.125Z"


def test_a_device_that_is_not_in_the_registry_may_be_turned_away_with_its_answer() -> None:
    with pytest.raises(MalformedError, match="unknown_device"):
        encode_command_ack(b'{"commandId":"c-1","result":"FAILED"}', ACK, NOW_US, Directory(Entries(), provision_unknown=False))


@pytest.mark.parametrize(
    ("reason", "payload"),
    [
        ("missing_field", b'{"result":"ACCEPTED"}'),
        ("missing_field", b'{"commandId":"c-1"}'),
        ("missing_field", b'{"commandId":null,"result":"ACCEPTED"}'),
        ("invalid_field", b'{"commandId":5,"result":"ACCEPTED"}'),
        ("invalid_field", b'{"commandId":"","result":"ACCEPTED"}'),
        ("invalid_field", b'{"commandId":"two words","result":"ACCEPTED"}'),
        ("invalid_field", b'{"commandId":"line\\n","result":"ACCEPTED"}'),
        ("invalid_field", b'{"commandId":"\\u0000","result":"ACCEPTED"}'),
        ("invalid_field", '{"commandId":"\u00fc","result":"ACCEPTED"}'.encode()),
        ("invalid_field", b'{"commandId":"' + b"c" * 129 + b'","result":"ACCEPTED"}'),
        ("invalid_field", b'{"commandId":{"id":"c-1"},"result":"ACCEPTED"}'),
        ("invalid_field", b'{"commandId":"c-1","result":"accepted"}'),
        ("invalid_field", b'{"commandId":"c-1","result":"EXPIRED"}'),
        ("invalid_field", b'{"commandId":"c-1","result":"FAILED","detail":7}'),
        ("unknown_field", b'{"commandId":"c-1","result":"FAILED","powerKw":1}'),
        ("serial_mismatch", b'{"commandId":"c-1","result":"FAILED","serialNumber":"INV-002"}'),
        ("site_mismatch", b'{"commandId":"c-1","result":"FAILED","siteId":2}'),
        ("invalid_timestamp", b'{"commandId":"c-1","result":"FAILED","timestamp":"now"}'),
        ("not_an_object", b'["c-1","FAILED"]'),
        ("empty", b""),
        ("invalid_json", b'{"commandId":"c-1"'),
        ("invalid_field", b'{"commandId":"c-1","result":"MAYBE"}'),
    ],
)
def test_malformed_answers(reason: str, payload: bytes, directory: Directory) -> None:
    with pytest.raises(MalformedError) as caught:
        encode_command_ack(payload, ACK, NOW_US, directory)
    assert caught.value.reason == reason


@pytest.mark.parametrize(("code", "stored"), [(b'"F-203"', "F-203"), (b"17", "17"), (b"null", None)])
def test_a_report_may_carry_an_error_code(directory: Directory, code: bytes, stored: str | None) -> None:
    value = encode_status_report(b'{"status":"ERROR","errorCode":%s}' % code, STATUS, NOW_US, directory)
    assert decode(StatusReport, value).error_code == stored


@pytest.mark.parametrize("code", [b"1.5", b"true", b'""', b"[]", b'"' + b"x" * 65 + b'"'])
def test_an_error_code_that_is_none_is_named(directory: Directory, code: bytes) -> None:
    with pytest.raises(MalformedError, match=r"errorCode=.*: expected a text of 1 to 64 characters"):
        encode_status_report(b'{"status":"ERROR","errorCode":%s}' % code, STATUS, NOW_US, directory)
