"""Query parameters of the gateway's API, checked before anybody is asked: what is wrong is a 400 that says so."""

from collections.abc import Callable
from typing import TypeVar

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from ems_streams.domain.events import DeviceStatus, SerialNumber
from ems_streams.gateway.cursors import BadCursorError
from ems_streams.ops.http import ProblemError

T = TypeVar("T")

_SERIAL_NUMBER: TypeAdapter[str] = TypeAdapter(SerialNumber)
_MAX_SITE_ID = 2**63 - 1


def bad_parameter(name: str, detail: str) -> ProblemError:
    """A 400 that names the parameter."""
    return ProblemError(400, "Bad parameter", f"{name}: {detail}", parameter=name)


def limit_of(request: web.Request, default: int, most: int) -> int:
    """`limit`, from 1 to `most`."""
    text = request.query.get("limit")
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= most):
        raise bad_parameter("limit", f"must be a whole number from 1 to {most}")
    return int(text)


def site_id(text: str, name: str = "site") -> int:
    """A site id, as in `site=1`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _MAX_SITE_ID):
        raise bad_parameter(name, "must be a site id, a whole number")
    return int(text)


def site_of(request: web.Request) -> int | None:
    """`site`, when it is given."""
    text = request.query.get("site")
    return site_id(text) if text else None


def status_of(request: web.Request) -> str | None:
    """`status`, when it is given."""
    text = request.query.get("status")
    if not text:
        return None
    if text not in DeviceStatus.__members__:
        raise bad_parameter("status", f"must be one of {', '.join(DeviceStatus)}")
    return text


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
