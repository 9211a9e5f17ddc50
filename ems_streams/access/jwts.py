"""JWTs as bearer tokens: who issued them, whom they are about, and what that one may."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import jwt

from ems_streams.access.errors import DeniedError
from ems_streams.access.jwk_sets import KeySource
from ems_streams.access.roles import Principal, Role, Sites
from ems_streams.access.token_entries import ALL_SITES

TOKEN_CHARS_MAX: Final = 8192
_NAME_CHARS_MAX: Final = 128
_SITES_MAX: Final = 10_000
_SITE_MAX: Final = 2**63 - 1
_LAST_S: Final = 253_402_300_000.0
"""In the year 9999: no later time can be told."""
_UNREADABLE: Final = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
_CLAIMS: Final = ("exp", "iss", "aud")


@dataclass(frozen=True, slots=True)
class JwtRules:
    """What a JWT must be.

    Attributes:
        issuer: Its `iss`.
        audience: What its `aud` is or contains.
        algorithms: Signatures that count; all of two keys.
        leeway_s: How far clocks may differ.
        name_claim: Where the name is; a path with points leads into objects.
        role_claim: Where the role is.
        sites_claim: Where the sites are.
    """

    issuer: str
    audience: str
    algorithms: Sequence[str]
    leeway_s: float = 30.0
    name_claim: str = "sub"
    role_claim: str = "ems_role"
    sites_claim: str = "ems_sites"


class JwtVerifier:
    """Says who shows a JWT."""

    def __init__(self, rules: JwtRules, keys: KeySource) -> None:
        self._rules = rules
        self._keys = keys

    async def principal(self, token: str) -> Principal:
        """Who it is about. Raises `DeniedError`, and `KeysAwayError` while there are no keys to check it by."""
        if len(token) > TOKEN_CHARS_MAX:
            raise DeniedError("malformed", "The JWT is too long.")
        try:
            header = jwt.get_unverified_header(token)
        except _UNREADABLE:
            raise DeniedError("malformed", "The token is no JWT that can be read.") from None
        algorithm, kid = str(header.get("alg")), header.get("kid")
        if algorithm not in self._rules.algorithms:
            raise DeniedError("algorithm", f"The JWT is signed with {algorithm[:16]!r}; expected {', '.join(self._rules.algorithms)}.")
        keys = await self._keys.find(kid if isinstance(kid, str) else None)
        if not keys:
            raise DeniedError("unknown_key", "The key that the JWT names is not one of its issuer's.")
        return self._about(self._claims(token, algorithm, [key.key for key in keys if algorithm in key.algorithms]))

    def _claims(self, token: str, algorithm: str, keys: Sequence[Any]) -> dict[str, Any]:
        rules = self._rules
        for key in keys:
            try:
                return jwt.decode(
                    token,
                    key,
                    algorithms=[algorithm],
                    issuer=rules.issuer,
                    audience=rules.audience,
                    leeway=rules.leeway_s,
                    options={"require": list(_CLAIMS)},
                )
            except jwt.InvalidSignatureError:
                continue
            except _UNREADABLE as error:
                raise _denied(error) from None
        raise DeniedError("signature", "The signature of the JWT is not one of its issuer's.")

    def _about(self, claims: dict[str, Any]) -> Principal:
        rules = self._rules
        name = _claim(claims, rules.name_claim)
        if not isinstance(name, str) or not 0 < len(name) <= _NAME_CHARS_MAX or not name.isprintable():
            raise DeniedError("claims", f"The claim {rules.name_claim} of the JWT is expected to be a name.")
        expires_at = datetime.fromtimestamp(min(float(claims["exp"]) + rules.leeway_s, _LAST_S), UTC)
        return Principal(name, self._role(claims), self._sites(claims), expires_at)

    def _role(self, claims: dict[str, Any]) -> Role:
        said = _claim(claims, self._rules.role_claim)
        # Issuers list the roles of somebody for all of their applications.
        roles = [Role(each) for each in (said if isinstance(said, list) else [said]) if isinstance(each, str) and each in set(Role)]
        if not roles:
            raise DeniedError("claims", f"The claim {self._rules.role_claim} of the JWT is expected to be {', '.join(Role)}.")
        return max(roles, key=lambda role: role.rank)

    def _sites(self, claims: dict[str, Any]) -> Sites:
        said = _claim(claims, self._rules.sites_claim)
        if said == ALL_SITES:
            return None
        if isinstance(said, list) and 0 < len(said) <= _SITES_MAX:
            sites = [_site(each) for each in said]
            if None not in sites:
                return frozenset(site for site in sites if site is not None)
        raise DeniedError("claims", f"The claim {self._rules.sites_claim} of the JWT is expected to be {ALL_SITES}, or a list of site ids.")


def _claim(claims: dict[str, Any], path: str) -> Any:
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _site(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _SITE_MAX else None


def _denied(error: Exception) -> DeniedError:
    match error:
        case jwt.ExpiredSignatureError():
            return DeniedError("expired", "The JWT has expired.")
        case jwt.ImmatureSignatureError():
            return DeniedError("not_yet", "The JWT is not valid yet.")
        case jwt.InvalidAudienceError():
            return DeniedError("audience", "The JWT is for another audience.")
        case jwt.InvalidIssuerError():
            return DeniedError("issuer", "The JWT is of another issuer.")
        case jwt.MissingRequiredClaimError():
            return DeniedError("claims", f"The JWT has no claim {error.claim}.")
    return DeniedError("malformed", "The JWT cannot be used.")
