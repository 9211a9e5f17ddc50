"""From the bytes that a device publishes to the JSON value of the Kafka record, in one pass.

A function per kind of topic; each gives the encoded event or raises `MalformedError`, whose reason is one of
`empty`, `too_large`, `invalid_json`, `not_an_object`, `no_metrics`, `too_many_metrics`, `invalid_metric_name`,
`invalid_metric_value`, `invalid_field`, `unknown_field`, `missing_field`, `invalid_timestamp`, `timestamp_out_of_range`,
`serial_mismatch`, `site_mismatch`, `device_id_mismatch`, `unknown_device`.

Decisions where JSON or the contract leave room:

* a key that occurs twice counts with its last value, as everywhere else in the system;
* an optional field that is `null` is absent; a metric that is `null` is malformed;
* a timestamp needs a time zone; from 2000 on, and at most `MAX_AHEAD_S` ahead of the receipt; an answer to a command counts all the same, with the time of its receipt;
* with `telemetryData`, every other field must be one that is known; without it, every other field is a metric;
* the value depends on payload, topic, registry and receipt alone: delivered twice, a message with a timestamp gives
  the same bytes, if the registry says the same.

The hot path is plain code on what orjson gives; a test holds every value against the model of the event.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from ems_streams.domain.device_topic import MAX_NUMBER, DeviceTopic
from ems_streams.domain.events import MAX_METRICS, DeviceStatus, format_time
from ems_streams.domain.receipt_clock import moment
from ems_streams.domain.refusals import invalid, shown, type_name
from ems_streams.domain.registry import Directory, RegistryEntry
from ems_streams.errors import MalformedError

MAX_PAYLOAD_BYTES = 1024 * 1024
"""64 metrics take some 6 KB; what is larger than this is no telemetry."""
MAX_AHEAD_S = 86_400
MAX_ID_CHARS = 128
MAX_TEXT_CHARS = 1000
MAX_CODE_CHARS = 64

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(seconds=MAX_AHEAD_S)
_METRIC_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
_DEVICE_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
_COMMAND_ID = re.compile(r"[!-~]{1,128}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_STATUSES = frozenset(
    {
        DeviceStatus.ONLINE,
        DeviceStatus.OFFLINE,
        DeviceStatus.MAINTENANCE,
        DeviceStatus.ERROR,
    }
)
_RESULTS = frozenset({"ACCEPTED", "REJECTED", "COMPLETED", "FAILED"})
_ABSENT: Any = object()
_LENGTH_OF_SECONDS = len("2025-10-04T10:15:00Z")
_LENGTH_OF_MILLISECONDS = len("2025-10-04T10:15:00.125Z")


class _Envelope(NamedTuple):
    """What a message says besides its content; checked."""

    time: str
    device_id: int | None
    device_type: str | None
    message_id: str | None


def encode_telemetry(payload: bytes, topic: DeviceTopic, received_us: int, directory: Directory) -> bytes:
    """The value of a `device-telemetry` record. `received_us` is in microseconds since 1970."""
    fields = _parse(payload)
    envelope = _take_envelope(fields, topic, received_us)
    data = fields.pop("telemetryData", _ABSENT)
    if data is _ABSENT:
        data = fields
    elif type(data) is not dict:
        raise invalid("telemetryData", data, "expected an object of metrics")
    else:
        _refuse_unknown(fields)
    body = {"telemetryData": _metrics(data)}
    # Last, so that a message that is malformed registers nobody.
    entry = directory.resolve(topic, envelope.device_id, envelope.device_type)
    return _encode(entry, body, envelope, "DEVICE_TELEMETRY")


def encode_status_report(payload: bytes, topic: DeviceTopic, received_us: int, directory: Directory) -> bytes:
    """The value of a `device-status-reports` record. `received_us` is in microseconds since 1970."""
    fields = _parse(payload)
    envelope = _take_envelope(fields, topic, received_us)
    body = {"status": _take_one_of(fields, "status", _STATUSES)}
    reason = _take_text(fields, "reason", MAX_TEXT_CHARS)
    if reason is not None:
        body["reason"] = reason
    code = _take_code(fields, "errorCode")
    if code is not None:
        body["errorCode"] = code
    _refuse_unknown(fields)
    entry = directory.resolve(topic, envelope.device_id, envelope.device_type)
    return _encode(entry, body, envelope, "DEVICE_STATUS_REPORT")


def encode_command_ack(payload: bytes, topic: DeviceTopic, received_us: int, directory: Directory) -> bytes:
    """The value of a `device-command-acks` record. `received_us` is in microseconds since 1970."""
    fields = _parse(payload)
    _mend_accessories(fields, received_us)
    envelope = _take_envelope(fields, topic, received_us)
    body = {"commandId": _take_command_id(fields), "result": _take_one_of(fields, "result", _RESULTS)}
    detail = _take_text(fields, "detail", MAX_TEXT_CHARS)
    if detail is not None:
        body["detail"] = detail
    _refuse_unknown(fields)
    entry = directory.resolve(topic, envelope.device_id, envelope.device_type)
    return _encode(entry, body, envelope, "DEVICE_COMMAND_ACK")


def _mend_accessories(fields: dict[str, Any], received_us: int) -> None:
    """What was carried out is known by nothing but the answer: a remark that is empty or too long, or a device's clock that was never set, must not cost it."""
    detail = fields.get("detail")
    if type(detail) is str:
        fields["detail"] = detail.replace("\x00", "\ufffd")[:MAX_TEXT_CHARS] or None
    try:
        _time(fields.get("timestamp"), received_us)
    except MalformedError as error:
        if error.reason == "timestamp_out_of_range":
            del fields["timestamp"]


