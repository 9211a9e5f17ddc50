"""Sites in the paths of requests: what is of another site is answered as if it were not there."""

from collections.abc import Callable

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from ems_streams.access.roles import Principal
from ems_streams.domain.command_events import serial_number_of
from ems_streams.domain.events import SerialNumber
from ems_streams.gateway.security.access import Scope
from ems_streams.ops.http import ProblemError

SiteOf = Callable[[str], int | None]
"""Site of a device by its serial number, None for one that is not registered; raises `ProblemError` while that cannot be known."""

_SERIAL_NUMBER: TypeAdapter[str] = TypeAdapter(SerialNumber)


def check_scope(request: web.Request, principal: Principal, scope: Scope, site_of: SiteOf) -> None:
    """Raises a problem of 403 or 404 when a route is not for the sites of somebody."""
    if principal.sites is None:
        return
    path = request.match_info
    match scope:
        case Scope.EVERY_SITE:
            raise ProblemError(403, "Not for some sites only", "This is about all sites; the token is for some of them only.")
        case Scope.DEVICE:
            serial_number = path["serial"]
            if _is_serial_number(serial_number) and not principal.may_see(site_of(serial_number)):
                raise ProblemError(404, "No such device", f"There is no device {serial_number!r}.", serialNumber=serial_number)
        case Scope.SITE:
            text = path["siteId"]
            # What is no site id at all the handler tells.
            if text.isascii() and text.isdigit() and len(text) <= 19 and not principal.may_see(int(text)):
                raise ProblemError(404, "No such site", f"No device of a site {int(text)} has been heard of.")
        case Scope.COMMAND:
            command_id = path["commandId"]
            device = serial_number_of(command_id)
            if device is None or not _is_serial_number(device) or not principal.may_see(site_of(device)):
                raise ProblemError(404, "No such command", f"There is no command {command_id[:160]!r}, or it is long over.")


def _is_serial_number(text: str) -> bool:
    try:
        _SERIAL_NUMBER.validate_python(text)
    except ValidationError:
        return False
    return True
