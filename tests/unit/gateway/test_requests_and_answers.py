"""What every request and answer of the gateway has: ids, tags, compression, deadlines, and problem documents whatever happens."""

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest
import structlog
from aiohttp import web

from ems_streams.errors import DependencyError, EmsError, MalformedError, NotFoundError, UsageError
from ems_streams.gateway.openapi.describe import Says, describe
from ems_streams.gateway.openapi.parameters import CURSOR, KINDS, SITE
from ems_streams.gateway.paging import next_link
from ems_streams.gateway.representation import COMPRESS_FROM_BYTES, etag_of, representation, takes_gzip
from ems_streams.gateway.requests import check_request
from ems_streams.ops.http import bound_port, error_middleware, json_response, start_site
from ems_streams.ops.request_ids import give_request_ids, passed_on, request_id


class Handlers:
    """Answers of all kinds."""

    def __init__(self) -> None:
        self.seconds = 0
        self.devices: list[Any] = ["INV-001"]
        self.error: EmsError = EmsError("")

    @describe("a list", tag="devices", answers={200: Says("It.")}, parameters=(SITE, KINDS, CURSOR), revalidated=True)
    async def list(self, request: web.Request) -> web.Response:
        self.seconds += 1
        body = {"asOf": f"2026-01-31T12:00:{self.seconds:02d}Z", "devices": self.devices}
        return json_response(body, headers=next_link(request, "abc" if request.query.get("site") == "7" else None))

    @describe("no tag", tag="devices", answers={200: Says("It.")})
    async def plain(self, _: web.Request) -> web.Response:
        return json_response({"id": request_id(), "passedOn": passed_on(), "text": "x" * 2000})

    @describe("slow", tag="devices", answers={200: Says("It.")})
    async def slow(self, _: web.Request) -> web.Response:
        await asyncio.sleep(0.2)
        return json_response({})

    @describe("fails", tag="devices")
    async def fail(self, _: web.Request) -> web.Response:
        raise self.error

    @describe("crashes", tag="devices")
    async def crash(self, _: web.Request) -> web.Response:
        structlog.get_logger().info("about to crash")
        raise ValueError("secret")


@pytest.fixture
async def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
async def client(handlers: Handlers) -> AsyncIterator[aiohttp.ClientSession]:
    app = web.Application(middlewares=[give_request_ids, representation(), error_middleware, check_request], client_max_size=1000)
    app.add_routes(
        [
            web.get("/list", handlers.list),
            web.get("/plain", handlers.plain),
            web.get("/slow", handlers.slow),
            web.post("/slow", handlers.slow),
            web.get("/fail", handlers.fail),
            web.get("/crash", handlers.crash),
        ]
    )
    runner = await start_site(app, "127.0.0.1", 0, "PORT")
    # Headers as they are: without this the client says that it takes gzip, and unpacks it.
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{bound_port(runner)}", headers={"Accept-Encoding": "identity"}, auto_decompress=False
    ) as session:
        yield session
    await runner.cleanup()


async def test_a_tag_changes_with_what_is_said_but_not_with_when_it_was_asked(handlers: Handlers, client: aiohttp.ClientSession) -> None:
    async with client.get("/list") as first:
        tag = first.headers["ETag"]
        assert tag.startswith('W/"')
    async with client.get("/list", headers={"If-None-Match": f'"other", {tag}'}) as again:
        assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", tag)
        assert "X-Request-Id" in again.headers
        assert "Content-Type" not in again.headers
    async with client.get("/list", headers={"If-None-Match": "*"}) as any_tag:
        assert any_tag.status == 304
    handlers.devices.append("INV-002")
    async with client.get("/list", headers={"If-None-Match": tag}) as changed:
        assert (changed.status, changed.headers["ETag"] == tag) == (200, False)
    async with client.get("/list", headers={"If-None-Match": "no tag at all"}) as odd:
        assert odd.status == 200
    async with client.get("/plain") as untagged:
        assert "ETag" not in untagged.headers


