"""JWTs: what counts, and everything that must not."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ems_streams.access.errors import DeniedError, KeysAwayError
from ems_streams.access.jwk_sets import LOOK_AGAIN_S, REFRESH_S, KeySet, parse_keys
from ems_streams.access.jwts import JwtRules, JwtVerifier
from ems_streams.access.roles import Role

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
OTHER = rsa.generate_private_key(65537, 2048)
RULES = JwtRules("https://issuer", "ems", ("RS256", "PS256", "ES256", "EdDSA"), leeway_s=5.0)


def jwk(key: Any, kid: str | None, **more: Any) -> dict[str, Any]:
    algorithm = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256"}.get(
        next((kind for kind in (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey) if isinstance(key, kind)), object), "EdDSA"
    )
    described: dict[str, Any] = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key()))  # type: ignore[attr-defined]
    return {**described, **({"kid": kid} if kid else {}), **more}


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    given = {"iss": "https://issuer", "aud": "ems", "sub": "ann", "exp": now + 60, "iat": now, "ems_role": "operator", "ems_sites": [1, 2]}
    return {name: value for name, value in (given | changed).items() if value is not None}


def signed(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "r", **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm, {"kid": kid} if kid else None)


class Source:
    """A JWK Set that a test changes, on a clock that it moves."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.reads = 0
        self.away = False
        self.now_s = 1000.0
        self.set = KeySet(self._read, "test", lambda: self.now_s)

    async def _read(self) -> bytes:
        self.reads += 1
        if self.away:
            raise OSError("away")
        return json.dumps({"keys": self.keys}).encode()


def source() -> Source:
    return Source(jwk(RSA, "r"), jwk(EC, "e"), jwk(ED, "d"))


async def refused(token: str, rules: JwtRules = RULES, keys: Source | None = None) -> DeniedError:
    with pytest.raises(DeniedError) as raised:
        await JwtVerifier(rules, (keys or source()).set).principal(token)
    return raised.value


def raw(header: object, payload: object, signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(RSA, "RS256", "r"), (RSA, "PS256", "r"), (EC, "ES256", "e"), (ED, "EdDSA", "d")])
async def test_a_jwt_says_who_and_what_they_may(key: Any, algorithm: str, kid: str) -> None:
    found = await JwtVerifier(RULES, source().set).principal(signed(key, algorithm, kid))
    assert (found.name, found.role, found.sites) == ("ann", Role.OPERATOR, frozenset({1, 2}))
    assert found.expires_at is not None
    assert 0 < found.expires_at.timestamp() - time.time() <= 65


async def test_no_signature_is_none() -> None:
    for algorithm in ("none", "None", "NONE", ""):
        assert (await refused(raw({"alg": algorithm, "kid": "r"}, claims()))).reason == "algorithm"
    assert (await refused(raw({"kid": "r"}, claims()))).reason in {"algorithm", "malformed"}


async def test_the_public_key_as_the_secret_of_an_hmac_is_no_signature() -> None:
    pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    unsigned = raw({"alg": "HS256", "kid": "r", "typ": "JWT"}, claims()).rsplit(".", 1)[0]
    mac = hmac.new(pem, unsigned.encode(), hashlib.sha256).digest()
    forged = f"{unsigned}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    assert (await refused(forged)).reason == "algorithm"
    # And the same when it calls itself RS256.
    relabelled = raw({"alg": "RS256", "kid": "r"}, claims()).rsplit(".", 1)[0]
    mac = hmac.new(pem, relabelled.encode(), hashlib.sha256).digest()
    assert (await refused(f"{relabelled}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")).reason == "signature"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"exp": int(time.time()) - 60}, "expired"),
        ({"nbf": int(time.time()) + 86_400}, "not_yet"),
        ({"iat": int(time.time()) + 86_400}, "not_yet"),
        ({"aud": "another"}, "audience"),
        ({"aud": ["another", "third"]}, "audience"),
        ({"aud": None}, "claims"),
        ({"iss": "https://another"}, "issuer"),
        ({"iss": None}, "claims"),
        ({"exp": None}, "claims"),
        ({"exp": "soon"}, "malformed"),
        ({"exp": float("inf")}, "malformed"),
        ({"sub": None}, "claims"),
        ({"sub": "x" * 200}, "claims"),
        ({"sub": "a\nb"}, "claims"),
        ({"ems_role": None}, "claims"),
        ({"ems_role": "boss"}, "claims"),
        ({"ems_role": 5}, "claims"),
        ({"ems_role": {"admin": True}}, "claims"),
        ({"ems_role": ["boss", ["admin"]]}, "claims"),
        ({"ems_sites": None}, "claims"),
        ({"ems_sites": []}, "claims"),
        ({"ems_sites": "1"}, "claims"),
        ({"ems_sites": ["all"]}, "claims"),
        ({"ems_sites": [1, True]}, "claims"),
        ({"ems_sites": [-1]}, "claims"),
        ({"ems_sites": [1.5]}, "claims"),
    ],
)
async def test_what_is_wrong_is_refused(changed: dict[str, Any], reason: str) -> None:
    assert (await refused(signed(**changed))).reason == reason


