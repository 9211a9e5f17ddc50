"""JWTs at the gateway: from the settings to the answer, beside static tokens, with sessions and WebSockets that end with them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.guarded_gateway import OWN, Guarded, guarded

KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Guarded]:
    keys = tmp_path / "jwks.json"
    described = {**json.loads(jwt.get_algorithm_by_name("ES256").to_jwk(KEY.public_key())), "kid": "k"}  # type: ignore[attr-defined]
    keys.write_text(json.dumps({"keys": [described]}))
    issued = {"gateway_jwks_file": keys, "gateway_jwt_issuer": "https://issuer", "gateway_jwt_audience": "ems", "gateway_jwt_leeway_s": 0.0}
    async with guarded(tmp_path, **issued) as made:
        yield made


def issued(lasts_s: float = 60, **changed: Any) -> str:
    claims = {"iss": "https://issuer", "aud": "ems", "sub": "ann", "exp": time.time() + lasts_s, "ems_role": "viewer", "ems_sites": [OWN]}
    return jwt.encode(claims | changed, KEY, "ES256", {"kid": "k"})


async def test_a_jwt_counts_beside_static_tokens(place: Guarded) -> None:
    session = (await place.ask("GET", "/api/v1/session", issued()))[1]
    assert (session["authentication"], session["name"], session["role"], session["sites"]) == ("token", "ann", "viewer", [OWN])
    assert (await place.ask("GET", "/api/v1/devices/D2", issued()))[0] == 404
    assert (await place.ask("GET", "/api/v1/session", place.token("viewer")))[0] == 200


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            jwt.encode({"sub": "ann", "ems_role": "admin", "ems_sites": "all"}, None, "none"),
            "The JWT is signed with 'none'; expected RS256",
        ),
        (
            jwt.encode({"sub": "ann", "ems_role": "admin"}, "x" * 40, "HS256", {"kid": "k"}),
            "The JWT is signed with 'HS256'; expected RS256",
        ),
        ({"aud": "another"}, "The JWT is for another audience."),
        ({"iss": "another"}, "The JWT is of another issuer."),
        ({"exp": time.time() - 5}, "The JWT has expired."),
        ({"nbf": time.time() + 86_400}, "The JWT is not valid yet."),
        ({"ems_role": "boss"}, "The claim ems_role of the JWT is expected to be viewer, operator, admin."),
        ({"signature": "A" * 10}, "The signature of the JWT is not one of its issuer's."),
    ],
)
async def test_what_is_wrong_is_401_with_the_reason(place: Guarded, given: str | dict[str, Any], said: str) -> None:
    token = given
    if isinstance(given, dict):
        # Made now: the machine may be slow enough for one that was made with the test to be over.
        changed = dict(given)
        tail = changed.pop("signature", "")
        token = issued(**changed)
        token = token[: len(token) - len(tail)] + tail
    assert isinstance(token, str)
    status, problem, _ = await place.ask("GET", "/api/v1/devices", token)
    assert status == 401
    assert said in problem["detail"]
    assert token not in place.audit_file.read_text()


async def test_a_websocket_ends_with_its_jwt(place: Guarded) -> None:
    async with place.client.ws_connect("/ws/notifications", headers={"Authorization": f"Bearer {issued(2)}"}) as socket:
        async with asyncio.timeout(6):
            message = await socket.receive()
        assert message.data == 4401


async def test_a_session_begun_with_a_jwt_ends_with_it(place: Guarded) -> None:
    _, session, headers = await place.ask("POST", "/api/v1/session", None, {"token": issued(2)})
    cookie = headers["Set-Cookie"].partition(";")[0]
    assert session["name"] == "ann"
    assert (await place.ask("GET", "/api/v1/session", Cookie=cookie))[0] == 200
    async with asyncio.timeout(6):
        while (await place.ask("GET", "/api/v1/session", Cookie=cookie))[0] == 200:
            await asyncio.sleep(0.1)
    assert (await place.ask("GET", "/api/v1/session", Cookie=cookie))[0] == 401


async def test_while_keys_cannot_be_read_jwts_wait_and_static_tokens_count(place: Guarded, tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text("{}")
    status, problem, headers = await place.ask("GET", "/api/v1/devices", issued())
    assert (status, problem["title"], headers["Retry-After"]) == (503, "Keys are away", "10")
    assert (await place.ask("GET", "/api/v1/devices", place.token("viewer")))[0] == 200
    checks = (await place.ask("GET", "/readyz", place.token("viewer")))[1]["checks"]
    assert "expected a JWK Set" in checks["jwks"]["detail"]
