"""Sessions of browsers: a signed cookie that says by which token somebody has logged in, and never the token itself."""

import base64
import binascii
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import orjson

from ems_streams.access.errors import DeniedError
from ems_streams.access.roles import Principal, Role
from ems_streams.access.token_entries import TokenEntry

COOKIE: Final = "ems-session"
SECURE_COOKIE: Final = "__Host-ems-session"
"""Browsers take a cookie of this name over HTTPS only, from this host only."""
KEY_CHARS_MIN: Final = 32
COOKIE_CHARS_MAX: Final = 3900
ENDED_MAX: Final = 10_000
_CONTEXT: Final = b"ems-streams session v1"


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has logged in.

    Attributes:
        session_id: Of this session alone.
        fingerprint: Of the static token's entry; None when it was a JWT.
        principal: As they logged in; of a static token the file decides what they may now.
    """

    session_id: str
    fingerprint: str | None
    principal: Principal


class TooManySitesError(Exception):
    """What a JWT says is more than a cookie can hold."""


class Sessions:
    """Makes and reads the cookies. Those that were logged out are remembered here until they would be over anyway.

    Args:
        key: Signs them; the same in all gateways. Without one it is made here: a gateway that starts again ends all sessions.
        lifetime_s: Longest time of a session.
        clock: Seconds since the epoch.
    """

    def __init__(self, key: str | None, lifetime_s: float, clock: Callable[[], float] = time.time) -> None:
        secret = secrets.token_bytes(32) if key is None else key.encode()
        self._key = hmac.new(secret, _CONTEXT, sha256).digest()
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._ended: OrderedDict[str, float] = OrderedDict()

    def begin(self, principal: Principal, entry: TokenEntry | None) -> tuple[str, Principal]:
        """A cookie's value for somebody who has shown a token, and them as they are in the session; raises `TooManySitesError`."""
        ends = datetime.fromtimestamp(int(self._clock() + self._lifetime_s), UTC)
        ends = ends if principal.expires_at is None else min(ends, principal.expires_at)
        said = {
            "i": secrets.token_urlsafe(9),
            "n": principal.name,
            "f": None if entry is None else fingerprint_of(entry),
            "r": principal.role.value,
            "s": None if principal.sites is None else sorted(principal.sites),
            "e": ends.timestamp(),
        }
        body = _encode(orjson.dumps(said))
        value = f"{body}.{_encode(self._signature(body))}"
        if len(value) > COOKIE_CHARS_MAX:
            raise TooManySitesError
        return value, Principal(principal.name, principal.role, principal.sites, ends)

    def read(self, value: str) -> Session:
        """The session of a cookie; raises `DeniedError`."""
        body, _, signature = value.partition(".")
        try:
            if not hmac.compare_digest(_decode(signature), self._signature(body)):
                raise DeniedError("session", "The session is not one of this gateway; log in again.")
            said: dict[str, Any] = orjson.loads(_decode(body))
        except (binascii.Error, ValueError):
            raise DeniedError("session", "The session cannot be read; log in again.") from None
        sites = None if said["s"] is None else frozenset(said["s"])
        ends = datetime.fromtimestamp(said["e"], UTC)
        session = Session(said["i"], said["f"], Principal(said["n"], Role(said["r"]), sites, ends))
        if not self.lasts(session):
            raise DeniedError("expired", "The session is over; log in again.")
        return session

    def lasts(self, session: Session) -> bool:
        """Whether a session is neither over nor logged out."""
        ends = session.principal.expires_at
        return session.session_id not in self._ended and (ends is None or ends.timestamp() > self._clock())

    def end(self, session: Session) -> None:
        """Log out."""
        now_s = self._clock()
        self._ended[session.session_id] = now_s
        while self._ended and (len(self._ended) > ENDED_MAX or next(iter(self._ended.values())) < now_s - self._lifetime_s):
            self._ended.popitem(last=False)

    def _signature(self, body: str) -> bytes:
        return hmac.new(self._key, body.encode(errors="surrogateescape"), sha256).digest()


def fingerprint_of(entry: TokenEntry) -> str:
    """Tells the entry of a token from the next one of its name, without its hash."""
    return sha256(_CONTEXT + entry.hash.encode()).hexdigest()[:32]


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
