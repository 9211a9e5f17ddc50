"""What is asked of every request: a token, a content type, an origin, patience; and what is written down of it."""

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from ems_streams.access.token_entries import new_token
from ems_streams.errors import SettingError
from ems_streams.gateway.security import access
from ems_streams.gateway.security.composition import Security
from ems_streams.gateway.security.exposure import limited_as
from ems_streams.gateway.websocket import UNAUTHORISED
from ems_streams.settings import Settings
from tests.support.guarded_gateway import ALARM_OWN, OWN, Guarded, guarded

ACK = f"/api/v1/alarms/{ALARM_OWN}/ack"
SOCKET = "/ws/notifications"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (None, "A token is needed"),
        ("Bearer ems_wrong", "There is no such token"),
        ("Basic YTpi", "expected to be Bearer and a token"),
        ("Bearer ", "expected to be Bearer and a token"),
        ("Bearer a.b.c", "There is no such token"),
        ("Bearer " + "x" * 8000, "There is no such token"),
        ("Bearer ems_é", "There is no such token"),
    ],
)
async def test_without_a_token_that_counts_the_answer_is_401(place: Guarded, header: str | None, said: str) -> None:
    headers = {} if header is None else {"Authorization": header}
    status, problem, answered = await place.ask("GET", "/api/v1/devices", **headers)
    assert status == 401
    assert said in problem["detail"]
    assert answered["WWW-Authenticate"].startswith('Bearer realm="ems-streams"')
    assert ("invalid_token" in answered["WWW-Authenticate"]) == (header is not None)


@pytest.mark.parametrize(
    ("line", "status", "detail"),
    [
        (b"Authorization: Bearer ems_\xff\xfe", 401, "There is no such token."),
        (b"Sec-WebSocket-Protocol: ems.notifications, ems.bearer.\xff", 401, "There is no such token."),
        (b"Origin: http://[", 403, "Only pages of this gateway may do this with a browser."),
    ],
)
async def test_headers_that_are_no_text_and_no_origin_are_answered_as_any_other(
    place: Guarded, line: bytes, status: int, detail: str
) -> None:
    target = b"DELETE /api/v1/session" if line.startswith(b"Origin") else b"GET /ws/notifications"
    reader, writer = await asyncio.open_connection("127.0.0.1", int(place.url.rpartition(":")[2]))
    writer.write(target + b" HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n" + line + b"\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert detail.encode() in answer


async def test_a_token_in_the_query_is_none(place: Guarded) -> None:
    token = place.token("admin")
    for name in ("token", "access_token", "ticket"):
        assert (await place.ask("GET", f"/api/v1/devices?{name}={token}"))[0] == 401


async def test_a_token_counts_until_it_expires_and_while_it_is_in_the_file(place: Guarded) -> None:
    assert (await place.ask("GET", "/api/v1/devices", place.token("viewer", expires="2099-01-01")))[0] == 200
    status, problem, _ = await place.ask("GET", "/api/v1/devices", place.token("viewer", expires="2020-01-01"))
    assert (status, problem["detail"]) == (401, "The token has expired.")
    token = place.token("viewer")
    place.tokens_file.write_text("tokens: []\n")
    place.look_again()
    assert (await place.ask("GET", "/api/v1/devices", token))[0] == 401


async def test_a_route_without_an_entry_is_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "ACCESS", {route: entry for route, entry in access.ACCESS.items() if route != "GET /api/v1/pipeline"})
    async with guarded(tmp_path) as place:
        status, problem, _ = await place.ask("GET", "/api/v1/pipeline", place.token("admin"))
    assert (status, problem["detail"]) == (403, "Nothing says who may do this.")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/jsonx"]
)
async def test_what_changes_something_is_json(place: Guarded, content_type: str) -> None:
    token = place.token("admin")
    posts = [ACK, "/api/v1/maintenance-windows", "/api/v1/devices/D1/commands", "/api/v1/commands/D1~k/cancel", "/api/v1/session"]
    posts += ["/api/v1/dlt/device-telemetry-dlt/redrive", "/api/v1/redrives/rd-none/resume"]
    for path in posts:
        for body in (b"{}", None):
            status, problem, _ = await place.ask("POST", path, token, body, Content_Type=content_type)
            assert (status, "expected application/json" in problem["detail"]) == (415, True), path
    status, _, _ = await place.ask("DELETE", "/api/v1/maintenance-windows/w", token, b"{}", Content_Type=content_type)
    assert status == 415


async def test_a_body_that_does_not_say_how_large_it_is_has_the_same_bound(place: Guarded) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1024

    headers = {"Authorization": f"Bearer {place.token('operator')}", "Content-Type": "application/json"}
    async with place.client.post(ACK, data=chunks(), headers=headers) as response:
        assert response.status == 413


