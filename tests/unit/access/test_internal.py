"""The internal token: asked for on everything of a worker's web but health and metrics, and needed beyond loopback."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from ems_streams.access.internal import OPEN_PATHS, check_internal, internal_guard, internal_headers, is_loopback
from ems_streams.errors import SettingError
from ems_streams.settings import Settings

TOKEN = "an-internal-token-of-tests"


def settings(token: str | None = TOKEN, host: str = "127.0.0.1") -> Settings:
    return Settings(internal_token=None if token is None else SecretStr(token), bind_host=host)


async def statuses(guarded: Settings, headers: dict[str, str]) -> dict[str, int]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application(middlewares=[internal_guard(guarded)])
    paths = (*OPEN_PATHS, "/internal/v1/devices", "/api/v1/devices/A")
    app.add_routes([web.get(path, answer) for path in paths])
    async with TestClient(TestServer(app)) as client:
        return {path: (await client.get(path, headers=headers)).status for path in (*paths, "/table", "/livez/../table")}


async def test_without_the_token_only_health_and_metrics_answer() -> None:
    for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": TOKEN}, {"Authorization": f"Basic {TOKEN}"}):
        found = await statuses(settings(), headers)
        assert {path for path, status in found.items() if status == 200} == OPEN_PATHS
        assert {status for path, status in found.items() if path not in OPEN_PATHS} == {401}


async def test_with_the_token_all_of_it_answers() -> None:
    found = await statuses(settings(), internal_headers(settings()))
    assert {path for path, status in found.items() if status == 200} == {*OPEN_PATHS, "/internal/v1/devices", "/api/v1/devices/A"}


async def test_no_token_is_asked_for_when_none_is_set() -> None:
    assert set((await statuses(settings(None), {})).values()) == {200, 404}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "worker-0.internal"])
def test_beyond_loopback_a_token_is_needed(host: str) -> None:
    with pytest.raises(SettingError, match="must be a loopback address while EMS_INTERNAL_TOKEN is not set"):
        check_internal(settings(None, host))
    check_internal(settings(TOKEN, host))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.4.5", "::1", "[::1]", "localhost"])
def test_on_loopback_none_is_needed(host: str) -> None:
    assert is_loopback(host)
    check_internal(settings(None, host))


@pytest.mark.parametrize("token", ["short", "", "has spaces in between", "über-die-maßen-lang-ist-es", "new\nline-in-the-middle"])
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(SettingError, match="EMS_INTERNAL_TOKEN='\\*\\*\\*'") as raised:
        internal_headers(settings(token))
    assert not token or token not in str(raised.value)