@pytest.mark.parametrize("token", ["..", "a.b.c", "ey.ey.ey", "x" * 9000, raw([], claims()), raw({"alg": ["RS256"]}, {}), "é.é.é"])
async def test_what_is_no_jwt_is_refused(token: str) -> None:
    assert (await refused(token)).reason in {"malformed", "algorithm"}


async def test_a_header_that_is_nested_deeply_is_refused() -> None:
    deep = base64.urlsafe_b64encode(b"[" * 5000).rstrip(b"=").decode()
    assert (await refused(f"{deep}.e30.x")).reason == "malformed"


async def test_another_key_is_refused_whatever_id_it_bears() -> None:
    assert (await refused(signed(OTHER, kid="r"))).reason == "signature"
    assert (await refused(signed(OTHER, kid="unknown"))).reason == "unknown_key"
    assert (await refused(signed(OTHER, kid=None))).reason == "unknown_key"


async def test_a_key_is_for_what_it_says_only() -> None:
    bound = Source(jwk(RSA, "r", alg="RS256"))
    assert (await refused(signed(RSA, "PS256"), keys=bound)).reason == "signature"
    # An EC key is for its own curve, and no algorithm that is not listed counts.
    assert (await refused(signed(EC, "ES256", "e"), JwtRules("https://issuer", "ems", ("RS256",)))).reason == "algorithm"


async def test_roles_may_be_a_list_and_claims_may_be_nested_or_have_points_in_their_names() -> None:
    rules = JwtRules("https://issuer", "ems", ("RS256",), 0, "preferred.name", "realm_access.roles", "https://ems.example/sites")
    token = signed(
        **{"preferred": {"name": "Bob"}, "realm_access": {"roles": ["other", "viewer", "admin"]}, "https://ems.example/sites": "all"}
    )
    found = await JwtVerifier(rules, source().set).principal(token)
    assert (found.name, found.role, found.sites) == ("Bob", Role.ADMIN, None)


async def test_sites_may_be_texts() -> None:
    assert (await JwtVerifier(RULES, source().set).principal(signed(ems_sites=["7", 8]))).sites == frozenset({7, 8})


async def test_a_new_key_is_looked_for_but_not_for_every_jwt() -> None:
    keys = source()
    verifier = JwtVerifier(RULES, keys.set)
    await verifier.principal(signed())
    assert keys.reads == 1
    keys.keys.append(jwk(OTHER, "new"))
    for _ in range(20):
        with pytest.raises(DeniedError):
            await verifier.principal(signed(OTHER, kid="new"))
    assert keys.reads == 1
    keys.now_s += LOOK_AGAIN_S
    assert (await verifier.principal(signed(OTHER, kid="new"))).name == "ann"
    assert keys.reads == 2


async def test_a_key_that_was_taken_out_counts_no_more_after_a_while() -> None:
    keys = source()
    verifier = JwtVerifier(RULES, keys.set)
    await verifier.principal(signed())
    keys.keys = [jwk(EC, "e")]
    keys.now_s += REFRESH_S + 1
    with pytest.raises(DeniedError):
        await verifier.principal(signed())


async def test_keys_that_were_read_stay_while_they_cannot_be_read() -> None:
    keys = source()
    verifier = JwtVerifier(RULES, keys.set)
    await verifier.principal(signed())
    keys.away = True
    keys.now_s += REFRESH_S + 1
    assert (await verifier.principal(signed())).name == "ann"
    assert keys.set.trouble == "test: away"
    keys.away = False
    keys.now_s += LOOK_AGAIN_S
    await verifier.principal(signed())
    assert not keys.set.trouble


async def test_without_any_keys_nobody_is_judged() -> None:
    keys = source()
    keys.away = True
    with pytest.raises(KeysAwayError):
        await JwtVerifier(RULES, keys.set).principal(signed())


def test_only_public_keys_for_signatures_are_taken() -> None:
    symmetric = {"kty": "oct", "kid": "h", "k": base64.urlsafe_b64encode(b"secret" * 8).decode()}
    taken = parse_keys(json.dumps({"keys": [symmetric, jwk(RSA, "r"), jwk(EC, "x", use="enc"), {"kty": "RSA"}, 5]}).encode())
    assert [key.kid for key in taken] == ["r"]
    for content in (b"{}", b"[]", b'{"keys": []}', json.dumps({"keys": [symmetric]}).encode(), b"<html>"):
        with pytest.raises(ValueError, match=r"."):
            parse_keys(content)
