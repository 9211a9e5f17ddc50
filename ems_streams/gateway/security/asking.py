"""Who asks, for the handlers of requests."""

from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from ems_streams.access.roles import ANYBODY, Principal, Sites

ADDRESS: Final = web.RequestKey("address", str)
PRINCIPAL: Final = web.RequestKey("principal", Principal)
STILL_LET_IN: Final[web.RequestKey[Callable[[], bool]]] = web.RequestKey("still_let_in")
FACTS: Final[web.RequestKey[dict[str, object]]] = web.RequestKey("audit_facts")


def principal_of(request: web.Request) -> Principal:
    """Who asks. The guard sets it for every request of the gateway; an application without the guard, such as a test's, is open."""
    principal: Principal = request.get(PRINCIPAL, ANYBODY)
    return principal


def sites_of(request: web.Request) -> Sites:
    """Sites that may be shown; None for every one."""
    return principal_of(request).sites


def still_let_in(request: web.Request) -> bool:
    """Whether whoever asked would be let in now as well, as the same: for what goes on for long."""
    check = request.get(STILL_LET_IN)
    return check is None or check()


def address_of(request: web.Request) -> str | None:
    """Where a request is from; behind a proxy, as the proxy says."""
    return request[ADDRESS] if ADDRESS in request else request.remote  # noqa: SIM401 - `get` knows no types of keys


def author_of(request: web.Request, said: Any) -> Any:
    """By whom something is done: by the name of the token when there is one, whatever the request says."""
    principal = principal_of(request)
    return principal.name if principal.proven else said


def note(request: web.Request, **facts: object) -> None:
    """What the audit log says of a request beside its path."""
    request[FACTS] = {**request.get(FACTS, {}), **facts}
