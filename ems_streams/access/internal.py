"""What processes show each other: the internal token, on everything of a worker's or notifier's web but health and metrics."""

import hmac
import ipaddress
from typing import TYPE_CHECKING, Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from ems_streams.errors import SettingError
from ems_streams.ops.http import Handler, problem

if TYPE_CHECKING:
    from ems_streams.settings import Settings

OPEN_PATHS: Final = frozenset({"/livez", "/readyz", "/startupz", "/metrics"})
"""What probes and Prometheus ask for, which have no token; on an internal address."""
TOKEN_CHARS_MIN: Final = 16
_SETTING: Final = "EMS_INTERNAL_TOKEN"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; a name other than `localhost` is not taken for one."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def internal_token(settings: "Settings") -> str | None:
    """The token, if there is one; raises `SettingError` for one that can be guessed or cannot be sent."""
    if settings.internal_token is None:
        return None
    token = settings.internal_token.get_secret_value()
    if len(token) < TOKEN_CHARS_MIN or not (token.isascii() and token.isprintable() and " " not in token):
        raise SettingError(_SETTING, "***", f"must have at least {TOKEN_CHARS_MIN} printable characters, without spaces")
    return token


def check_internal(settings: "Settings") -> None:
    """Raises `SettingError` when others than this machine could read a worker's live tables without a token."""
    if internal_token(settings) is None and not is_loopback(settings.bind_host):
        raise SettingError(
            "EMS_BIND_HOST",
            settings.bind_host,
            f"must be a loopback address while {_SETTING} is not set: without it everybody who reaches this address reads the live tables; "
            f"give workers, notifier and gateway the same {_SETTING} or {_SETTING}_FILE",
        )


def internal_headers(settings: "Settings") -> dict[str, str]:
    """Headers of a request to a worker; raises `SettingError`."""
    token = internal_token(settings)
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def internal_guard(settings: "Settings") -> Middleware:
    """Middleware that answers 401 without the internal token, if there is one; raises `SettingError`."""
    token = internal_token(settings)
    expected = None if token is None else f"Bearer {token}".encode()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if expected is None or request.path in OPEN_PATHS:
            return await handler(request)
        shown = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if hmac.compare_digest(shown, expected):
            return await handler(request)
        detail = f"This is internal: the gateway and workers ask here, with the token of {_SETTING}. People ask the gateway."
        return problem(
            401, "Internal token needed", detail, instance=request.path, headers={"WWW-Authenticate": 'Bearer realm="ems-internal"'}
        )

    return guard
