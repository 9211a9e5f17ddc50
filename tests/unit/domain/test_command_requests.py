"""What is asked of a device, checked by catalogue and registry: what is wrong is said with field, value and limit."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from ems_streams.domain.command_catalogue import CATALOGUE, CommandError, catalogue_view, check_command
from ems_streams.domain.command_events import CommandRequest, decode_request
from ems_streams.domain.command_requests import checked_key, checked_person, command_request
from ems_streams.domain.registry import RegistryEntry
from ems_streams.errors import MalformedError
from tests.unit.domain.command_builders import request

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def ask(
    fields: dict[str, Any], limits: dict[str, Any] | None = None, device_type: str = "SOLAR_INVERTER", key: str = "k"
) -> CommandRequest:
    entry = RegistryEntry(device_id=1, serial_number="A", site_id=7, device_type=device_type, limits=limits or {})
    return command_request(fields, entry, idempotency_key=key, requested_by="ann", requested_from="here", now=NOW)


def limit(value: object, **more: Any) -> dict[str, Any]:
    return {"command": "SET_POWER_LIMIT", "parameters": {"powerLimitKw": value}, **more}


def test_what_is_asked_for_is_a_record() -> None:
    made = ask(limit(40, expiresInS=60), {"maxPowerKw": 50})
    assert (made.parameters, made.site_id, made.topic) == ({"powerLimitKw": 40.0}, 7, "sites/7/devices/A/commands")
    assert made.answer_topic == "sites/7/devices/A/commands/ack"
    assert (made.expires_at - made.requested_at).total_seconds() == 60
    assert decode_request(made.encode()) == made
    assert orjson.loads(made.payload()) == {
        "commandId": made.command_id,
        "command": "SET_POWER_LIMIT",
        "parameters": {"powerLimitKw": 40.0},
        "requestedAt": "2026-01-31T12:00:00Z",
        "expiresAt": "2026-01-31T12:01:00Z",
    }


@pytest.mark.parametrize(
    ("fields", "limits", "field", "bound", "origin"),
    [
        (limit(50.1), {"maxPowerKw": 50}, "parameters.powerLimitKw", 50.0, "limits.maxPowerKw"),
        (limit(50.1), {"powerKw": {"max": 50}}, "parameters.powerLimitKw", 50.0, "limits.powerKw.max"),
        (limit(9), {"minPowerKw": 10}, "parameters.powerLimitKw", 10.0, "limits.minPowerKw"),
        (limit(-1), {}, "parameters.powerLimitKw", 0.0, "catalogue"),
        (limit(-1), {"minPowerKw": -5}, "parameters.powerLimitKw", 0.0, "catalogue"),
        (limit(1e6), {}, "parameters.powerLimitKw", 100_000.0, "catalogue"),
        (limit(1e6), {"maxPowerKw": 1e9}, "parameters.powerLimitKw", 100_000.0, "catalogue"),
        (limit(1, expiresInS=1), {}, "expiresInS", 2, "expiry"),
        (limit(1, expiresInS=-5), {}, "expiresInS", 2, "expiry"),
        (limit(1, expiresInS=1e9), {}, "expiresInS", 86_400, "expiry"),
        (limit(1, expiresAt="2026-01-31T11:00:00Z"), {}, "expiresAt", 2, "expiry"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_with_the_limit(
    fields: dict[str, Any], limits: dict[str, Any], field: str, bound: float, origin: str
) -> None:
    with pytest.raises(CommandError) as refused:
        ask(fields, limits)
    assert (refused.value.field, refused.value.limit, refused.value.limit_of) == (field, bound, origin)
    assert f"{bound:g}" in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "limits", "expected"),
    [
        ({}, {}, "command=missing: a device of type SOLAR_INVERTER takes REBOOT, SET_MODE, SET_POWER_LIMIT"),
        ({"command": "EXPLODE"}, {}, "command='EXPLODE': a device of type SOLAR_INVERTER takes"),
        ({"command": ["x"]}, {}, "command=an array"),
        ({"command": "START_CHARGING"}, {}, "command='START_CHARGING': a device of type SOLAR_INVERTER takes"),
        ({"command": "SET_POWER_LIMIT"}, {}, "parameters.powerLimitKw=missing: SET_POWER_LIMIT needs it"),
        ({"command": "SET_POWER_LIMIT", "parameters": []}, {}, "parameters=an array: expected an object"),
        (limit("50"), {}, "parameters.powerLimitKw='50': expected a number of kW"),
        (limit(True), {}, "parameters.powerLimitKw=True: expected a number of kW"),
        (limit(None), {}, "parameters.powerLimitKw=missing: expected a number of kW"),
        (limit(float("nan")), {}, "parameters.powerLimitKw=nan: expected a number of kW"),
        (limit(1), {"maxPowerKw": "fifty"}, "limits.maxPowerKw='fifty': the registry's limit is no number"),
        ({"command": "REBOOT", "parameters": {"now": 1}}, {}, "parameters.now=1: REBOOT takes no parameters"),
        ({"command": "SET_MODE", "parameters": {"mode": "FAST"}}, {}, "parameters.mode='FAST': expected one of NORMAL, STANDBY"),
        ({"command": "REBOOT", "when": 1}, {}, "when=1: there is no such field"),
        ({"command": "REBOOT", "expiresInS": "5"}, {}, "expiresInS='5': expected a number of seconds"),
        ({"command": "REBOOT", "expiresInS": float("nan")}, {}, "expiresInS=nan: must be at most"),
        ({"command": "REBOOT", "expiresAt": "soon"}, {}, "expiresAt='soon': expected an ISO-8601 time with its zone"),
        ({"command": "REBOOT", "expiresAt": "2026-01-31T12:10:00"}, {}, "expected an ISO-8601 time with its zone"),
        ({"command": "REBOOT", "expiresAt": "2026-01-31T12:10:00Z", "expiresInS": 5}, {}, "expected either expiresAt or expiresInS"),
    ],
)
def test_what_cannot_be_a_command_is_said(fields: dict[str, Any], limits: dict[str, Any], expected: str) -> None:
    with pytest.raises(CommandError) as refused:
        ask(fields, limits)
    assert expected in str(refused.value)


def test_the_same_thing_has_the_same_fingerprint_and_nothing_else_has() -> None:
    first = ask({"command": "START_CHARGING", "parameters": {"powerKw": 5, "targetSocPercent": 80}, "expiresInS": 60}, {}, "BATTERY")
    again = ask({"command": "START_CHARGING", "parameters": {"targetSocPercent": 80.0, "powerKw": 5.0}, "expiresInS": 60.0}, {}, "BATTERY")
    assert (first.fingerprint, first.command_id) == (again.fingerprint, again.command_id)
    others = [limit(1), limit(2), limit(1, expiresInS=60), limit(1, expiresAt="2026-01-31T12:10:00Z")]
    assert len({ask(fields).fingerprint for fields in others}) == 4


def test_types_that_are_not_in_the_catalogue_take_what_nearly_all_take() -> None:
    for device_type in ("UNKNOWN", "HEAT_PUMP"):
        assert ask(limit(5), {}, device_type).parameters == {"powerLimitKw": 5.0}
        with pytest.raises(CommandError):
            check_command(device_type, "START_CHARGING", {}, {})


def test_the_catalogue_is_shown_whole_or_of_one_type() -> None:
    assert set(catalogue_view()) == set(CATALOGUE)
    [limit_view, *_] = catalogue_view("METER")["METER"]
    assert limit_view["parameters"] == [
        {
            "name": "intervalS",
            "type": "number",
            "unit": "s",
            "minimum": 1.0,
            "maximum": 3600.0,
            "required": True,
            "deviceLimits": ["limits.minReportingIntervalS", "limits.maxReportingIntervalS"],
        }
    ]


@pytest.mark.parametrize("key", ["", "a b", "ä", "x" * 129, "a\n", 5])
def test_keys_are_printable_and_short(key: object) -> None:
    with pytest.raises(CommandError, match="Idempotency-Key"):
        checked_key(key, "Idempotency-Key")


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\0b", 5])
def test_people_have_names(name: object) -> None:
    with pytest.raises(CommandError, match="requestedBy"):
        checked_person(name, "requestedBy")


CANCEL_OF_ANOTHER = orjson.dumps(
    {
        "eventType": "DEVICE_COMMAND_CANCEL",
        "commandId": "B~0123456789abcdef",
        "serialNumber": "A",
        "requestedAt": "2025-10-04T11:00:00Z",
        "requestedBy": "a",
        "requestedFrom": "b",
    }
)


def changed(**changes: Any) -> bytes:
    return orjson.dumps({**orjson.loads(request().encode()), **changes})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"{", "invalid_json"),
        (b"[]", "invalid_field"),
        (b"{}", "invalid_field"),
        (changed(eventType=["x"]), "invalid_field"),
        (changed(commandId="INV-001~0123456789abcdef"), "invalid_field"),
        (changed(idempotencyKey=""), "invalid_field"),
        (changed(parameters={"powerLimitKw": -5}), "invalid_command"),
        (changed(parameters={"powerLimitKw": True}), "invalid_field"),
        (changed(command="EXPLODE"), "invalid_command"),
        (changed(expiresAt="2025-10-04T11:00:00Z"), "invalid_field"),
        (changed(siteId=-1), "invalid_field"),
        (CANCEL_OF_ANOTHER, "invalid_field"),
    ],
)
def test_whoever_writes_to_the_topic_what_is_no_command_is_malformed(value: bytes | None, reason: str) -> None:
    with pytest.raises(MalformedError) as error:
        decode_request(value)
    assert error.value.reason == reason


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_is_none_in_utc_is_refused(moment: str) -> None:
    with pytest.raises(CommandError, match="expected an ISO-8601 time") as caught:
        ask(limit(1, expiresAt=moment))
    assert (caught.value.field, caught.value.value) == ("expiresAt", moment)


@pytest.mark.parametrize("nested", [50, "50", [50], True])
def test_a_limit_of_the_registry_that_is_no_object_stops_everything(nested: object) -> None:
    """Somebody has meant a limit by it."""
    with pytest.raises(CommandError, match="no object of min and max; nothing is sent") as caught:
        ask(limit(1), {"powerKw": nested})
    assert caught.value.field == "limits.powerKw"


def test_a_number_beyond_all_floats_is_no_number() -> None:
    with pytest.raises(CommandError, match="expected a number of kW"):
        check_command("BATTERY", "SET_POWER_LIMIT", {"powerLimitKw": 10**400}, {})
    with pytest.raises(CommandError, match="the registry's limit is no number"):
        check_command("BATTERY", "SET_POWER_LIMIT", {"powerLimitKw": 1}, {"maxPowerKw": 10**400})


def test_what_is_wrong_with_a_header_of_other_bytes_can_be_said_in_json() -> None:
    with pytest.raises(CommandError) as caught:
        checked_person("\udcff", "requestedBy")
    assert orjson.dumps(caught.value.value) == b'"?"'


def test_a_record_that_expires_later_than_anybody_may_ask_for_is_malformed() -> None:
    asked = request()
    longest = request(expires_at=asked.requested_at + timedelta(days=1))
    assert decode_request(longest.encode()) == longest
    with pytest.raises(MalformedError, match=r"expiresAt=.*: expected at most 86400 s after requestedAt"):
        decode_request(request(expires_at=asked.requested_at + timedelta(days=1, milliseconds=1)).encode())