def test_only_the_time_that_an_answer_begins_with_is_left_out_of_its_tag() -> None:
    assert etag_of(b'{"asOf":"2026-01-31T12:00:00Z","a":1}') == etag_of(b'{"asOf":"2026-01-31T12:00:01.123456Z","a":1}')
    assert etag_of(b'{"asOf":"2026-01-31T12:00:00Z","a":1}') != etag_of(b'{"asOf":"2026-01-31T12:00:00Z","a":2}')
    assert etag_of(b'{"a":1,"asOf":"2026-01-31T12:00:00Z"}') != etag_of(b'{"a":1,"asOf":"2026-01-31T12:00:01Z"}')


async def test_what_is_large_is_compressed_for_those_who_take_it(handlers: Handlers, client: aiohttp.ClientSession) -> None:
    handlers.devices = ["INV-001"] * 200
    async with client.get("/list", headers={"Accept-Encoding": "br, gzip;q=0.5"}) as packed:
        body = await packed.read()
        assert packed.headers["Content-Encoding"] == "gzip"
        assert packed.headers["Vary"] == "Accept-Encoding"
        assert len(body) == int(packed.headers["Content-Length"]) < COMPRESS_FROM_BYTES
        assert len(orjson.loads(gzip.decompress(body))["devices"]) == 200
        tag = packed.headers["ETag"]
    async with client.get("/list") as plain:
        assert "Content-Encoding" not in plain.headers
        assert plain.headers["Vary"] == "Accept-Encoding"
        assert plain.headers["ETag"] == tag
    handlers.devices = ["INV-001"]
    async with client.get("/list", headers={"Accept-Encoding": "gzip"}) as small:
        assert "Content-Encoding" not in small.headers


async def test_large_answers_are_compressed_off_the_loop_and_right(handlers: Handlers, client: aiohttp.ClientSession) -> None:
    handlers.devices = [f"INV-{number:05d}" for number in range(20_000)]
    answers = await asyncio.gather(*(_unpacked(client) for _ in range(5)))
    assert all(each == handlers.devices for each in answers)


async def _unpacked(client: aiohttp.ClientSession) -> Any:
    async with client.get("/list", headers={"Accept-Encoding": "gzip"}) as response:
        return orjson.loads(gzip.decompress(await response.read()))["devices"]


@pytest.mark.parametrize(
    ("accepted", "taken"),
    [
        ("", False), ("gzip", True), ("GZIP", True), ("deflate, gzip;q=1.0", True), ("gzip;q=0", False), ("gzip; q=0.000", False),
        ("*", True), ("*;q=0", False), ("gzip;q=0, *", False), ("identity", False), ("x-gzip", True), ("gzip;q=0.1", True), ("br", False),
    ],
)  # fmt: skip
def test_who_takes_gzip(accepted: str, taken: bool) -> None:
    assert takes_gzip(accepted) is taken


async def test_head_is_get_without_the_body(client: aiohttp.ClientSession) -> None:
    async with client.head("/list") as head, client.get("/list") as got:
        body = await got.read()
        assert (head.status, await head.read()) == (200, b"")
        assert head.headers["ETag"] == got.headers["ETag"]
        assert int(head.headers["Content-Length"]) == len(body)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("order-17.2~x_Y", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("a b", False),
        ('"quoted"', False),
        ("é", False),
        ("", False),
        (None, False),
    ],
)
async def test_an_id_that_is_sane_is_taken_and_another_one_made(client: aiohttp.ClientSession, given: str | None, kept: bool) -> None:
    async with client.get("/plain", headers={} if given is None else {"X-Request-Id": given}) as response:
        answered = response.headers["X-Request-Id"]
        body = await response.json()
    assert (answered == given) is kept
    assert kept or len(answered) == 32
    assert body["id"] == answered
    assert body["passedOn"] == {"X-Request-Id": answered}


async def test_ids_are_one_for_each_request_of_a_connection(client: aiohttp.ClientSession) -> None:
    found = set()
    for _ in range(3):
        async with client.get("/plain") as response:
            found.add(response.headers["X-Request-Id"])
    assert len(found) == 3
    assert request_id() is None