def _encode(entry: RegistryEntry, body: dict[str, Any], envelope: _Envelope, event_type: str) -> bytes:
    event = {
        "deviceId": entry.device_id,
        "serialNumber": entry.serial_number,
        "siteId": entry.site_id,
        "deviceType": entry.device_type,
        **body,
        "timestamp": envelope.time,
        "eventType": event_type,
    }
    if envelope.message_id is not None:
        event["messageId"] = envelope.message_id
    return orjson.dumps(event)


def _parse(payload: bytes) -> dict[str, Any]:
    if not payload:
        raise MalformedError("empty", "the payload is empty; expected a JSON object")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise MalformedError(
            "too_large",
            f"{len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} are expected",
        )
    try:
        fields = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise MalformedError("invalid_json", str(error)) from None
    if type(fields) is not dict:
        raise MalformedError(
            "not_an_object",
            f"the payload is {type_name(fields)}; expected a JSON object",
        )
    return fields


def _take_envelope(fields: dict[str, Any], topic: DeviceTopic, received_us: int) -> _Envelope:
    take = fields.pop
    time = take("timestamp", None)
    message_id = _take_text(fields, "messageId", MAX_ID_CHARS) if "messageId" in fields else None
    device_id = take("deviceId", None)
    device_type = take("deviceType", None)
    serial_number = take("serialNumber", None)
    site_id = take("siteId", None)
    take("eventType", None)
    if serial_number is not None and serial_number != topic.serial_number:
        raise MalformedError(
            "serial_mismatch",
            f"serialNumber={shown(serial_number)}: the topic says {topic.serial_number!r}",
        )
    if site_id is not None and (type(site_id) is not int or site_id != topic.site_id):
        raise MalformedError("site_mismatch", f"siteId={shown(site_id)}: the topic says {topic.site_id}")
    if device_id is not None and not (type(device_id) is int and 0 < device_id <= MAX_NUMBER):
        raise invalid("deviceId", device_id, "expected a positive whole number")
    if device_type is not None and not (type(device_type) is str and _DEVICE_TYPE.fullmatch(device_type)):
        raise invalid(
            "deviceType",
            device_type,
            "expected a name of letters, digits, _ and -, at most 64",
        )
    moment_text = _received_time(received_us) if time is None else _time(time, received_us)
    return _Envelope(moment_text, device_id, device_type, message_id)


