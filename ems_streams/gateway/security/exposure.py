"""Whether the gateway may listen as it is set to, decided before it does."""

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import structlog

from ems_streams.access.internal import is_loopback
from ems_streams.errors import SettingError
from ems_streams.gateway.security.sessions import KEY_CHARS_MIN

if TYPE_CHECKING:
    from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

_PUBLIC_KEYS: Final = "EMS_GATEWAY_JWKS_URL"
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_exposure(settings: "Settings") -> None:
    """Raises `SettingError` when others than this machine could do as they like, or what is set about JWTs and sessions cannot be meant."""
    _check_jwts(settings)
    key = settings.gateway_session_key
    if key is not None and len(key.get_secret_value()) < KEY_CHARS_MIN:
        raise SettingError("EMS_GATEWAY_SESSION_KEY", "***", f"must have at least {KEY_CHARS_MIN} characters")
    if not settings.gateway_is_open or is_loopback(settings.gateway_host):
        return
    raise SettingError(
        "EMS_GATEWAY_HOST",
        settings.gateway_host,
        "must be a loopback address while nothing says who may ask: set EMS_GATEWAY_TOKENS_FILE (`ems-streams tokens create` makes the file), "
        f"or {_PUBLIC_KEYS} for JWTs",
    )


def warn_of_exposure(settings: "Settings") -> None:
    """Say in the log what people should know of how the gateway listens."""
    if settings.gateway_is_open:
        log.warning(
            "gateway_open", detail="anybody on this machine may do everything: there are no tokens, and it listens on loopback only"
        )
    elif not is_loopback(settings.gateway_host) and settings.gateway_cert_file is None and not settings.gateway_behind_tls_proxy:
        log.warning(
            "gateway_without_https",
            host=settings.gateway_host,
            detail="tokens and data cross the network in the clear: set EMS_GATEWAY_CERT_FILE and EMS_GATEWAY_KEY_FILE, or let a proxy speak "
            "HTTPS and set EMS_GATEWAY_BEHIND_TLS_PROXY",
        )


def _check_jwts(settings: "Settings") -> None:
    if settings.gateway_jwks_url is None and settings.gateway_jwks_file is None:
        return
    if settings.gateway_jwks_url is not None and settings.gateway_jwks_file is not None:
        raise SettingError("EMS_GATEWAY_JWKS_FILE", str(settings.gateway_jwks_file), f"must not be set beside {_PUBLIC_KEYS}")
    for name, value in (("ISSUER", settings.gateway_jwt_issuer), ("AUDIENCE", settings.gateway_jwt_audience)):
        if not value:
            raise SettingError(f"EMS_GATEWAY_JWT_{name}", value, "must be set: without it JWTs that are meant for others would count here")
    if settings.gateway_jwks_url is not None:
        url = urlsplit(str(settings.gateway_jwks_url))
        if url.scheme != "https" and not is_loopback(url.hostname or ""):
            raise SettingError(_PUBLIC_KEYS, str(settings.gateway_jwks_url), "must be https: who changes the keys on their way can sign")


def client_address(remote: str | None, forwarded: Sequence[str], *, behind_proxy: bool) -> str:
    """Address of whoever asks; behind a proxy the one that the proxy has added last, since all before it is the client's own word.

    Args:
        forwarded: Every header `X-Forwarded-For`: some proxies add to the client's, others a header of their own.
    """
    if behind_proxy and forwarded:
        last = forwarded[-1].rsplit(",", 1)[-1].strip()
        try:
            return str(_v4_of(ipaddress.ip_address(last.strip("[]"))))
        except ValueError:
            pass
    return remote or "unknown"


def limited_as(address: str) -> str:
    """What addresses are limited as: a whole network of IPv6, of which one client has all addresses."""
    try:
        parsed = _v4_of(ipaddress.ip_address(address))
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)


def _v4_of(address: _Address) -> _Address:
    """An address of IPv4 as such: written as one of IPv6, all of them would be of one network."""
    return (address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None) or address