async def test_problems_and_logs_have_the_id(client: aiohttp.ClientSession, capsys: pytest.CaptureFixture[str]) -> None:
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, structlog.processors.JSONRenderer(default=str)],
                        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))  # fmt: skip
    try:
        async with client.get("/crash", headers={"X-Request-Id": "mine"}) as response:
            problem = await response.json()
    finally:
        structlog.reset_defaults()
    assert (response.status, problem["requestId"], problem["instance"]) == (500, "mine", "/crash")
    assert "secret" not in str(problem)
    lines = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["request_id"] for line in lines} == {"mine"}
    assert any(line.get("event") == "about to crash" for line in lines)


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (UsageError("x"), 400, "x"),
        (MalformedError("invalid_field", "f=1: bad"), 400, "f=1: bad"),
        (DependencyError("Kafka is away"), 503, "Kafka is away"),
        (EmsError("not now"), 503, "not now"),
        (NotFoundError("no such thing"), 404, "no such thing"),
    ],
)
async def test_an_error_of_ours_becomes_one_and_the_same_problem_everywhere(
    handlers: Handlers, client: aiohttp.ClientSession, error: EmsError, status: int, detail: str
) -> None:
    handlers.error = error
    async with client.get("/fail") as response:
        problem = await response.json()
    assert response.content_type == "application/problem+json"
    assert (response.status, problem["status"], problem["detail"]) == (status, status, detail)
    assert ("Retry-After" in response.headers) is (status == 503)
    assert problem["requestId"] == response.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("query", "named", "said"),
    [
        ("?stauts=ONLINE", "stauts", "there is no such parameter here; possible: cursor, kind, site"),
        ("?site=", "site", "has no value"),
        ("?site=1&site=2", "site", "is given more than once"),
    ],
)
async def test_parameters_that_cannot_be_meant_are_named(client: aiohttp.ClientSession, query: str, named: str, said: str) -> None:
    async with client.get(f"/list{query}") as response:
        problem = await response.json()
    assert (response.status, problem["parameter"]) == (400, named)
    assert said in problem["detail"]


async def test_parameters_that_may_be_given_twice_may(client: aiohttp.ClientSession) -> None:
    async with client.get("/list?kind=ALARM_RAISED&kind=ALARM_CLEARED&site=1") as response:
        assert response.status == 200


async def test_the_next_page_is_a_link(client: aiohttp.ClientSession) -> None:
    async with client.get("/list?site=7&cursor=old") as response:
        assert response.headers["Link"] == '</list?site=7&cursor=abc>; rel="next"'
        assert str(response.links["next"]["url"]).endswith("/list?site=7&cursor=abc")
    async with client.get("/list") as response:
        assert "Link" not in response.headers


@pytest.mark.parametrize(
    ("text", "status"), [("0.02", 504), ("5", 200), ("0", 400), ("nan", 400), ("1_0", 400), ("61", 400), ("soon", 400), ("-1", 400)]
)
async def test_a_deadline_is_kept_or_refused(client: aiohttp.ClientSession, text: str, status: int) -> None:
    async with client.get("/slow", headers={"Request-Timeout": text}) as response:
        assert response.status == status
        if status != 200:
            assert "Request-Timeout" in (await response.json())["detail"]


async def test_what_may_change_something_is_not_given_up(client: aiohttp.ClientSession) -> None:
    async with client.post("/slow", headers={"Request-Timeout": "0.01"}) as response:
        assert response.status == 200


async def test_a_wrong_method_says_what_is_possible(client: aiohttp.ClientSession) -> None:
    async with client.delete("/slow") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD, POST")
        assert response.content_type == "application/problem+json"


@pytest.mark.parametrize("line", [b"GET /list HTTP/9.9\r\n\r\n", b"NONSENSE\r\n\r\n", b"GET /list HTTP/1.1\r\nBad Header: x\r\n\r\n"])
async def test_what_is_no_http_is_answered_with_a_problem_document_too(client: aiohttp.ClientSession, line: bytes) -> None:
    port = client._base_url.port  # type: ignore[union-attr]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(line)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400")), head
    assert b"application/problem+json" in head
    problem = orjson.loads(body)
    assert problem["status"] == 400
    assert f"X-Request-Id: {problem['requestId']}".encode() in head