async def test_who_asks_too_often_waits_and_nobody_else(tmp_path: Path) -> None:
    async with guarded(tmp_path, gateway_requests_per_s=2, gateway_writes_per_s=0.5) as place:
        one, two = place.token("viewer"), place.token("operator")
        answers = [await place.ask("GET", "/api/v1/session", one) for _ in range(8)]
        assert [status for status, _, _ in answers[:4]] == [200] * 4
        _, problem, headers = next(each for each in answers if each[0] == 429)
        assert "At most 2 requests a second on the average are possible for viewer-all." in problem["detail"]
        assert (headers["Retry-After"], headers["RateLimit-Limit"], headers["RateLimit-Remaining"]) == ("1", "4", "0")
        assert answers[0][2]["RateLimit-Remaining"] == "3"
        assert (await place.ask("GET", "/api/v1/session", two))[0] == 200
        writes = [(await place.ask("POST", ACK, two, {"who": "x"}))[0] for _ in range(2)]
        assert writes == [400, 429]
        assert len([each for each in place.audit() if each["status"] == 429]) == 2  # the first of each in a row


async def test_wrong_tokens_are_counted_by_address_and_right_ones_go_on(tmp_path: Path) -> None:
    async with guarded(tmp_path, gateway_failed_logins_per_min=3) as place:
        token = place.token("viewer")
        statuses = [(await place.ask("GET", "/api/v1/devices", new_token()))[0] for _ in range(6)]
        assert statuses == [401, 401, 401, 429, 429, 429]
        assert (await place.ask("GET", "/api/v1/devices", token))[0] == 200
        status, problem, headers = await place.ask("POST", "/api/v1/session", None, {"token": token})
        assert (status, int(headers["Retry-After"]) > 1) == (429, True)
        assert problem["detail"] == "Too many wrong tokens came from this address."


async def test_headers_of_every_answer(place: Guarded) -> None:
    token = place.token("viewer")
    for path in ("/", "/login.html", "/static/login.js", "/api/v1/devices", "/nothing", "/livez", "/api/v1/session"):
        for shown in (token, None):
            _, _, headers = await place.ask("GET", path, shown)
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert "unsafe" not in headers["Content-Security-Policy"]
            assert "Server" not in headers
            assert "Strict-Transport-Security" not in headers
            assert "Access-Control-Allow-Origin" not in headers


async def test_browsers_that_come_over_https_stay_with_it(tmp_path: Path) -> None:
    async with guarded(tmp_path, gateway_behind_tls_proxy=True) as place:
        assert (await place.ask("GET", "/"))[2]["Strict-Transport-Security"] == "max-age=31536000"


async def test_probes_need_no_token_and_are_told_no_details(place: Guarded) -> None:
    status, body, headers = await place.ask("GET", "/readyz")
    assert status == 503
    assert set().union(*(each.keys() for each in body["checks"].values())) <= {"ok", "required"}
    assert "EMS-Version" not in headers
    assert "127.0.0.1" not in str(body)
    assert (await place.ask("GET", "/readyz", place.token("viewer", [OWN])))[1] == body
    every = (await place.ask("GET", "/readyz", place.token("viewer")))[1]
    assert "detail" in every["checks"]["kafka"]
    assert (await place.ask("GET", "/metrics", place.token("viewer", [OWN])))[0] == 403
    assert "ems_http_denied_total" in (await place.ask("GET", "/metrics", place.token("viewer")))[1]


async def test_pages_of_other_origins_may_ask_with_a_token_when_they_are_named(tmp_path: Path) -> None:
    noc = "https://noc.example.com"
    async with guarded(tmp_path, gateway_cors_origins=(noc,)) as place:
        token = place.token("operator")
        asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization"}
        status, _, headers = await place.ask("OPTIONS", ACK, Origin=noc, **asked)
        assert (status, headers["Access-Control-Allow-Origin"]) == (204, noc)
        assert "Authorization" in headers["Access-Control-Allow-Headers"]
        assert "Access-Control-Allow-Credentials" not in headers
        assert (await place.ask("OPTIONS", ACK, Origin="https://evil.example", **asked))[0] == 403
        for path, shown, expected in (("/api/v1/devices", token, 200), ("/api/v1/devices", None, 401)):
            status, _, headers = await place.ask("GET", path, shown, Origin=noc)
            assert (status, headers["Access-Control-Allow-Origin"], "Origin" in headers["Vary"]) == (expected, noc, True)
        assert "Access-Control-Allow-Origin" not in (await place.ask("GET", "/api/v1/devices", token, Origin="https://evil.example"))[2]
        assert (await place.ask("POST", ACK, token, {"who": 1}, Origin=noc))[0] == 400
        assert (await place.ask("POST", ACK, token, {"who": 1}, Origin="https://evil.example"))[0] == 403


