"""From what somebody asks for to the record that asks for it: everything is checked here, before anything is published."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from ems_streams.domain.command_catalogue import CommandError, check_command
from ems_streams.domain.command_events import EXPIRES_IN_MAX_S, CommandRequest, IdempotencyKey, Person, command_id_of
from ems_streams.domain.events import format_time
from ems_streams.domain.registry import RegistryEntry
from ems_streams.domain.timestamps import from_epoch_ms, to_epoch_ms

EXPIRES_IN_DEFAULT_S: Final = 300
EXPIRES_IN_MIN_S: Final = 2
"""With less the broker, which counts whole seconds, could hardly keep the promise."""
EXPIRY: Final = "expiry"
"""What a bound is of that is about when a command expires."""
FIELDS: Final = ("command", "parameters", "expiresInS", "expiresAt", "idempotencyKey", "requestedBy")

_KEY: TypeAdapter[str] = TypeAdapter(IdempotencyKey)
_PERSON: TypeAdapter[str] = TypeAdapter(Person)


def command_request(
    fields: Mapping[str, Any], entry: RegistryEntry, *, idempotency_key: str, requested_by: str, requested_from: str, now: datetime
) -> CommandRequest:
    """The request for a device; raises `CommandError`, which names field, value and limit.

    Args:
        fields: What was asked for, as JSON has it.
        entry: The device.
        idempotency_key: Of who asks, or made up for them.
        requested_by: Who asks.
        requested_from: From where.
        now: When.
    """
    for name in fields:
        if name not in FIELDS:
            raise CommandError(name[:64], fields[name], f"there is no such field; expected some of {', '.join(FIELDS)}")
    command, parameters = check_command(entry.device_type, fields.get("command"), fields.get("parameters"), entry.limits)
    now = from_epoch_ms(to_epoch_ms(now))
    expires_at, expiry = _expiry(fields, now)
    _check_lead(fields, now, expires_at)
    return CommandRequest(
        command_id=command_id_of(entry.serial_number, idempotency_key),
        idempotency_key=idempotency_key,
        fingerprint=_fingerprint(command.name, parameters, expiry),
        serial_number=entry.serial_number,
        device_id=entry.device_id,
        site_id=entry.site_id,
        device_type=entry.device_type,
        command=command.name,
        parameters=parameters,
        requested_at=now,
        expires_at=expires_at,
        requested_by=requested_by,
        requested_from=requested_from,
    )


def checked_key(value: object, field: str) -> str:
    """An idempotency key; raises `CommandError`."""
    try:
        return _KEY.validate_python(value, strict=True)
    except ValidationError:
        raise CommandError(field, value, "expected 1 to 128 printable ASCII characters without spaces") from None


def checked_person(value: object, field: str) -> str:
    """Who asks; raises `CommandError`."""
    try:
        return _PERSON.validate_python(value, strict=True)
    except ValidationError:
        raise CommandError(field, value, "expected a name of 1 to 200 characters") from None


def fingerprint_of(fields: Mapping[str, Any], entry: RegistryEntry) -> str:
    """Of what is asked for, however soon it expires: by it the same thing, asked for again, is known. Raises `CommandError`."""
    command, parameters = check_command(entry.device_type, fields.get("command"), fields.get("parameters"), entry.limits)
    return _fingerprint(command.name, parameters, _expiry(fields, from_epoch_ms(0))[1])


def _expiry(fields: Mapping[str, Any], now: datetime) -> tuple[datetime, str]:
    """When it expires, and how that was asked for."""
    at, within_s = fields.get("expiresAt"), fields.get("expiresInS")
    if at is not None and within_s is not None:
        raise CommandError("expiresInS", within_s, "expected either expiresAt or expiresInS")
    if at is not None:
        expires_at = _time(at)
        return expires_at, format_time(expires_at)
    if within_s is None:
        within_s = EXPIRES_IN_DEFAULT_S
    if isinstance(within_s, bool) or not isinstance(within_s, int | float):
        raise CommandError("expiresInS", within_s, "expected a number of seconds")
    if not EXPIRES_IN_MIN_S <= within_s <= EXPIRES_IN_MAX_S:
        raise _wrong_lead("expiresInS", within_s, within_s)
    return now + timedelta(milliseconds=round(within_s * 1000)), f"{within_s:g}"


def _check_lead(fields: Mapping[str, Any], now: datetime, expires_at: datetime) -> None:
    lead_s = (expires_at - now).total_seconds()
    if not EXPIRES_IN_MIN_S <= lead_s <= EXPIRES_IN_MAX_S:
        raise _wrong_lead("expiresAt", fields.get("expiresAt"), lead_s)


def _wrong_lead(field: str, value: object, lead_s: float) -> CommandError:
    most, limit = ("at least", EXPIRES_IN_MIN_S) if lead_s < EXPIRES_IN_MIN_S else ("at most", EXPIRES_IN_MAX_S)
    return CommandError(field, value, f"must be {most} {limit} s from now", limit=limit, limit_of=EXPIRY)


def _time(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None and moment.tzinfo is not None:
            return from_epoch_ms(to_epoch_ms(moment))
    except (ValueError, OverflowError):
        # The latter for the first and the last hours that there are, which are none in another zone.
        pass
    raise CommandError("expiresAt", value, "expected an ISO-8601 time with its zone, such as 2026-01-31T12:00:00Z")


def _fingerprint(command: str, parameters: Mapping[str, Any], expiry: str) -> str:
    return blake2b(orjson.dumps([command, parameters, expiry], option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()
