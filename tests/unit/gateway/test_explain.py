"""`/explain` over HTTP with everything away or unknown, its parameters, and how many are made at a time."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from ems_streams.domain.explanation import Explanation, Missing
from ems_streams.domain.registry import RegistryEntry
from ems_streams.gateway.command_desk import CommandDesk
from ems_streams.gateway.explain import AT_ONCE, SINCE_MAX, WAITING_MAX, ExplainApi, since_of
from ems_streams.gateway.forwarding import Forwarder
from ems_streams.gateway.topology import Topology
from ems_streams.ops.http import ProblemError, bound_port, error_middleware, start_site
from ems_streams.settings import Settings
from tests.unit.domain.test_explaining import NO_WORKER, explained, facts, status_facts

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Scripted:
    """In place of who asks workers and Kafka."""

    def __init__(self) -> None:
        self.answer = explained(facts(status_facts()))
        self.asked = 0
        self.running = 0
        self.most = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def explain(self, serial_number: str, now: datetime, since: datetime, limit: int, sites: object) -> Explanation:
        self.asked += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.go_on.wait()
        finally:
            self.running -= 1
        return self.answer


@pytest.fixture
async def world() -> AsyncIterator[tuple[Scripted, aiohttp.ClientSession]]:
    settings = Settings(kafka_bootstrap_servers="127.0.0.1:1")
    async with aiohttp.ClientSession() as session:
        topology = Topology(session, [])
        api = ExplainApi(settings, Forwarder(session, topology, 0.5), topology, CommandDesk(settings))
        scripted = Scripted()
        api._explainer = scripted  # type: ignore[assignment]
        app = web.Application(middlewares=[error_middleware])
        app.add_routes(api.routes())
        runner = await start_site(app, "127.0.0.1", 0, "PORT")
        async with aiohttp.ClientSession(f"http://127.0.0.1:{bound_port(runner)}", connector=aiohttp.TCPConnector(limit=50)) as client:
            yield scripted, client
        await runner.cleanup()


async def get(client: aiohttp.ClientSession, path: str) -> tuple[int, Any]:
    async with client.get(f"/api/v1/devices/{path}") as response:
        return response.status, await response.json(content_type=None)


async def test_a_device_of_which_something_is_known_is_explained(world: tuple[Scripted, aiohttp.ClientSession]) -> None:
    status, body = await get(world[1], "INV-001/explain?since=2h&limit=5")
    assert (status, body["status"], body["narrative"][0][:20]) == (200, "OFFLINE", "INV-001 is OFFLINE s")


async def test_one_of_which_nothing_is_known_is_not_there_or_cannot_be_told_of(world: tuple[Scripted, aiohttp.ClientSession]) -> None:
    scripted, client = world
    scripted.answer = explained(facts())
    assert (await get(client, "A/explain"))[0] == 404
    scripted.answer = explained(None, missing=(NO_WORKER,))
    status, body = await get(client, "B/explain")
    assert (status, "its live status: No worker answers" in body["detail"]) == (503, True)
    scripted.answer = explained(None, missing=(NO_WORKER,), registered=RegistryEntry(device_id=7, serial_number="C", site_id=1))
    assert (await get(client, "C/explain"))[0] == 200
    scripted.answer = explained(facts(), missing=(Missing(part="topic", fact="x", why="it does not exist"),))
    assert (await get(client, "D/explain"))[0] == 404


@pytest.mark.parametrize("query", ["since=soon", "since=1w", "since=99999999d", "limit=0", "limit=101", "limit=x"])
async def test_parameters_that_make_no_sense_are_a_400_and_ask_nobody(world: tuple[Scripted, aiohttp.ClientSession], query: str) -> None:
    status, body = await get(world[1], f"A/explain?{query}")
    assert (status, body["parameter"], world[0].asked) == (400, query.split("=", maxsplit=1)[0], 0)
    assert (await get(world[1], "no%2Fserial/explain"))[0] == 404


async def test_a_few_are_made_at_a_time_a_few_wait_and_the_rest_is_told_to_come_again(
    world: tuple[Scripted, aiohttp.ClientSession],
) -> None:
    scripted, client = world
    scripted.go_on.clear()
    most = AT_ONCE + WAITING_MAX
    asked = [asyncio.create_task(get(client, f"D{number}/explain")) for number in range(most + 3)]
    # Of those that ask the same, all wait for one answer.
    asked += [asyncio.create_task(get(client, "D0/explain")) for _ in range(5)]
    refused, _ = await asyncio.wait(asked, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    while len(refused) < 3:
        refused = {task for task in asked if task.done()}
        await asyncio.sleep(0.01)
    scripted.go_on.set()
    answers = [status for status, _ in await asyncio.gather(*asked)]
    assert (answers.count(429), answers.count(200)) == (3, most + 5)
    assert (scripted.most, scripted.asked) == (AT_ONCE, most)


def test_since_is_how_long_ago_or_a_time_and_never_longer_than_anything_is_kept() -> None:
    assert since_of("", NOW) == NOW - timedelta(hours=1)
    assert since_of("90s", NOW) == NOW - timedelta(seconds=90)
    assert since_of("2026-06-01T11:00:00Z", NOW) == NOW - timedelta(hours=1)
    assert since_of("9999999d", NOW) == since_of("2000-01-01T00:00:00Z", NOW) == NOW - SINCE_MAX
    with pytest.raises(ProblemError):
        since_of("2026-06-01", NOW)
