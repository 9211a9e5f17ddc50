"""Which notifications a client of the WebSocket wants: `site`, `device`, `severity` and `kind`, each with one or more values; pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from aiohttp import web

from ems_streams.domain.events import NotificationKind, Severity
from ems_streams.gateway.parameters import bad_parameter, site_id

_MAX_VALUES = 1000


class Facts(NamedTuple):
    """What filters look at; None where the notification has no such field."""

    site_id: int | None = None
    serial_number: str | None = None
    severity: str | None = None
    kind: str | None = None


NO_FACTS = Facts()


def facts_of(document: dict[str, Any]) -> Facts:
    """The facts of a notification as JSON has it, whatever is in it."""
    site, *texts = (document.get(name) for name in ("siteId", "serialNumber", "severity", "kind"))
    return Facts(site if isinstance(site, int) else None, *(text if isinstance(text, str) else None for text in texts))


@dataclass(frozen=True, slots=True)
class Filter:
    """Wants what has one of the values in each field; an empty set wants all. Equal filters share what is prepared for them."""

    sites: frozenset[int] = frozenset()
    devices: frozenset[str] = frozenset()
    severities: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()

    def wants(self, facts: Facts) -> bool:
        """Whether a notification with these facts is for this client."""
        return (
            (not self.sites or facts.site_id in self.sites)
            and (not self.devices or facts.serial_number in self.devices)
            and (not self.severities or facts.severity in self.severities)
            and (not self.kinds or facts.kind in self.kinds)
        )


EVERYTHING = Filter()


def filter_of(request: web.Request) -> Filter:
    """The filter in a query such as `site=1,2&severity=WARNING&severity=CRITICAL`; raises a 400 that names the parameter."""
    return Filter(
        sites=frozenset(site_id(text) for text in _values(request, "site")),
        devices=frozenset(_values(request, "device")),
        severities=_members(request, "severity", Severity),
        kinds=_members(request, "kind", NotificationKind),
    )


def _values(request: web.Request, name: str) -> list[str]:
    values = [part.strip() for text in request.query.getall(name, ()) for part in text.split(",") if part.strip()]
    if len(values) > _MAX_VALUES:
        raise bad_parameter(name, f"{len(values)} values; at most {_MAX_VALUES} are possible")
    return values


def _members(request: web.Request, name: str, members: type[StrEnum]) -> frozenset[str]:
    values = _values(request, name)
    for value in values:
        if value not in members.__members__:
            raise bad_parameter(name, f"{value!r}: must be one of {', '.join(members)}")
    return frozenset(values)
