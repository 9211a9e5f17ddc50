"""What browsers are asked before what they bring along by themselves counts: where the page is from that makes the request."""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from ems_streams.access.internal import is_loopback
from ems_streams.ops.http import ProblemError

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_OWN: Final = frozenset({"same-origin", "none"})
PREFLIGHT_S: Final = 600


def is_websocket(request: web.Request) -> bool:
    """Whether an upgrade is asked for."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


def check_cookie_use(request: web.Request) -> None:
    """Raises a problem of 403 unless a page of this gateway makes the request; a cookie comes along whoever makes it."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    changes = request.method not in SAFE_METHODS or is_websocket(request)
    if (
        (site is not None and site not in _OWN)
        or (origin is not None and not is_own(request, origin))
        or (changes and site is None and origin is None)
    ):
        raise _foreign()


def check_origin(request: web.Request, allowed: Collection[str]) -> None:
    """Raises a problem of 403 for a page of another origin than this gateway's and those that are allowed."""
    origin = request.headers.get("Origin")
    if origin is not None and origin not in allowed and not is_own(request, origin):
        raise _foreign()


def check_host(request: web.Request) -> None:
    """Raises a problem of 403 for a name that is not this machine's: a page whose name was made to point here would be of our own origin."""
    host = request.headers.get("Host")
    if host is not None and not is_loopback(_name_in(host)):
        detail = f"The gateway is open, and answers under names of this machine only, not as {host[:100]!r}. With EMS_GATEWAY_TOKENS_FILE it answers as any."
        raise ProblemError(403, "Foreign host", detail)


def check_json(request: web.Request) -> None:
    """Raises a problem of 415: what changes something is JSON, which no form and no page of another site can send without asking first."""
    has_body = request.method in WITH_BODY or (request.method not in SAFE_METHODS and request.body_exists)
    if has_body and request.content_type != "application/json":
        said = request.headers.get("Content-Type")
        what = "no content type" if said is None else f"content type {said[:64]!r}"
        raise ProblemError(415, "Unsupported Media Type", f"{what}: expected application/json")


def is_own(request: web.Request, origin: str) -> bool:
    """Whether a page of an origin is this gateway's."""
    return origin.partition("://")[2].lower() == request.host.lower()


def is_preflight(request: web.Request) -> bool:
    """Whether a browser asks whether a page of another origin may ask."""
    return request.method == "OPTIONS" and "Origin" in request.headers and "Access-Control-Request-Method" in request.headers


def preflight_answer() -> web.Response:
    """What a page of an allowed origin may do; the origin itself is said with every answer."""
    return web.Response(
        status=204,
        headers={
            "Access-Control-Allow-Methods": "GET, POST, DELETE",
            "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, If-None-Match, Request-Timeout, X-Request-Id",
            "Access-Control-Max-Age": str(PREFLIGHT_S),
        },
    )


def cors_headers(request: web.Request, allowed: Collection[str]) -> dict[str, str]:
    """Headers of an answer to a page of an allowed origin. Cookies are not allowed with them: such a page shows a token."""
    if not allowed:
        return {}
    origin = request.headers.get("Origin")
    if origin not in allowed:
        return {"Vary": "Origin"}
    exposed = "ETag, Idempotency-Replayed, Link, Location, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, X-Request-Id"
    return {"Access-Control-Allow-Origin": str(origin), "Access-Control-Expose-Headers": exposed, "Vary": "Origin"}


def _name_in(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _foreign() -> ProblemError:
    return ProblemError(403, "Foreign origin", "Only pages of this gateway may do this with a browser.")
