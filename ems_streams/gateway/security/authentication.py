"""Who asks: by a bearer token from the file, a JWT, or the session of a browser."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from aiohttp import web

from ems_streams.access.errors import DeniedError
from ems_streams.access.jwts import JwtVerifier
from ems_streams.access.roles import ANYBODY, Principal
from ems_streams.access.token_entries import TokenEntry, entry_of
from ems_streams.access.token_file import WatchedTokens
from ems_streams.gateway.security.sessions import Session, Sessions, fingerprint_of
from ems_streams.ops.http import ProblemError

SUBPROTOCOL: Final = "ems.notifications"
_BEARER_SUBPROTOCOL: Final = "ems.bearer."
_DOTS_OF_JWT: Final = 2
_TOKEN_CHARS_MAX: Final = 8192


class By(StrEnum):
    """What somebody has shown."""

    NOTHING = "nothing"
    TOKEN = "token"  # noqa: S105 - the word for one
    JWT = "jwt"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Credential:
    """Somebody who was let in.

    Attributes:
        principal: Who.
        by: By what.
        lasts: Whether they would be let in now as well, as the same.
        entry: Of a static token.
        session: Of a browser.
    """

    principal: Principal
    by: By
    lasts: Callable[[], bool] = lambda: True
    entry: TokenEntry | None = None
    session: Session | None = None


OPEN: Final = Credential(ANYBODY, By.NOTHING)


class Authenticator:
    """Looks at what a request shows.

    Args:
        tokens: Static ones.
        jwts: How JWTs are checked.
        sessions: Of browsers.
        cookie: Name of their cookie.

    Without tokens and without JWTs everybody is let in, as `ANYBODY`.
    """

    def __init__(self, tokens: WatchedTokens | None, jwts: JwtVerifier | None, sessions: Sessions, cookie: str) -> None:
        self._tokens = tokens
        self._jwts = jwts
        self._sessions = sessions
        self._cookie = cookie

    @property
    def open(self) -> bool:
        """Whether nobody has to prove anything."""
        return self._tokens is None and self._jwts is None

    async def credential(self, request: web.Request) -> Credential | None:
        """Who asks; None when nothing is shown. Raises `DeniedError`, and `KeysAwayError` while there are no keys to check a JWT by."""
        if self.open:
            return OPEN
        shown = bearer_in(request)
        if shown is not None:
            return await self.of_token(shown)
        cookie = request.cookies.get(self._cookie)
        return self._of_cookie(cookie) if cookie else None

    async def of_token(self, token: str) -> Credential:
        """Who shows a token; raises as `credential`."""
        if len(token) > _TOKEN_CHARS_MAX:
            raise DeniedError("malformed", "The token is too long to be one.")
        entry = entry_of(self._tokens.entries, token) if self._tokens is not None else None
        if entry is not None:
            if entry.principal.expired(_now()):
                raise DeniedError("expired", "The token has expired.")
            return Credential(entry.principal, By.TOKEN, lambda: self._stands(entry), entry)
        if self._jwts is not None and token.count(".") == _DOTS_OF_JWT:
            principal = await self._jwts.principal(token)
            return Credential(principal, By.JWT, lambda: not principal.expired(_now()))
        raise DeniedError("unknown", "There is no such token.")

    def _of_cookie(self, value: str) -> Credential:
        session = self._sessions.read(value)
        if session.fingerprint is None:
            if self._jwts is None:
                raise DeniedError("session", "JWTs are not accepted any more; log in again.")
            return Credential(session.principal, By.SESSION, lambda: self._sessions.lasts(session), session=session)
        entry = self._entry_of(session)
        if entry is None or entry.principal.expired(_now()):
            raise DeniedError("revoked", "The token of the session counts no more; log in again.")
        # The file says what they may now; the session only for how long.
        now = Principal(entry.name, entry.role, entry.sites, session.principal.expires_at)
        return Credential(now, By.SESSION, lambda: self._sessions.lasts(session) and self._stands(entry), entry, session)

    def _entry_of(self, session: Session) -> TokenEntry | None:
        entries = self._tokens.entries if self._tokens is not None else ()
        return next((each for each in entries if each.name == session.principal.name and fingerprint_of(each) == session.fingerprint), None)

    def _stands(self, entry: TokenEntry) -> bool:
        """Whether the file has an entry as it was: with another role or other sites it is another one."""
        return self._tokens is not None and self._tokens.by_hash.get(entry.hash) == entry and not entry.principal.expired(_now())


def bearer_in(request: web.Request) -> str | None:
    """The token in the header `Authorization`, or among the subprotocols of a WebSocket; raises `DeniedError` for another kind of proof.

    Never in the query of the URL, which ends up in logs and histories.
    """
    header = request.headers.get("Authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise DeniedError("scheme", "The header Authorization is expected to be Bearer and a token.")
        return token.strip()
    return next((each.removeprefix(_BEARER_SUBPROTOCOL) for each in _offered(request) if each.startswith(_BEARER_SUBPROTOCOL)), None)


def check_subprotocols(request: web.Request) -> None:
    """Raises a problem of 400 when a token is offered as the only subprotocol: none would be chosen, and aiohttp would log what was offered."""
    offered = _offered(request)
    if SUBPROTOCOL not in offered and any(each.startswith(_BEARER_SUBPROTOCOL) for each in offered):
        raise ProblemError(400, "Bad subprotocols", f"offer {SUBPROTOCOL} beside the one with the token")


def _offered(request: web.Request) -> list[str]:
    return [each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]


def _now() -> datetime:
    return datetime.now(UTC)
