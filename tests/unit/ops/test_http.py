"""Problem documents and ports, over a real socket."""

import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from ems_streams.errors import SettingError
from ems_streams.ops.health import Health
from ems_streams.ops.http import ProblemError, bound_port, error_middleware, health_routes, start_site


async def _crash(_: web.Request) -> web.Response:
    raise ValueError("secret inside")


async def _refuse(_: web.Request) -> web.Response:
    raise ProblemError(503, "Later", "come back", headers={"Retry-After": "3"}, partition=2)


async def _move(_: web.Request) -> web.Response:
    raise web.HTTPFound("/elsewhere")


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    health = Health()
    app = web.Application(middlewares=[error_middleware])
    app.add_routes([web.get("/crash", _crash), web.get("/refuse", _refuse), web.get("/move", _move), *health_routes(health)])
    runner = await start_site(app, "127.0.0.1", 0, "PORT")
    async with aiohttp.ClientSession(f"http://127.0.0.1:{bound_port(runner)}") as session:
        yield session
    await runner.cleanup()


async def test_unknown_paths_are_problem_documents(client: aiohttp.ClientSession) -> None:
    async with client.get("/api/v1/nothing") as response:
        assert response.status == 404
        assert response.content_type == "application/problem+json"
        body = await response.json()
    assert body["status"] == 404
    assert body["instance"] == "/api/v1/nothing"


async def test_a_wrong_method_names_the_possible_ones(client: aiohttp.ClientSession) -> None:
    async with client.post("/refuse") as response:
        assert response.status == 405
        assert response.content_type == "application/problem+json"
        assert "GET" in response.headers["Allow"]


async def test_a_surprise_shows_an_id_and_nothing_of_the_inside(client: aiohttp.ClientSession) -> None:
    async with client.get("/crash") as response:
        assert response.status == 500
        text = await response.text()
        body = await response.json()
    assert "secret" not in text
    assert "Traceback" not in text
    assert len(body["errorId"]) == 32


async def test_problem_errors_keep_headers_and_extensions(client: aiohttp.ClientSession) -> None:
    async with client.get("/refuse") as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "3")
        assert (await response.json())["partition"] == 2


async def test_redirects_stay_redirects(client: aiohttp.ClientSession) -> None:
    async with client.get("/move", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "/elsewhere")


async def test_health_routes_answer_with_their_state(client: aiohttp.ClientSession) -> None:
    async with client.get("/livez") as response:
        assert response.status == 200
    async with client.get("/readyz") as response:
        assert response.status == 503
        assert (await response.json())["status"] == "failing"


async def test_a_busy_port_names_port_and_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingError) as caught:
            await start_site(web.Application(), "127.0.0.1", port, "EMS_GATEWAY_PORT")
    assert "EMS_GATEWAY_PORT" in str(caught.value)
    assert f"port {port} " in str(caught.value)
    assert caught.value.exit_code == 2
