"""The guard of a gateway and what belongs to it, from settings."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from ems_streams.access.jwk_sets import KeySet, from_file, from_url
from ems_streams.access.jwts import JwtRules, JwtVerifier
from ems_streams.access.token_file import WatchedTokens
from ems_streams.gateway.security.audit import AuditLog
from ems_streams.gateway.security.authentication import Authenticator
from ems_streams.gateway.security.browsers import cors_headers
from ems_streams.gateway.security.exposure import check_exposure
from ems_streams.gateway.security.guard import Guard
from ems_streams.gateway.security.limits import Limits
from ems_streams.gateway.security.scopes import SiteOf
from ems_streams.gateway.security.session_api import SessionApi
from ems_streams.gateway.security.sessions import COOKIE, SECURE_COOKIE, Sessions
from ems_streams.ops.health import CheckResult, Health

if TYPE_CHECKING:
    from ems_streams.settings import Settings

HSTS = "max-age=31536000"


@dataclass(frozen=True, slots=True)
class Security:
    """All that decides who may ask a gateway.

    Attributes:
        guard: The middleware.
        sessions: Routes of logging in.
        secure: Whether clients come over HTTPS.
        origins: Other origins whose pages may ask.
    """

    guard: Guard
    sessions: SessionApi
    secure: bool
    origins: frozenset[str]
    _tokens: WatchedTokens | None
    _keys: KeySet | None

    @classmethod
    def of(cls, settings: "Settings", site_of: SiteOf) -> "Security":
        """From settings; raises `SettingError`, and `UsageError` for a file of tokens that cannot be used."""
        check_exposure(settings)
        secure = settings.gateway_cert_file is not None or settings.gateway_behind_tls_proxy
        cookie = SECURE_COOKIE if secure else COOKIE
        tokens = None if settings.gateway_tokens_file is None else WatchedTokens(settings.gateway_tokens_file)
        keys = _keys(settings)
        key = settings.gateway_session_key
        sessions = Sessions(None if key is None else key.get_secret_value(), settings.gateway_session_s)
        origins = frozenset(settings.gateway_cors_origins)
        guard = Guard(
            Authenticator(tokens, None if keys is None else JwtVerifier(_rules(settings), keys), sessions, cookie),
            Limits(settings),
            AuditLog(settings.gateway_audit_file),
            site_of=site_of,
            origins=origins,
            behind_proxy=settings.gateway_behind_tls_proxy,
        )
        return cls(guard, SessionApi(guard, sessions, cookie, secure=secure), secure, origins, tokens, keys)

    def watch(self, health: Health) -> None:
        """Register what people should know; none of it keeps the gateway from being ready."""
        if self._tokens is not None:
            tokens = self._tokens
            health.add_readiness(
                "tokens", lambda: CheckResult(not tokens.trouble, tokens.trouble or f"{len(tokens.entries)} tokens"), required=False
            )
        if self._keys is not None:
            keys = self._keys
            health.add_readiness("jwks", lambda: CheckResult(not keys.trouble, keys.trouble or "keys can be read"), required=False)
        audit = self.guard.audit
        health.add_readiness(
            "audit", lambda: CheckResult(not audit.trouble, audit.trouble or "every change is written down"), required=False
        )

    async def add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """For `app.on_response_prepare`."""
        # It names Python and aiohttp with their versions.
        response.headers.pop("Server", None)
        if self.secure:
            response.headers.setdefault("Strict-Transport-Security", HSTS)
        for name, value in cors_headers(request, self.origins).items():
            if name == "Vary" and "Vary" in response.headers:
                response.headers["Vary"] += f", {value}"
            else:
                response.headers[name] = value


def _keys(settings: "Settings") -> KeySet | None:
    if settings.gateway_jwks_file is not None:
        return KeySet(from_file(settings.gateway_jwks_file), str(settings.gateway_jwks_file))
    if settings.gateway_jwks_url is not None:
        return KeySet(from_url(str(settings.gateway_jwks_url)), str(settings.gateway_jwks_url))
    return None


def _rules(settings: "Settings") -> JwtRules:
    return JwtRules(
        settings.gateway_jwt_issuer or "",
        settings.gateway_jwt_audience or "",
        settings.gateway_jwt_algorithms,
        settings.gateway_jwt_leeway_s,
        settings.gateway_jwt_name_claim,
        settings.gateway_jwt_role_claim,
        settings.gateway_jwt_sites_claim,
    )
