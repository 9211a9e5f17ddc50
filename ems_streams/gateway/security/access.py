"""Which role every route of the gateway needs, and how far a token that is for some sites only reaches there. As data: what is not here is denied."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ems_streams.access.roles import Role


class Scope(StrEnum):
    """What a token for some sites gets of a route."""

    PUBLIC = "public"
    """Anybody, without a token: there is nothing of devices in it."""
    PROBE = "probe"
    """Anybody gets the state; details only who may see every site."""
    NO_SITES = "no sites"
    """The answer has nothing of sites, or leaves out what is of more than the token's."""
    FILTERED = "filtered"
    """The handler leaves out what is of other sites, and refuses to change it."""
    DEVICE = "device"
    """The device in the path must be of a site of the token; another one is as unknown as one that is not there."""
    SITE = "site"
    """The same of the site in the path."""
    COMMAND = "command"
    """The same of the device of the command in the path."""
    EVERY_SITE = "every site"
    """Only tokens for every site."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask for a route.

    Attributes:
        scope: What a token for some sites gets.
        role: The least role; None for anybody.
    """

    scope: Scope
    role: Role | None


def _anybody(scope: Scope = Scope.PUBLIC) -> Access:
    return Access(scope, None)


def _viewer(scope: Scope) -> Access:
    return Access(scope, Role.VIEWER)


def _operator(scope: Scope) -> Access:
    return Access(scope, Role.OPERATOR)


def _admin(scope: Scope = Scope.EVERY_SITE) -> Access:
    return Access(scope, Role.ADMIN)


ACCESS: Final[dict[str, Access]] = {
    "GET /api/v1/devices": _viewer(Scope.FILTERED),
    "GET /api/v1/devices/{serial}": _viewer(Scope.DEVICE),
    "GET /api/v1/devices/{serial}/explain": _viewer(Scope.DEVICE),
    "GET /api/v1/devices/{serial}/aggregates": _viewer(Scope.DEVICE),
    "GET /api/v1/devices/{serial}/status-events": _viewer(Scope.DEVICE),
    "GET /api/v1/sites": _viewer(Scope.FILTERED),
    "GET /api/v1/sites/{siteId}": _viewer(Scope.SITE),
    "GET /api/v1/sites/{siteId}/aggregates": _viewer(Scope.SITE),
    "GET /api/v1/notifications": _viewer(Scope.FILTERED),
    "GET /ws/notifications": _viewer(Scope.FILTERED),
    "GET /api/v1/alarms": _viewer(Scope.FILTERED),
    "GET /api/v1/alarms/{alarmId}": _viewer(Scope.FILTERED),
    "POST /api/v1/alarms/{alarmId}/ack": _operator(Scope.FILTERED),
    "GET /api/v1/maintenance-windows": _viewer(Scope.FILTERED),
    "POST /api/v1/maintenance-windows": _operator(Scope.FILTERED),
    "DELETE /api/v1/maintenance-windows/{windowId}": _operator(Scope.FILTERED),
    "GET /api/v1/dlt": _admin(),
    "GET /api/v1/dlt/{topic}": _admin(),
    "GET /api/v1/dlt/{topic}/{partition}/{offset}": _admin(),
    "POST /api/v1/dlt/{topic}/redrive": _admin(),
    "GET /api/v1/redrives": _admin(),
    "GET /api/v1/redrives/{redriveId}": _admin(),
    "POST /api/v1/redrives/{redriveId}/resume": _admin(),
    "POST /api/v1/devices/{serial}/commands": _operator(Scope.DEVICE),
    "GET /api/v1/devices/{serial}/commands": _viewer(Scope.DEVICE),
    "GET /api/v1/commands/{commandId}": _viewer(Scope.COMMAND),
    "POST /api/v1/commands/{commandId}/cancel": _operator(Scope.COMMAND),
    "GET /api/v1/command-catalogue": _viewer(Scope.NO_SITES),
    "GET /api/v1/pipeline": _viewer(Scope.NO_SITES),
    "GET /api/v1/session": _viewer(Scope.NO_SITES),
    "POST /api/v1/session": _anybody(),
    "DELETE /api/v1/session": _anybody(),
    "GET /livez": _anybody(Scope.PROBE),
    "GET /readyz": _anybody(Scope.PROBE),
    "GET /startupz": _anybody(Scope.PROBE),
    "GET /metrics": _viewer(Scope.EVERY_SITE),
    "GET /openapi.json": _anybody(),
    "GET /asyncapi.json": _anybody(),
    "GET /api.html": _anybody(),
    "GET /": _anybody(),
    "GET /devices": _anybody(),
    "GET /devices/{serial}": _anybody(),
    "GET /alarms": _anybody(),
    "GET /notifications": _anybody(),
    "GET /dead-letters": _anybody(),
    "GET /pipeline": _anybody(),
    "GET /login.html": _anybody(),
    "GET /static/{name}": _anybody(),
}
"""By method and pattern, as the application has them; `HEAD` is as `GET`."""


def access_of(method: str, pattern: str) -> Access | None:
    """Who may ask for a route; None when nothing says so, which is nobody."""
    return ACCESS.get(f"{'GET' if method == 'HEAD' else method} {pattern}")
