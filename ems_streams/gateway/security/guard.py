"""The one middleware that lets requests of the gateway through, or does not; and writes down who changed or was denied what."""

import uuid
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware
from aiohttp.web_urldispatcher import SystemRoute

from ems_streams.access.errors import DeniedError, KeysAwayError
from ems_streams.access.roles import Principal, Role
from ems_streams.domain.events import format_time
from ems_streams.errors import EmsError
from ems_streams.gateway.security.access import Access, Scope, access_of
from ems_streams.gateway.security.asking import ADDRESS, FACTS, PRINCIPAL, STILL_LET_IN
from ems_streams.gateway.security.audit import AuditLog
from ems_streams.gateway.security.authentication import Authenticator, By, Credential
from ems_streams.gateway.security.browsers import (
    SAFE_METHODS,
    check_cookie_use,
    check_host,
    check_json,
    check_origin,
    is_preflight,
    is_websocket,
    preflight_answer,
)
from ems_streams.gateway.security.exposure import client_address, limited_as
from ems_streams.gateway.security.limits import Limits, TooOftenError
from ems_streams.gateway.security.probes import without_details
from ems_streams.gateway.security.scopes import SiteOf, check_scope
from ems_streams.metrics.gateway import DENIED
from ems_streams.ops.http import Handler, ProblemError
from ems_streams.ops.problems import problem_of
from ems_streams.ops.request_ids import request_id

log = structlog.get_logger(__name__)

CREDENTIAL: Final = web.RequestKey("credential", Credential)
NOBODY: Final = Principal("nobody", Role.VIEWER, frozenset(), proven=False)
"""Who has shown nothing: sees nothing of any site."""
_PATH_CHARS_MAX: Final = 300
_REALM: Final = 'Bearer realm="ems-streams"'


class NotLetInError(ProblemError):
    """401."""

    def __init__(self, detail: str, reason: str, *, wrong: bool) -> None:
        challenge = f'{_REALM}, error="invalid_token"' if wrong else _REALM
        super().__init__(401, "Not logged in", detail, headers={"WWW-Authenticate": challenge})
        self.reason = reason


def keys_away() -> ProblemError:
    """503: nobody can say whether a JWT counts."""
    detail = "The keys that JWTs are checked by cannot be read at the moment."
    return ProblemError(503, "Keys are away", detail, headers={"Retry-After": "10"})