async def test_a_websocket_is_refused_before_it_is_one(place: Guarded) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Sec-WebSocket-Protocol": "ems.notifications, ems.bearer.wrong"}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await place.client.ws_connect(SOCKET, headers=headers)
        assert caught.value.status == 401
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await place.client.ws_connect(f"{SOCKET}?token={place.token('viewer')}")
    assert caught.value.status == 401
    headers = {"Authorization": f"Bearer {place.token('viewer')}", "Origin": "https://evil.example"}
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await place.client.ws_connect(SOCKET, headers=headers)
    assert caught.value.status == 403


async def test_a_websocket_may_show_its_token_as_a_subprotocol_which_is_not_told_back(
    place: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    token = place.token("viewer")
    async with place.client.ws_connect(SOCKET, protocols=("ems.notifications", f"ems.bearer.{token}")) as socket:
        assert socket.protocol == "ems.notifications"
        place.tell("one", OWN)
        assert (await socket.receive_json())["notification"]["notificationId"] == "one"
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await place.client.ws_connect(SOCKET, protocols=(f"ems.bearer.{token}",))
    assert caught.value.status == 400
    assert token not in caplog.text


@pytest.mark.parametrize("change", ["removed", "other role", "other sites", "expired"])
async def test_a_websocket_whose_token_counts_no_more_is_closed_within_seconds(place: Guarded, change: str) -> None:
    token = place.token("viewer")
    text = place.tokens_file.read_text()
    async with place.client.ws_connect(SOCKET, headers={"Authorization": f"Bearer {token}"}) as socket:
        changed = {
            "removed": "tokens: []\n",
            "other role": text.replace("role: viewer", "role: operator"),
            "other sites": text.replace("sites: all", "sites: [1]"),
            "expired": text + '    expires: "2020-01-01T00:00:00Z"\n',
        }[change]
        assert changed != text
        place.tokens_file.write_text(changed)
        async with asyncio.timeout(5):
            message = await socket.receive()
        assert (message.type, message.data) == (WSMsgType.CLOSE, UNAUTHORISED)


async def test_what_is_changed_or_denied_is_written_down_by_the_tokens_name(place: Guarded) -> None:
    operator, viewer = place.token("operator"), place.token("viewer", [OWN])
    await place.ask("GET", "/api/v1/devices", operator)
    await place.ask("POST", ACK, operator, {"by": "somebody else"}, X_Request_Id="r-1")
    await place.ask("POST", ACK, viewer, {})
    await place.ask("GET", "/api/v1/devices/D2", viewer)
    await place.ask("GET", "/api/v1/devices")
    await place.ask("GET", "/api/v1/devices", "ems_wrong")
    await place.ask("GET", "/nothing")
    lines = place.audit()
    told = [(each["who"], each["outcome"], each["method"], each["route"], each["status"], each["reason"]) for each in lines]
    assert told == [
        ("operator-all", "failed", "POST", "/api/v1/alarms/{alarmId}/ack", 503, "Kafka is away"),
        ("viewer-1", "denied", "POST", "/api/v1/alarms/{alarmId}/ack", 403, "Not allowed"),
        ("viewer-1", "denied", "GET", "/api/v1/devices/{serial}", 404, "No such device"),
        ("nobody", "denied", "GET", "/api/v1/devices", 401, "none"),
        ("nobody", "denied", "GET", "/api/v1/devices", 401, "unknown"),
    ]
    assert (lines[0]["role"], lines[0]["by"], lines[0]["address"]) == ("operator", "token", "127.0.0.1")
    assert (lines[0]["requestId"], lines[0]["serialNumber"], lines[0]["target"]) == ("r-1", "D1", ACK)
    text = place.audit_file.read_text()
    assert not any(secret in text for secret in (operator, viewer, "ems_wrong"))
    assert stat.S_IMODE(place.audit_file.stat().st_mode) == 0o600


async def test_an_audit_file_that_was_moved_away_is_made_anew(place: Guarded) -> None:
    await place.ask("GET", "/api/v1/devices")
    moved = place.audit_file.rename(place.audit_file.with_suffix(".1"))
    await place.ask("GET", "/api/v1/alarms")
    assert b"/api/v1/devices" in moved.read_bytes()
    assert [each["route"] for each in place.audit()] == ["/api/v1/alarms"]


async def test_behind_a_proxy_the_client_is_what_the_proxy_says_last(tmp_path: Path) -> None:
    async with guarded(tmp_path, gateway_behind_tls_proxy=True) as place:
        await place.ask("GET", "/api/v1/devices", X_Forwarded_For="1.2.3.4, 203.0.113.7")
        assert place.audit()[0]["address"] == "203.0.113.7"
        # A proxy may also add a header of its own to that of the client, and write IPv4 as IPv6.
        both = [("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-For", "::ffff:203.0.113.8")]
        async with place.client.get("/api/v1/devices", headers=both):
            assert place.audit()[1]["address"] == "203.0.113.8"
    directory = tmp_path / "direct"
    directory.mkdir()
    async with guarded(directory) as place:
        await place.ask("GET", "/api/v1/devices", X_Forwarded_For="203.0.113.7")
        assert place.audit()[0]["address"] == "127.0.0.1"


async def test_a_gateway_without_tokens_is_open_on_this_machine_and_says_so(tmp_path: Path) -> None:
    async with guarded(tmp_path, gateway_tokens_file=None) as place:
        assert (await place.ask("GET", "/api/v1/devices"))[0] == 200
        session = (await place.ask("GET", "/api/v1/session"))[1]
        assert session == {"authentication": "open", "name": "anybody", "role": "admin", "sites": "all", "expiresAt": None}
        assert (await place.ask("POST", "/api/v1/session", None, {"token": "x"}))[1] == session
        # A page whose name was made to point to this machine is of our own origin for a browser.
        status, problem, _ = await place.ask("GET", "/api/v1/devices", Host="evil.example:8080")
        assert (status, problem["title"]) == (403, "Foreign host")
        assert (await place.ask("GET", "/api/v1/devices", Host="["))[0] == 403
        for host in ("localhost:8080", "[::1]:8080", "127.0.0.1"):
            assert (await place.ask("GET", "/api/v1/devices", Host=host))[0] == 200
        assert (await place.ask("POST", ACK, None, {"who": 1}, Origin="https://evil.example"))[0] == 403
        assert (await place.ask("POST", ACK, None, {"who": 1}))[0] == 400


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"gateway_host": "0.0.0.0"},
            "EMS_GATEWAY_HOST='0.0.0.0': must be a loopback address while nothing says who may ask: set EMS_GATEWAY",
        ),
        ({"gateway_host": "gateway.example"}, "EMS_GATEWAY_HOST='gateway.example': must be a loopback address"),
        ({"gateway_jwks_url": "https://i/keys", "gateway_jwt_audience": "ems"}, "EMS_GATEWAY_JWT_ISSUER=None: must be set"),
        ({"gateway_jwks_url": "https://i/keys", "gateway_jwt_issuer": "i"}, "EMS_GATEWAY_JWT_AUDIENCE=None: must be set"),
        (
            {"gateway_jwks_url": "http://i.example/keys", "gateway_jwt_issuer": "i", "gateway_jwt_audience": "ems"},
            "EMS_GATEWAY_JWKS_URL='http://i.example/keys': must be https",
        ),
        ({"gateway_jwks_url": "https://i/keys", "gateway_jwks_file": Path("k")}, "EMS_GATEWAY_JWKS_FILE='k': must not be set beside"),
        ({"gateway_session_key": "short"}, "EMS_GATEWAY_SESSION_KEY='***': must have at least 32 characters"),
        ({"gateway_audit_file": Path("/dev/null/x")}, "EMS_GATEWAY_AUDIT_FILE='/dev/null/x': must be a file that can be appended to"),
    ],
)
def test_what_would_let_anybody_in_is_refused_at_the_start(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError) as raised:
        Security.of(Settings(**given), lambda _: None)
    assert said in str(raised.value)


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS256,HS512"])
def test_only_signatures_of_two_keys_can_be_set(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMS_GATEWAY_JWT_ALGORITHMS", algorithm)
    with pytest.raises(SettingError, match="EMS_GATEWAY_JWT_ALGORITHMS"):
        Settings.load()


@pytest.mark.parametrize(
    ("address", "limited"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("unknown", "unknown"),
    ],
)
def test_a_network_of_ipv6_is_one_client_and_an_address_of_ipv4_is_one(address: str, limited: str) -> None:
    assert limited_as(address) == limited


async def test_a_websocket_outlives_the_deadline_of_its_request(place: Guarded) -> None:
    headers = {"Authorization": f"Bearer {place.token('viewer')}", "Request-Timeout": "0.05"}
    async with place.client.ws_connect(f"{SOCKET}?heartbeat=1", headers=headers) as connection:
        message = await connection.receive(timeout=5)
        assert message.type is WSMsgType.TEXT, message
