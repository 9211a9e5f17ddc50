"""Logging in with a browser: `/api/v1/session`."""

from typing import Any, Final

from aiohttp import web

from ems_streams.access.errors import DeniedError, KeysAwayError
from ems_streams.access.roles import Principal
from ems_streams.access.token_entries import ALL_SITES
from ems_streams.domain.events import format_time
from ems_streams.gateway.answers.sessions import LoginBody, SessionView
from ems_streams.gateway.bodies import json_object
from ems_streams.gateway.openapi.describe import Body, Says, describe
from ems_streams.gateway.openapi.words import SESSION
from ems_streams.gateway.security.asking import ADDRESS, note, principal_of
from ems_streams.gateway.security.authentication import Credential
from ems_streams.gateway.security.exposure import limited_as
from ems_streams.gateway.security.guard import CREDENTIAL, Guard, NotLetInError, keys_away
from ems_streams.gateway.security.sessions import Session, Sessions, TooManySitesError
from ems_streams.ops.http import ProblemError, json_response

BODY_MAX_BYTES: Final = 16 * 1024
_BAD: Final = "Bad login"
_MORE: Final = "[who may](../howto/security-gateway.md)"


class SessionApi:
    """Handlers that begin, show and end sessions.

    Args:
        cookie: Name of the cookie.
        secure: Whether browsers reach the gateway over HTTPS.
    """

    def __init__(self, guard: Guard, sessions: Sessions, cookie: str, *, secure: bool) -> None:
        self._guard = guard
        self._sessions = sessions
        self._cookie = cookie
        self._secure = secure

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/session", self._show),
            web.post("/api/v1/session", self._log_in),
            web.delete("/api/v1/session", self._log_out),
        ]

    @describe("who asks, and what they may", tag=SESSION, answers={200: Says("Who asks.", (SessionView,))}, more=_MORE)
    async def _show(self, request: web.Request) -> web.Response:
        """Who asks, and what they may."""
        return json_response(self._view(principal_of(request)))

    @describe(
        "the session of a browser, begun with a token",
        tag=SESSION,
        text="The session is a cookie for pages of this gateway only. Programs send the token itself with each request.",
        body=Body(LoginBody, BODY_MAX_BYTES, {"token": "ems_0123456789abcdef"}),
        answers={200: Says("The session has begun, or there is no need of one.", (SessionView,))},
        problems={401: "The token is none that is known.", 503: "The keys that JWTs are checked by cannot be read at the moment."},
        more=_MORE,
        public=True,
    )
    async def _log_in(self, request: web.Request) -> web.Response:
        """Begin a session with a token; the cookie goes to scripts of no page, and to no other site."""
        fields = await json_object(request, _BAD, max_bytes=BODY_MAX_BYTES)
        token = fields.get("token")
        if not isinstance(token, str) or not token or fields.keys() != {"token"}:
            raise ProblemError(400, _BAD, "expected one member: token, a text")
        if self._guard.authenticator.open:
            return json_response(self._view(principal_of(request)))
        credential = await self._checked(request, token.strip())
        note(request, login=credential.principal.name)
        try:
            value, principal = self._sessions.begin(credential.principal, credential.entry)
        except TooManySitesError:
            raise ProblemError(400, _BAD, "The token names more sites than a session can hold; ask with the token itself.") from None
        response = json_response(self._view(principal))
        expires_at = principal.expires_at
        response.set_cookie(
            self._cookie,
            value,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="Strict",
            expires=None if expires_at is None else expires_at.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        )
        return response

    async def _checked(self, request: web.Request, token: str) -> Credential:
        address = limited_as(request[ADDRESS])
        self._guard.limits.check_failures(address)
        try:
            return await self._guard.authenticator.of_token(token)
        except DeniedError as error:
            note(request, outcome="denied", login=error.reason)
            self._guard.limits.failed(address)
            raise NotLetInError(error.detail, error.reason, wrong=True) from None
        except KeysAwayError:
            raise keys_away() from None

    @describe(
        "nothing; the session is over",
        tag=SESSION,
        answers={204: Says("The session is over, if there was one.", media_type=None)},
        more=_MORE,
        public=True,
    )
    async def _log_out(self, request: web.Request) -> web.Response:
        credential = request.get(CREDENTIAL)
        session = self._of_cookie(request) if credential is None or credential.session is None else credential.session
        if session is not None:
            self._sessions.end(session)
        response = web.Response(status=204, headers={"Cache-Control": "no-store"})
        response.del_cookie(self._cookie, path="/", secure=self._secure, httponly=True, samesite="Strict")
        return response

    def _of_cookie(self, request: web.Request) -> Session | None:
        """The session of a cookie that lets nobody in here: a program does not say where its request comes from, and has to be able to log out."""
        try:
            return self._sessions.read(request.cookies.get(self._cookie, ""))
        except DeniedError:
            return None

    def _view(self, principal: Principal) -> dict[str, Any]:
        return {
            "authentication": "open" if self._guard.authenticator.open else "token",
            "name": principal.name,
            "role": str(principal.role),
            "sites": ALL_SITES if principal.sites is None else sorted(principal.sites),
            "expiresAt": None if principal.expires_at is None else format_time(principal.expires_at),
        }
