"""Windows of a device over the gateway: the newest from a worker, older ones from a real PostgreSQL, one row of pages."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from ems_streams.gateway.forwarding import Forwarder
from ems_streams.gateway.queries import DeviceQueries
from ems_streams.gateway.topology import Topology
from ems_streams.kafka.catalogue import DEVICE_AGGREGATES
from ems_streams.ops.http import bound_port, error_middleware, start_site
from ems_streams.postgres.offsets import Partition
from ems_streams.postgres.reader import HistoryReader
from ems_streams.settings import Settings
from tests.integration.sink.conftest import Bench
from tests.support.sink import window_of
from tests.support.worker_stand_in import WorkerCluster, device_view

pytestmark = pytest.mark.integration

SERIAL = "INV-1"
STORED, LIVE = 20, 8
"""Minutes that PostgreSQL has, and the last ones that the worker has; three of them both."""


def live_window(minute: int, revision: int = 1) -> dict[str, Any]:
    return {**window_of(SERIAL, minute, max(revision, 1)), "revision": revision, "eventCount": 1000 + minute}


class World:
    def __init__(self, cluster: WorkerCluster, client: aiohttp.ClientSession) -> None:
        self.cluster = cluster
        self._client = client

    async def get(self, **query: Any) -> tuple[int, dict[str, Any]]:
        async with self._client.get(f"/api/v1/devices/{SERIAL}/aggregates", params=query) as response:
            return response.status, await response.json(content_type=None)


@pytest.fixture
async def world(bench: Bench, settings: Settings) -> AsyncIterator[World]:
    await bench.load(Partition(DEVICE_AGGREGATES, 0))
    await bench.write(*(window_of(SERIAL, minute) for minute in range(STORED)))
    cluster = WorkerCluster()
    await cluster.start(1)
    cluster.put(device_view(SERIAL))
    live = [live_window(minute) for minute in range(STORED - 3, STORED - 3 + LIVE)]
    cluster.windows[SERIAL] = [*reversed(live[:-1])]
    cluster.windows[SERIAL].insert(0, live_window(STORED - 3 + LIVE - 1, revision=0))
    history = HistoryReader(settings, "test", 5.0)
    async with aiohttp.ClientSession() as session:
        topology = Topology(session, [cluster.workers[0].url])
        await topology.refresh()
        app = web.Application(middlewares=[error_middleware])
        app.add_routes(DeviceQueries(Forwarder(session, topology, 2.0), history).routes())
        runner = await start_site(app, "127.0.0.1", 0, "PORT")
        async with aiohttp.ClientSession(f"http://127.0.0.1:{bound_port(runner)}") as client:
            yield World(cluster, client)
        await runner.cleanup()
    await history.close()
    await cluster.stop()


def starts(windows: list[dict[str, Any]]) -> list[str]:
    return [window["windowStart"] for window in windows]


def start_of(minute: int) -> str:
    return str(window_of(SERIAL, minute)["windowStart"])


async def test_pages_go_from_the_open_window_to_the_oldest_stored_one_without_gap_or_repetition(world: World) -> None:
    seen: list[dict[str, Any]] = []
    cursor = None
    while True:
        status, page = await world.get(window="1m", limit="7", **({"cursor": cursor} if cursor else {}))
        assert (status, page["historyAvailable"], page["liveAvailable"]) == (200, True, True)
        seen += page["windows"]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert starts(seen) == [start_of(minute) for minute in reversed(range(STORED - 3 + LIVE))]
    assert seen[0]["revision"] == 0


async def test_of_a_window_that_both_know_the_greater_revision_counts(world: World, bench: Bench) -> None:
    both = STORED - 2
    _, page = await world.get(**{"window": "1m", "from": start_of(both), "to": start_of(both + 1)})
    assert [window["eventCount"] for window in page["windows"]] == [1000 + both], "of equal revisions the live one"
    await bench.write(window_of(SERIAL, both, 5, eventCount=5))
    _, page = await world.get(**{"window": "1m", "from": start_of(both), "to": start_of(both + 1)})
    assert [(window["revision"], window["eventCount"]) for window in page["windows"]] == [(5, 5)]


async def test_bounds_are_from_inclusive_to_exclusive(world: World) -> None:
    _, page = await world.get(**{"window": "1m", "from": start_of(3), "to": start_of(6), "limit": "100"})
    assert starts(page["windows"]) == [start_of(5), start_of(4), start_of(3)]
    assert page["nextCursor"] is None


async def test_history_answers_while_no_worker_does_and_for_devices_that_live_tables_have_forgotten(world: World) -> None:
    del world.cluster.devices[SERIAL]
    status, page = await world.get(window="1m", limit="2")
    assert (status, page["liveAvailable"], starts(page["windows"])) == (200, False, [start_of(STORED - 1), start_of(STORED - 2)])
    await world.cluster.stop()
    status, page = await world.get(window="1m", limit="2")
    assert (status, page["liveAvailable"]) == (200, False)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"window": "2m"}, "window"),
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-01-01T00:00:00"}, "to"),
        ({"limit": "0"}, "limit"),
        ({"cursor": "nonsense"}, "cursor"),
    ],
)
async def test_what_is_wrong_is_named(world: World, query: dict[str, str], named: str) -> None:
    status, problem = await world.get(**query)
    assert (status, problem["parameter"]) == (400, named)
