"""Types of settings: what a value must be, and how a text lists several."""

from functools import lru_cache
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, AnyUrl, Field, UrlConstraints

MqttUrl = Annotated[AnyUrl, UrlConstraints(allowed_schemes=["mqtt", "mqtts", "tcp", "ssl"], host_required=True)]
HttpUrl = Annotated[AnyUrl, UrlConstraints(allowed_schemes=["http", "https"], host_required=True)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Days = Annotated[int, Field(ge=0, le=36_500)]
NotNegative = Annotated[float, Field(ge=0)]

_zones = lru_cache(maxsize=1)(available_timezones)

_OWN_MACHINE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked, not listened on


def _known_zone(name: str) -> str:
    if name not in _zones():
        raise ValueError("must be a time zone of the IANA database, such as Europe/Berlin")
    return name


TimeZone = Annotated[str, AfterValidator(_known_zone)]
WindowLabel = Literal["1m", "15m", "1h", "1d", "1d-local"]
NOTHING = "none"
"""An empty variable is no setting, so that a list of nothing needs a word."""


def parts(value: object) -> object:
    """What a text lists between commas, `none` for nothing; anything else as it is."""
    if value == NOTHING:
        return []
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def pairs(value: object, expected: str) -> object:
    """What a text of `key=value` lists between commas, `none` for nothing; anything else as it is.

    Raises `ValueError` with what is expected for anything but that, and for a key that is there twice.
    """
    listed = parts(value)
    if not isinstance(listed, list):
        return value
    found: dict[str, str] = {}
    for part in listed:
        key, _, assigned = (each.strip() for each in part.partition("="))
        if not key or not assigned or key in found:
            raise ValueError(expected)
        found[key] = assigned
    return found


def reached_at(host: str) -> str:
    """Host of the URL by which who listens at an address is reached from its own machine; one of IPv6 in brackets."""
    asked = _OWN_MACHINE.get(host, host)
    return f"[{asked}]" if ":" in asked else asked