class Guard:
    """Decides about every request, by the table in `access`: what has no entry there is denied.

    Args:
        site_of: Site of a device.
        origins: Other origins whose pages may ask.
        behind_proxy: Whether the client's address is what a proxy says.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        limits: Limits,
        audit: AuditLog,
        *,
        site_of: SiteOf,
        origins: Collection[str] = (),
        behind_proxy: bool = False,
    ) -> None:
        self.authenticator = authenticator
        self.limits = limits
        self.audit = audit
        self._site_of = site_of
        self._origins = origins
        self._behind_proxy = behind_proxy

    @property
    def middleware(self) -> Middleware:
        """For the application, inside of what makes problems of errors."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guard(request, handler)

        return guard

    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        request[ADDRESS] = client_address(request.remote, request.headers.getall("X-Forwarded-For", ()), behind_proxy=self._behind_proxy)
        if is_preflight(request) and self._origins:
            check_origin(request, self._origins)
            return preflight_answer()
        let_in = False
        try:
            headers = await self._admit(request)
            let_in = True
            response = await handler(request)
        except ProblemError as error:
            self._write_down(request, error.status, error, let_in=let_in)
            raise
        except EmsError as error:
            # What it is as an answer is what is written down.
            told = problem_of(error)
            self._write_down(request, told.status, told, let_in=let_in)
            raise told from error
        except web.HTTPException as error:
            self._write_down(request, error.status, None, let_in=let_in)
            raise
        except Exception:
            self._write_down(request, 500, None, let_in=let_in)
            raise
        self._write_down(request, response.status, None, let_in=True)
        if not response.prepared:
            response.headers.update(headers)
        return response if self._may_see_details(request) else without_details(response)

    async def _admit(self, request: web.Request) -> dict[str, str]:
        """Let a request in, and give headers of its answer; raises `ProblemError`."""
        request[PRINCIPAL] = NOBODY
        route = request.match_info.route
        # Nothing is there, or not with this method: whoever asks is told so.
        access = None if isinstance(route, SystemRoute) else _entry(request)
        if self.authenticator.open:
            check_host(request)
        credential = await self._credential(request, needed=access is not None and access.role is not None)
        known = credential is not None and credential.principal.proven
        who = credential.principal.name if credential is not None and known else limited_as(request[ADDRESS])
        # A token may be named as an address is written.
        headers = self.limits.request(request, who, f"{'token' if known else 'address'} {who}")
        if access is not None:
            self._check(request, access, credential)
        return headers

    async def _credential(self, request: web.Request, *, needed: bool) -> Credential | None:
        try:
            credential = await self.authenticator.credential(request)
            if credential is not None and credential.by is By.SESSION:
                check_cookie_use(request)
        except (DeniedError, KeysAwayError, ProblemError) as error:
            # What is shown for nothing, such as a cookie that is over, must not keep anybody from the page where they can log in again.
            if not needed:
                return None
            raise self._refusal(request, error) from None
        if credential is not None:
            request[PRINCIPAL], request[CREDENTIAL], request[STILL_LET_IN] = credential.principal, credential, credential.lasts
        return credential

    def _refusal(self, request: web.Request, error: Exception) -> Exception:
        """What is answered; wrong tokens are counted, and too many of them raise `TooOftenError`."""
        if isinstance(error, DeniedError):
            self.limits.failed(limited_as(request[ADDRESS]))
            return NotLetInError(error.detail, error.reason, wrong=True)
        if isinstance(error, KeysAwayError):
            return keys_away()
        return error

    def _check(self, request: web.Request, access: Access, credential: Credential | None) -> None:
        if access.role is not None:
            if credential is None:
                raise NotLetInError("A token is needed: send it as Authorization: Bearer, or log in at /login.html.", "none", wrong=False)
            principal = credential.principal
            if not principal.role.covers(access.role):
                detail = f"This needs the role {access.role}; {principal.name} has the role {principal.role}."
                raise ProblemError(403, "Not allowed", detail)
            check_scope(request, principal, access.scope, self._site_of)
        if is_websocket(request) or request.method not in SAFE_METHODS:
            check_origin(request, self._origins)
        check_json(request)

    def _may_see_details(self, request: web.Request) -> bool:
        access = access_of(request.method, _pattern(request))
        if access is None or access.scope is not Scope.PROBE:
            return True
        credential = request.get(CREDENTIAL)
        return credential is not None and credential.principal.sites is None

    def _write_down(self, request: web.Request, status: int, error: ProblemError | None, *, let_in: bool) -> None:
        """A line for every change and every denial."""
        denied = not let_in and status < 500
        changed = request.method not in SAFE_METHODS and not isinstance(request.match_info.route, SystemRoute)
        if denied:
            DENIED.labels(str(status)).inc()
        if not (denied or changed) or (isinstance(error, TooOftenError) and not error.first):
            return
        credential = request.get(CREDENTIAL)
        principal = request[PRINCIPAL]
        self.audit.write(
            {
                "time": format_time(datetime.now(UTC)),
                "outcome": "denied" if denied else "done" if status < 400 else "refused" if status < 500 else "failed",
                "who": principal.name,
                "role": None if credential is None else str(principal.role),
                "by": str(By.NOTHING if credential is None else credential.by),
                "address": request[ADDRESS],
                "method": request.method,
                "route": _pattern(request),
                "target": request.path[:_PATH_CHARS_MAX],
                "status": status,
                "reason": getattr(error, "reason", None) or (None if error is None else error.title),
                "requestId": request_id() or uuid.uuid4().hex,
                **request.get(FACTS, {}),
            }
        )


def _entry(request: web.Request) -> Access:
    access = access_of(request.method, _pattern(request))
    if access is None:
        log.error("route_without_access", method=request.method, route=_pattern(request))
        raise ProblemError(403, "Not allowed", "Nothing says who may do this.")
    return access


def _pattern(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "none" if resource is None else resource.canonical