def _metrics(data: dict[str, Any]) -> dict[str, float]:
    if not data:
        raise MalformedError("no_metrics", "expected at least one metric")
    if len(data) > MAX_METRICS:
        raise MalformedError(
            "too_many_metrics",
            f"{len(data)} metrics; at most {MAX_METRICS} are expected",
        )
    for name, value in data.items():
        kind = type(value)
        # Exact types: a boolean is an int to isinstance. orjson gives neither NaN nor an infinity.
        if kind is int:
            data[name] = float(value)
        elif kind is not float:
            raise MalformedError(
                "invalid_metric_value",
                f"{name[:80]}={shown(value)}: expected a number, not {type_name(value)}",
            )
        if not _is_metric_name(name):
            raise MalformedError(
                "invalid_metric_name",
                f"{name[:80]!r}: expected a letter, then at most 63 letters, digits or _",
            )
    return data


@lru_cache(maxsize=8192)
def _is_metric_name(name: str) -> bool:
    return _METRIC_NAME.fullmatch(name) is not None


def _time(text: object, received_us: int) -> str:
    shape = _TIME.fullmatch(text) if type(text) is str else None
    if type(text) is not str or shape is None:
        raise MalformedError(
            "invalid_timestamp",
            f"timestamp={shown(text)}: expected an ISO-8601 date and time such as 2025-10-04T10:15:00Z",
        )
    if shape[3] is None:
        raise MalformedError(
            "invalid_timestamp",
            f"timestamp={shown(text)}: the time zone is missing; expected a Z or an offset at the end",
        )
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise MalformedError("invalid_timestamp", f"timestamp={shown(text)}: {error}") from None
    if not _EARLIEST <= time <= moment(received_us) + _AHEAD:
        raise MalformedError(
            "timestamp_out_of_range",
            f"timestamp={text}: expected from 2000 on, and at most {MAX_AHEAD_S} s from now",
        )
    return text if _is_canonical(text) else format_time(time)


def _is_canonical(text: str) -> bool:
    """Whether this is what `format_time` would give, which is slow: UTC with seconds, and milliseconds if not zero."""
    if text[-1] != "Z":
        return False
    return len(text) == _LENGTH_OF_SECONDS or (len(text) == _LENGTH_OF_MILLISECONDS and not text.endswith(".000Z"))


def _received_time(received_us: int) -> str:
    seconds, microseconds = divmod(received_us, 1_000_000)
    if microseconds % 1000 == 0:
        return format_time(moment(received_us))
    return f"{_second(seconds)}.{microseconds:06d}Z"


@lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    return format_time(moment(seconds * 1_000_000))[:-1]


def _take_text(fields: dict[str, Any], name: str, max_chars: int) -> str | None:
    text = fields.pop(name, None)
    if text is None:
        return None
    # PostgreSQL cannot store a NUL character.
    if type(text) is not str or not text or len(text) > max_chars or "\x00" in text:
        raise invalid(name, text, f"expected a text of 1 to {max_chars} characters")
    return text


def _take_code(fields: dict[str, Any], name: str) -> str | None:
    """A code, which devices give as a text or as a whole number; a text either way."""
    if type(fields.get(name)) is int:
        fields[name] = str(fields[name])
    return _take_text(fields, name, MAX_CODE_CHARS)


def _take_command_id(fields: dict[str, Any]) -> str:
    command_id = fields.pop("commandId", None)
    if command_id is None:
        raise MalformedError("missing_field", "commandId: expected the id of the command that is answered")
    if type(command_id) is not str or not _COMMAND_ID.fullmatch(command_id):
        raise invalid(
            "commandId", command_id, f"expected the id of a command, 1 to {MAX_ID_CHARS} printable ASCII characters without spaces"
        )
    return command_id


def _take_one_of(fields: dict[str, Any], name: str, allowed: frozenset[str]) -> str:
    value = fields.pop(name, _ABSENT)
    expected = f"expected one of {', '.join(sorted(allowed))}"
    if value is _ABSENT:
        raise MalformedError("missing_field", f"{name}: {expected}")
    if type(value) is not str or value not in allowed:
        raise invalid(name, value, expected)
    return value


def _refuse_unknown(fields: dict[str, Any]) -> None:
    if fields:
        name = next(iter(fields))
        raise MalformedError(
            "unknown_field",
            f"{name[:80]}={shown(fields[name])}: there is no such field",
        )
