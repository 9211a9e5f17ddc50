"""Requests are counted by route, never by path."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from ems_streams.gateway.meters import count_requests
from ems_streams.metrics import gateway
from ems_streams.ops.http import ProblemError, bound_port, error_middleware, start_site


async def _device(request: web.Request) -> web.Response:
    if request.match_info["serial"] == "gone":
        raise ProblemError(404, "Not Found", "gone")
    return web.Response(text="here")


async def _socket(request: web.Request) -> web.WebSocketResponse:
    connection = web.WebSocketResponse()
    await connection.prepare(request)
    await connection.close()
    return connection


@pytest.fixture
async def url() -> AsyncIterator[str]:
    app = web.Application(middlewares=[count_requests, error_middleware])
    app.add_routes([web.get("/api/v1/things/{serial}", _device), web.get("/ws/things", _socket)])
    runner = await start_site(app, "127.0.0.1", 0, "EMS_TEST_PORT")
    yield f"http://127.0.0.1:{bound_port(runner)}"
    await runner.cleanup()


def requests() -> dict[tuple[str, str, str], float]:
    samples = [each for each in gateway.REQUESTS.collect()[0].samples if each.name.endswith("_total")]
    return {(each.labels["method"], each.labels["route"], each.labels["status"]): each.value for each in samples}


async def test_devices_are_one_route_and_strangers_are_none(url: str) -> None:
    before = requests()
    async with aiohttp.ClientSession() as session:
        for path in ("/api/v1/things/A", "/api/v1/things/B", "/api/v1/things/gone", "/nothing/1", "/nothing/2"):
            async with session.get(url + path):
                pass
        async with session.delete(url + "/api/v1/things/A"):
            pass
    counted = {key: value - before.get(key, 0) for key, value in requests().items() if value != before.get(key, 0)}
    assert counted == {
        ("GET", "/api/v1/things/{serial}", "200"): 2,
        ("GET", "/api/v1/things/{serial}", "404"): 1,
        ("GET", "none", "404"): 2,
        ("DELETE", "none", "405"): 1,
    }


async def test_how_long_a_websocket_lasts_is_no_time_of_a_request(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/ws/things"):
        pass
    # It is counted when the server has seen its end.
    async with asyncio.timeout(5):
        while ("GET", "/ws/things", "101") not in requests():
            await asyncio.sleep(0.01)
    assert "/ws/things" not in {each.labels["route"] for each in gateway.REQUEST_SECONDS.collect()[0].samples}
