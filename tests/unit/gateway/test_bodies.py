"""What a client hears whose body is not what is expected."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from ems_streams.gateway.bodies import json_object
from ems_streams.ops.http import error_middleware, json_response


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        ("/", b'{"a": 1}', 200, None),
        ("/", b"", 400, "the body is no JSON"),
        ("/", b"{", 400, "the body is no JSON"),
        ("/", b"[1]", 400, "the body is expected to be a JSON object"),
        ("/", b'{"a": "' + b"x" * 1024 + b'"}', 413, "at most 1024 bytes are expected"),
        ("/", b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", 400, "the body is nested too deeply"),
        ("/optional", b" ", 200, None),
        ("/optional", b"null", 400, "the body is expected to be a JSON object"),
    ],
)
async def test_a_body_is_an_object_or_a_problem_says_what_it_is(path: str, body: bytes, status: int, detail: str | None) -> None:
    async def handle(request: web.Request) -> web.Response:
        return json_response(await json_object(request, "Bad thing", max_bytes=1024, optional=request.path == "/optional"))

    application = web.Application(middlewares=[error_middleware])
    application.add_routes([web.post("/", handle), web.post("/optional", handle)])
    async with TestClient(TestServer(application)) as client:
        answer = await client.post(path, data=body)
        found = await answer.json(content_type=None)

    assert answer.status == status
    if detail is not None:
        assert found["detail"].startswith(detail)
        assert found["title"] == ("Bad thing" if status == 400 else "Too large")
