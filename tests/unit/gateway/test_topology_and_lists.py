"""Topology, scatter-gather and proxying, against stand-in workers over real HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from ems_streams.gateway.devices import DeviceLists, summarise
from ems_streams.gateway.fleet import Fleet, merge
from ems_streams.gateway.forwarding import Forwarder
from ems_streams.gateway.queries import DeviceQueries
from ems_streams.gateway.site_queries import SiteQueries
from ems_streams.gateway.status_events import StatusEvents
from ems_streams.gateway.topology import REFRESH_S, Topology, parse_topology
from ems_streams.kafka.partitioner import partition_for
from ems_streams.ops.http import bound_port, error_middleware, start_site
from ems_streams.postgres.reader import HistoryReader
from ems_streams.settings import Settings
from tests.support.worker_stand_in import WorkerCluster, device_view

TIMEOUT_S = 0.6
NAMES = {"INV-001": "Roof, east"}


@dataclass
class World:
    cluster: WorkerCluster
    topology: Topology
    client: aiohttp.ClientSession

    async def get(self, path: str, **query: object) -> tuple[int, dict]:  # type: ignore[type-arg]
        async with self.client.get(path, params={name: str(value) for name, value in query.items()}) as response:
            return response.status, await response.json(content_type=None)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    cluster = WorkerCluster()
    await cluster.start(2)
    cluster.put(*(device_view(f"INV-{number:03d}", site=number % 3, power_kw=float(number)) for number in range(57)))
    async with aiohttp.ClientSession() as session:
        topology = Topology(session, [cluster.workers[0].url + "/"])
        await topology.refresh()
        app = web.Application(middlewares=[error_middleware])
        lists = DeviceLists(Fleet(session, topology, TIMEOUT_S, NAMES.get))
        app.add_routes(lists.routes())
        away = Settings(database_url=SecretStr("postgresql://nobody@127.0.0.1:1/nothing"))
        forwarder, history = Forwarder(session, topology, TIMEOUT_S), HistoryReader(away, "test", TIMEOUT_S)
        app.add_routes(DeviceQueries(forwarder, history, NAMES.get).routes())
        app.add_routes(SiteQueries(forwarder, history, lists.has_devices).routes())
        app.add_routes(StatusEvents(history).routes())
        runner = await start_site(app, "127.0.0.1", 0, "PORT")
        async with aiohttp.ClientSession(f"http://127.0.0.1:{bound_port(runner)}") as client:
            yield World(cluster, topology, client)
        await runner.cleanup()
    await cluster.stop()


async def test_all_workers_are_learnt_from_one(world: World) -> None:
    assert world.topology.view.live == {worker.url for worker in world.cluster.workers}
    assert world.topology.view.partitions == 4


async def test_a_worker_that_stops_is_not_live_and_comes_back(world: World) -> None:
    gone = world.cluster.workers[0]
    await gone.stop()
    await world.topology.refresh()
    assert world.topology.view.live == {world.cluster.workers[1].url}
    await world.cluster.workers[1].stop()
    await world.topology.refresh()
    assert world.topology.view.live == frozenset()
    await gone.start()
    gone_view = Topology(world.topology._session, [gone.url])
    await gone_view.refresh()
    assert gone.url in gone_view.view.live


async def test_a_worker_that_is_late_stays_live_for_a_while(world: World) -> None:
    late = world.cluster.workers[1]
    late.topology_delay_s = 30.0
    for _ in range(2):
        await world.topology.refresh()
        assert late.url in world.topology.view.live
    await world.topology.refresh()
    assert late.url not in world.topology.view.live
    late.topology_delay_s = 0.0
    await world.topology.refresh()
    assert late.url in world.topology.view.live


async def test_a_failed_call_is_looked_into_at_once(world: World) -> None:
    running = asyncio.ensure_future(world.topology.run())
    await asyncio.sleep(0.4)
    await world.cluster.workers[1].stop()
    world.topology.report_failure()
    # Sooner than it would be looked at again anyway.
    async with asyncio.timeout(REFRESH_S / 2):
        while world.topology.view.live != {world.cluster.workers[0].url}:
            await asyncio.sleep(0.01)
    running.cancel()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"workers":[],"generation":1,"partitions":1}', b"<html>"])
def test_what_is_not_a_topology_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_topology(body)


@pytest.mark.parametrize("limit", [1, 7, 56, 57, 58, 500])
async def test_paging_gives_every_device_once_in_order(world: World, limit: int) -> None:
    serials: list[str] = []
    cursor = None
    pages = 0
    while True:
        status, page = await world.get("/api/v1/devices", limit=limit, **({"cursor": cursor} if cursor else {}))
        assert status == 200
        assert (page["partitionsTotal"], page["partitionsAnswered"]) == (4, 4)
        assert len(page["devices"]) <= limit
        serials += [device["serialNumber"] for device in page["devices"]]
        pages += 1
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert serials == sorted(world.cluster.devices)
    assert pages == -(-57 // limit)


async def test_paging_is_stable_when_devices_are_added(world: World) -> None:
    _, first = await world.get("/api/v1/devices", limit=10)
    world.cluster.put(device_view("INV-0000"), device_view("INV-0095"))
    _, second = await world.get("/api/v1/devices", limit=10, cursor=first["nextCursor"])
    assert [device["serialNumber"] for device in second["devices"]][:2] == ["INV-0095", "INV-010"]


async def test_filters_go_to_the_workers(world: World) -> None:
    world.cluster.devices["INV-004"]["status"] = "ERROR"
    _, page = await world.get("/api/v1/devices", site=1, status="ERROR")
    assert [device["serialNumber"] for device in page["devices"]] == ["INV-004"]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"site": "a"}, "site"),
        ({"status": "DEAD"}, "status"),
        ({"cursor": "!!"}, "cursor"),
    ],
)
async def test_bad_parameters_are_named(world: World, query: dict[str, str], name: str) -> None:
    status, body = await world.get("/api/v1/devices", **query)
    assert (status, body["parameter"]) == (400, name)


async def test_a_worker_away_is_told_by_the_partitions_that_answered(world: World) -> None:
    await world.cluster.workers[1].stop()
    status, page = await world.get("/api/v1/devices", limit=500)
    assert status == 200
    assert (page["partitionsTotal"], page["partitionsAnswered"]) == (4, 2)
    assert 0 < len(page["devices"]) < 57


async def test_a_worker_that_hangs_costs_no_more_than_the_deadline(world: World) -> None:
    world.cluster.workers[1].delay_s = 30.0
    began = time.monotonic()
    status, page = await world.get("/api/v1/devices", limit=500)
    assert (status, page["partitionsAnswered"]) == (200, 2)
    assert time.monotonic() - began < TIMEOUT_S + 0.5


async def test_no_worker_at_all_is_a_503(world: World) -> None:
    await world.cluster.stop()
    await world.topology.refresh()
    for path in ("/api/v1/devices", "/api/v1/sites", "/api/v1/sites/1", "/api/v1/devices/INV-001"):
        status, body = await world.get(path)
        assert (status, body["title"]) == (503, "No worker is reachable")


async def test_many_viewers_cost_one_question(world: World) -> None:
    worker = world.cluster.workers[0]
    worker.calls.clear()
    await asyncio.gather(*(world.get("/api/v1/devices", limit=50) for _ in range(20)))
    assert sum(call.startswith("/internal/v1/devices") for call in worker.calls) == 1


async def test_a_device_is_asked_of_its_owner(world: World) -> None:
    for serial, device in list(world.cluster.devices.items())[:8]:
        owner = next(worker for worker in world.cluster.workers if world.cluster.partition_of(device) in worker.owned)
        owner.calls.clear()
        status, body = await world.get(f"/api/v1/devices/{serial}")
        assert (status, body["serialNumber"]) == (200, serial)
        assert f"/api/v1/devices/{serial}" in owner.calls


async def test_another_worker_is_asked_when_the_owner_is_away_or_refuses(world: World) -> None:
    serial, device = next(iter(world.cluster.devices.items()))
    owner = next(worker for worker in world.cluster.workers if world.cluster.partition_of(device) in worker.owned)
    for delay_s, refuse_with in [(0.0, 503), (30.0, None)]:
        owner.delay_s, owner.refuse_with = delay_s, refuse_with
        status, body = await world.get(f"/api/v1/devices/{serial}")
        assert (status, body["serialNumber"]) == (200, serial)
    await owner.stop()
    assert (await world.get(f"/api/v1/devices/{serial}"))[0] == 200


async def test_a_refusal_of_all_is_passed_on_with_when_to_come_back(world: World) -> None:
    for worker in world.cluster.workers:
        worker.refuse_with = 503
    async with world.client.get("/api/v1/devices/INV-001") as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "7")
        assert response.content_type == "application/problem+json"


async def test_the_deadline_holds_when_all_hang(world: World) -> None:
    for worker in world.cluster.workers:
        worker.delay_s = 30.0
    began = time.monotonic()
    status, _ = await world.get("/api/v1/devices/INV-001")
    assert status == 504
    assert time.monotonic() - began < TIMEOUT_S + 0.5


@pytest.mark.parametrize(
    "path", ["/api/v1/devices/NOPE", "/api/v1/devices/%2e%2e", "/api/v1/devices/a%2Fb", "/api/v1/devices/%3Cscript%3E"]
)
async def test_unknown_or_impossible_serials_are_404(world: World, path: str) -> None:
    async with world.client.get(path) as response:
        assert response.status == 404
        assert response.content_type == "application/problem+json"


async def test_windows_of_a_site_come_from_the_worker_that_owns_the_site(world: World) -> None:
    world.cluster.windows["2"] = [{"windowStart": "2026-01-05T10:00:00Z", "revision": 1, "devicesReported": 2, "devicesTotal": 3}]
    status, body = await world.get("/api/v1/sites/2/aggregates", window="15m", limit=5)
    assert (status, body["siteId"], body["windows"]) == (200, 2, world.cluster.windows["2"])
    assert body["query"]["window"] == "15m"
    owner = partition_for(b"2", world.cluster.partitions) % len(world.cluster.workers)
    assert [any("/sites/2/" in call for call in worker.calls) for worker in world.cluster.workers] == [owner == 0, owner == 1]
    assert (await world.get("/api/v1/sites/3/aggregates"))[0] == 404
    assert (await world.get("/api/v1/sites/x/aggregates"))[0] == 400


async def test_aggregates_pass_on_what_they_know(world: World) -> None:
    status, body = await world.get("/api/v1/devices/INV-001/aggregates", window="1m", limit=5, evil="x")
    assert (status, body["query"]) == (200, {"window": "1m", "limit": "6"})
    assert (body["liveAvailable"], body["historyAvailable"]) == (True, False)


async def test_sites_are_summed_up(world: World) -> None:
    world.cluster.devices["INV-003"]["status"] = "OFFLINE"
    status, body = await world.get("/api/v1/sites")
    assert status == 200
    assert [(site["siteId"], site["devices"]) for site in body["sites"]] == [(0, 19), (1, 19), (2, 19)]
    assert body["sites"][0]["statuses"] == {"ONLINE": 18, "OFFLINE": 1}
    assert body["sites"][0]["powerKw"] == sum(range(0, 57, 3)) - 3
    status, site = await world.get("/api/v1/sites/2")
    assert (status, site["siteId"], site["devices"]) == (200, 2, 19)
    assert (await world.get("/api/v1/sites/99"))[0] == 404


async def test_more_devices_than_a_workers_page_are_all_counted(world: World) -> None:
    world.cluster.put(*(device_view(f"MTR-{number:05d}", site=7) for number in range(4500)))
    assert (await world.get("/api/v1/sites/7"))[1]["devices"] == 4500


def test_of_a_device_named_twice_the_one_that_knows_more_counts() -> None:
    old, new = device_view("A", sequence=1), device_view("A", sequence=2)
    assert list(merge([[new, device_view("B")], [old]])) == [new, device_view("B")]


def test_devices_without_power_count_too() -> None:
    assert summarise([{"serialNumber": "X", "siteId": 4, "status": "UNKNOWN"}]) == [
        {"siteId": 4, "devices": 1, "statuses": {"UNKNOWN": 1}, "powerKw": 0}
    ]


async def test_devices_have_the_names_of_the_registry(world: World) -> None:
    _, body = await world.get("/api/v1/devices", limit=2)
    assert [device["name"] for device in body["devices"]] == [None, "Roof, east"]
    assert (await world.get("/api/v1/devices/INV-001"))[1]["name"] == "Roof, east"
    assert (await world.get("/api/v1/devices/INV-002"))[1]["name"] is None


async def test_a_site_with_devices_has_no_windows_before_the_first_is_closed_and_any_other_is_not_there(world: World) -> None:
    status, body = await world.get("/api/v1/sites/1/aggregates")
    assert (status, body["siteId"], body["windows"]) == (200, 1, [])
    assert (await world.get("/api/v1/sites/99/aggregates"))[0] == 404


async def test_what_workers_say_of_themselves_is_kept_while_they_answer(world: World) -> None:
    first, second = world.cluster.workers
    first.condition = {"ready": False, "breaker": "open", "checks": {}, "lags": {"device-telemetry": {"0": 3, "2": 4}}}
    await world.topology.refresh()
    assert world.topology.condition(first.url) == first.condition
    assert world.topology.condition(second.url) == {}, "a worker of another release says nothing"
    await first.stop()
    await world.topology.refresh()
    assert world.topology.condition(first.url) == {}


async def test_status_events_without_postgresql_say_so_and_wrong_parameters_are_named(world: World) -> None:
    status, body = await world.get("/api/v1/devices/INV-001/status-events")
    assert (status, body["events"], body["more"], body["historyAvailable"]) == (200, [], False, False)
    for parameter, value in (("limit", "0"), ("from", "yesterday"), ("to", "2026-01-01T00:00:00")):
        status, body = await world.get("/api/v1/devices/INV-001/status-events", **{parameter: value})
        assert (status, body["parameter"]) == (400, parameter)


@pytest.mark.parametrize("refuses", [401, 403])
async def test_a_worker_that_does_not_let_the_gateway_in_is_no_matter_of_whoever_asks(world: World, refuses: int) -> None:
    serial = next(iter(world.cluster.devices))
    for worker in world.cluster.workers:
        worker.refuse_with = refuses
    status, problem = await world.get(f"/api/v1/devices/{serial}")
    assert (status, problem["title"]) == (503, "No worker is reachable")
    world.cluster.workers[0].refuse_with = None
    assert (await world.get(f"/api/v1/devices/{serial}"))[0] == 200
