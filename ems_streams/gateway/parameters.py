"""Query parameters of the gateway's API, checked before anybody is asked: what is wrong is a 400 that says so."""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from ems_streams.domain.alarm_index import AlarmFilter
from ems_streams.domain.alarm_table import AlarmState
from ems_streams.domain.events import DeviceStatus, NotificationKind, SerialNumber, Severity
from ems_streams.domain.timestamps import time_in_query
from ems_streams.gateway.cursors import BadCursorError
from ems_streams.gateway.filters import Filter
from ems_streams.gateway.security.asking import sites_of
from ems_streams.ops.http import ProblemError

T = TypeVar("T")

_SERIAL_NUMBER: TypeAdapter[str] = TypeAdapter(SerialNumber)
_MAX_SITE_ID = 2**63 - 1
_MAX_VALUES = 1000
_MAX_HEARTBEAT_S = 300


def bad_parameter(name: str, detail: str) -> ProblemError:
    """A 400 that names the parameter."""
    return ProblemError(400, "Bad parameter", f"{name}: {detail}", parameter=name)


def limit_of(request: web.Request, default: int, most: int) -> int:
    """`limit`, from 1 to `most`."""
    text = request.query.get("limit")
    return default if text is None else _whole_number(text, "limit", most)


def heartbeat_of(request: web.Request) -> int | None:
    """`heartbeat`: every how many seconds a client wants a message, whatever happens; None without."""
    text = request.query.get("heartbeat")
    return _whole_number(text, "heartbeat", _MAX_HEARTBEAT_S) if text else None


def _whole_number(text: str, name: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= most):
        raise bad_parameter(name, f"{text[:20]!r}: must be a whole number from 1 to {most}")
    return int(text)


def boolean_of(request: web.Request, name: str) -> bool:
    """A parameter that is `true` or `false`; false when it is not given."""
    text = request.query.get(name, "false")
    if text not in {"1", "true", "0", "false"}:
        raise bad_parameter(name, f"{text[:20]!r}: must be true or false")
    return text in {"1", "true"}


def site_id(text: str, name: str = "site") -> int:
    """A site id, as in `site=1`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _MAX_SITE_ID):
        raise bad_parameter(name, "must be a site id, a whole number")
    return int(text)


def site_of(request: web.Request) -> int | None:
    """`site`, when it is given."""
    text = request.query.get("site")
    return site_id(text) if text else None


def visible_sites(request: web.Request) -> frozenset[int] | None:
    """The site that is asked for, or all that may be shown; none when that one may not be shown. None for every site."""
    wanted, visible = site_of(request), sites_of(request)
    if wanted is None:
        return visible
    return frozenset({wanted}) if visible is None else frozenset({wanted}) & visible


def status_of(request: web.Request) -> str | None:
    """`status`, when it is given."""
    text = request.query.get("status")
    return _member(text, "status", DeviceStatus) if text else None


def time_of(request: web.Request, name: str) -> datetime | None:
    """A time, when it is given."""
    text = request.query.get(name)
    if not text:
        return None
    try:
        return time_in_query(text)
    except ValueError:
        raise bad_parameter(name, f"{text[:40]!r}: must be a time with its zone, such as 2026-01-31T12:00:00Z") from None


def filter_of(request: web.Request) -> Filter:
    """The filter in a query such as `site=1,2&severity=WARNING&severity=CRITICAL`."""
    return Filter(
        sites=frozenset(site_id(text) for text in _values(request, "site")),
        devices=frozenset(_serial_number(text, "device") for text in _values(request, "device")),
        severities=frozenset(_member(text, "severity", Severity) for text in _values(request, "severity")),
        kinds=frozenset(_member(text, "kind", NotificationKind) for text in _values(request, "kind")),
        visible=sites_of(request),
    )


def alarm_filter_of(request: web.Request) -> AlarmFilter:
    """The filter in a query such as `state=RAISED,ACKNOWLEDGED&severity=CRITICAL&site=7&serial=INV-001`."""
    states = frozenset(_member(text, "state", AlarmState) for text in _values(request, "state"))
    severities = frozenset(_member(text, "severity", Severity) for text in _values(request, "severity"))
    serial_number = request.query.get("serial")
    return AlarmFilter(
        states=states or None,
        sites=visible_sites(request),
        severities=severities or None,
        serial_number=_serial_number(serial_number, "serial") if serial_number else None,
    )


def _values(request: web.Request, name: str) -> list[str]:
    values = [part.strip() for text in request.query.getall(name, ()) for part in text.split(",") if part.strip()]
    if len(values) > _MAX_VALUES:
        raise bad_parameter(name, f"{len(values)} values; at most {_MAX_VALUES} are possible")
    return values


def _member(text: str, name: str, members: type[StrEnum]) -> str:
    if text not in members.__members__:
        raise bad_parameter(name, f"{text[:64]!r}: must be one of {', '.join(members)}")
    return text


def _serial_number(text: str, name: str) -> str:
    try:
        return _SERIAL_NUMBER.validate_python(text)
    except ValidationError:
        raise bad_parameter(name, f"{text[:64]!r}: no device can have such a serial number") from None


def cursor_of(request: web.Request, decode: Callable[[str], T], name: str = "cursor") -> T | None:
    """A cursor, when it is given."""
    text = request.query.get(name)
    if not text:
        return None
    try:
        return decode(text)
    except BadCursorError as error:
        raise bad_parameter(name, str(error)) from None


def serial_number_of(request: web.Request) -> str:
    """The serial number in the path; one that no device can have is a 404."""
    text = request.match_info["serial"]
    try:
        return _SERIAL_NUMBER.validate_python(text)
    except ValidationError:
        raise ProblemError(404, "No such device", "No device can have such a serial number.") from None
