"""Logging in with a browser: a cookie that says by which token, that no script reads, and that only our own pages can use."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from pathlib import Path

import aiohttp
import pytest

from ems_streams.access.errors import DeniedError
from ems_streams.access.roles import Principal, Role
from ems_streams.gateway.security.sessions import ENDED_MAX, Sessions, TooManySitesError
from tests.support.guarded_gateway import ALARM_OWN, OWN, Guarded, guarded

KEY = "a-key-of-tests-that-is-long-enough"
ACK = f"/api/v1/alarms/{ALARM_OWN}/ack"
ANN = Principal("ann", Role.VIEWER, frozenset({1}))


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded(tmp_path, gateway_session_key=KEY) as made:
        yield made


async def log_in(place: Guarded, token: str) -> str:
    """The cookie as a browser sends it back."""
    status, _, headers = await place.ask("POST", "/api/v1/session", None, {"token": token}, Sec_Fetch_Site="same-origin")
    assert status == 200
    (morsel,) = SimpleCookie(headers["Set-Cookie"]).values()
    return f"{morsel.key}={morsel.value}"


async def test_a_session_is_begun_shown_and_ended(place: Guarded) -> None:
    token = place.token("operator", [OWN])
    status, session, headers = await place.ask("POST", "/api/v1/session", None, {"token": token})
    assert (status, session["authentication"], session["name"], session["role"], session["sites"]) == (
        200, "token", "operator-1", "operator", [OWN],
    )  # fmt: skip
    (cookie,) = SimpleCookie(headers["Set-Cookie"]).values()
    assert (cookie.key, bool(cookie["httponly"]), cookie["samesite"], cookie["path"]) == ("ems-session", True, "Strict", "/")
    assert not cookie["secure"]
    assert token not in headers["Set-Cookie"]
    shown = f"{cookie.key}={cookie.value}"
    assert (await place.ask("GET", "/api/v1/session", Cookie=shown))[1] == session
    assert (await place.ask("GET", "/api/v1/devices/D2", Cookie=shown))[0] == 404
    status, _, headers = await place.ask("DELETE", "/api/v1/session", Cookie=shown, Sec_Fetch_Site="same-origin")
    assert status == 204
    assert 'ems-session=""' in headers["Set-Cookie"]
    status, problem, _ = await place.ask("GET", "/api/v1/session", Cookie=shown)
    assert (status, problem["detail"]) == (401, "The session is over; log in again.")
    assert (await place.ask("DELETE", "/api/v1/session", Cookie=shown))[0] == 204


async def test_a_program_that_does_not_say_where_its_request_comes_from_logs_out_all_the_same(place: Guarded) -> None:
    cookie = await log_in(place, place.token("viewer"))
    assert (await place.ask("GET", "/api/v1/session", Cookie=cookie))[0] == 200
    assert (await place.ask("DELETE", "/api/v1/session", Cookie=cookie))[0] == 204
    assert (await place.ask("GET", "/api/v1/session", Cookie=cookie))[0] == 401


async def test_an_address_that_is_no_utf_8_is_a_problem_and_no_crash(place: Guarded) -> None:
    for path in ("/api/v1/devices/%FF", "/api/v1/devices?%FF=1", "/nothing/\udcff"):
        status, problem, _ = await place.ask("GET", path, place.token("viewer"))
        assert (status in {400, 404}, problem["status"]) == (True, status), (path, problem)


async def test_over_https_the_cookie_is_bound_to_it_and_to_the_host(tmp_path: Path) -> None:
    async with guarded(tmp_path, gateway_behind_tls_proxy=True) as place:
        _, _, headers = await place.ask("POST", "/api/v1/session", None, {"token": place.token("viewer")})
        (cookie,) = SimpleCookie(headers["Set-Cookie"]).values()
        assert (cookie.key, bool(cookie["secure"]), cookie["domain"]) == ("__Host-ems-session", True, "")


async def test_a_session_outlives_a_restart_with_the_same_key_and_no_other(place: Guarded, tmp_path: Path) -> None:
    cookie = await log_in(place, place.token("viewer"))
    for key, expected in ((KEY, 200), (KEY + "x", 401), (None, 401)):
        directory = tmp_path / str(key)
        directory.mkdir()
        async with guarded(directory, gateway_session_key=key) as again:
            again.tokens_file.write_text(place.tokens_file.read_text())
            again.look_again()
            assert (await again.ask("GET", "/api/v1/session", Cookie=cookie))[0] == expected


async def test_what_the_token_may_counts_now_and_not_as_it_was(place: Guarded) -> None:
    cookie = await log_in(place, place.token("viewer"))
    text = place.tokens_file.read_text()
    place.tokens_file.write_text(text.replace("sites: all", "sites: [1]"))
    place.look_again()
    assert (await place.ask("GET", "/api/v1/session", Cookie=cookie))[1]["sites"] == [1]
    place.tokens_file.write_text("tokens: []\n")
    place.look_again()
    status, problem, _ = await place.ask("GET", "/api/v1/session", Cookie=cookie)
    assert (status, problem["detail"]) == (401, "The token of the session counts no more; log in again.")
    # One of the same name with another token is not the one that logged in.
    place.tokens_file.write_text("tokens: []\n")
    del place.tokens["viewer-all"]
    place.token("viewer")
    assert (await place.ask("GET", "/api/v1/session", Cookie=cookie))[0] == 401


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Sec_Fetch_Site": "same-origin"}, 400),  # let in, and refused for its body
        ({"Sec_Fetch_Site": "same-origin", "Origin": "{own}"}, 400),
        ({"Origin": "{own}"}, 400),
        ({}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "same-origin", "Origin": "https://evil.example"}, 403),
    ],
)
async def test_a_cookie_counts_for_pages_of_this_gateway_only(place: Guarded, headers: dict[str, str], expected: int) -> None:
    cookie = await log_in(place, place.token("operator"))
    sent = {name: value.format(own=place.url) for name, value in headers.items()}
    status, problem, _ = await place.ask("POST", ACK, None, {"who": 1}, Cookie=cookie, **sent)
    assert status == expected, problem
    assert (await place.ask("POST", ACK, None, b"{}", Cookie=cookie, **(sent | {"Content_Type": "text/plain"})))[0] == (
        415 if expected == 400 else 403
    )


async def test_reading_with_a_cookie_from_another_site_is_refused_and_as_usual_without_a_word_of_the_browser(place: Guarded) -> None:
    cookie = await log_in(place, place.token("viewer"))
    assert (await place.ask("GET", "/api/v1/devices", Cookie=cookie))[0] == 200
    assert (await place.ask("GET", "/api/v1/devices", Cookie=cookie, Sec_Fetch_Site="cross-site"))[0] == 403
    assert (await place.ask("GET", "/api/v1/devices", Cookie=cookie, Origin="https://evil.example"))[0] == 403
    # The pages themselves are for anybody, wherever the link is that leads there.
    assert (await place.ask("GET", "/", Cookie=cookie, Sec_Fetch_Site="same-site"))[0] == 200
    assert (await place.ask("GET", "/login.html", Cookie="ems-session=nonsense"))[0] == 200


async def test_a_websocket_with_a_cookie_is_of_a_page_of_this_gateway(place: Guarded) -> None:
    cookie = await log_in(place, place.token("viewer"))
    async with place.client.ws_connect("/ws/notifications", headers={"Cookie": cookie, "Origin": place.url}) as socket:
        place.tell("one", OWN)
        assert (await socket.receive_json())["notification"]["notificationId"] == "one"
    for headers in ({"Cookie": cookie}, {"Cookie": cookie, "Origin": "https://evil.example"}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await place.client.ws_connect("/ws/notifications", headers=headers)
        assert caught.value.status == 403


async def test_logging_out_closes_the_websockets_of_the_session(place: Guarded) -> None:
    cookie = await log_in(place, place.token("viewer"))
    async with place.client.ws_connect("/ws/notifications", headers={"Cookie": cookie, "Origin": place.url}) as socket:
        await place.ask("DELETE", "/api/v1/session", Cookie=cookie, Sec_Fetch_Site="same-origin")
        message = await socket.receive(timeout=5)
        assert message.data == 4401


@pytest.mark.parametrize("body", [{}, {"token": 5}, {"token": ""}, {"token": "x", "more": 1}, [], b"{"])
async def test_a_login_that_cannot_be_meant_is_told(place: Guarded, body: object) -> None:
    assert (await place.ask("POST", "/api/v1/session", None, body))[0] == 400


async def test_a_login_from_a_page_of_another_site_is_refused(place: Guarded) -> None:
    body = {"token": place.token("viewer")}
    assert (await place.ask("POST", "/api/v1/session", None, body, Origin="https://evil.example"))[0] == 403


async def test_logins_are_written_down(place: Guarded) -> None:
    await log_in(place, place.token("viewer"))
    await place.ask("POST", "/api/v1/session", None, {"token": "ems_wrong"})
    told = [(each["route"], each["outcome"], each["status"], each["login"]) for each in place.audit()]
    assert told == [("/api/v1/session", "done", 200, "viewer-all"), ("/api/v1/session", "denied", 401, "unknown")]


def test_a_cookie_that_was_changed_is_none() -> None:
    sessions = Sessions(KEY, 60)
    value, _ = sessions.begin(ANN, None)
    assert sessions.read(value).principal.name == "ann"
    for wrong in ("", ".", "x", value[:-2], value + "x", value.replace(".", ""), "é" + value, value.split(".")[0] + ".", "a" * 5000):
        with pytest.raises(DeniedError):
            sessions.read(wrong)
    flipped = bytearray(value.encode())
    flipped[5] ^= 1
    with pytest.raises(DeniedError):
        sessions.read(flipped.decode())
    with pytest.raises(DeniedError):
        Sessions(KEY + "x", 60).read(value)


def test_a_session_ends_with_its_time_or_with_its_token() -> None:
    now_s = 1_000_000.0
    sessions = Sessions(KEY, 60, lambda: now_s)
    value, _ = sessions.begin(ANN, None)
    soon = Principal("bob", Role.VIEWER, None, datetime.fromtimestamp(now_s, UTC) + timedelta(seconds=10))
    shorter, _ = sessions.begin(soon, None)
    now_s += 11
    sessions.read(value)
    with pytest.raises(DeniedError):
        sessions.read(shorter)
    now_s += 50
    with pytest.raises(DeniedError):
        sessions.read(value)


def test_sessions_that_were_ended_take_no_more_memory_than_so_many() -> None:
    sessions = Sessions(KEY, 60)
    for _ in range(ENDED_MAX + 50):
        value, _ = sessions.begin(ANN, None)
        sessions.end(sessions.read(value))
    assert len(sessions._ended) == ENDED_MAX


def test_more_sites_than_a_cookie_holds_are_told() -> None:
    with pytest.raises(TooManySitesError):
        Sessions(KEY, 60).begin(Principal("ann", Role.VIEWER, frozenset(range(1, 5000))), None)
