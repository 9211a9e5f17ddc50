"""Alarms of several workers as one list, against stand-in workers over real HTTP; what is acknowledged is tested on real Kafka."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from ems_streams.domain.timestamps import format_epoch_ms
from ems_streams.gateway.alarm_fleet import AlarmFleet
from ems_streams.gateway.alarms import AlarmApi
from ems_streams.gateway.topology import Topology
from ems_streams.kafka import acknowledgements
from ems_streams.ops.http import bound_port, error_middleware, start_site
from ems_streams.settings import Settings
from tests.support.worker_stand_in import WorkerCluster
from tests.unit.domain.builders import NOON_MS

TIMEOUT_S = 0.6


def alarm(number: int, state: str = "RAISED", **more: Any) -> dict[str, Any]:
    return {
        "alarmId": f"{number:032x}", "serialNumber": f"INV-{number:03d}", "siteId": 1, "severity": "WARNING", "state": state,
        "raisedAt": format_epoch_ms(NOON_MS + number // 2 * 1000), "clearedAt": None, "clearedBecause": None, "acknowledgedBy": None, **more,
    }  # fmt: skip


@dataclass
class World:
    cluster: WorkerCluster
    client: aiohttp.ClientSession

    async def get(self, path: str, **query: object) -> tuple[int, Any]:
        async with self.client.get(path, params={name: str(value) for name, value in query.items()}) as response:
            return response.status, await response.json(content_type=None)

    async def ack(self, alarm_id: str, body: bytes = b'{"by": "Ann"}') -> tuple[int, Any]:
        async with self.client.post(f"/api/v1/alarms/{alarm_id}/ack", data=body) as response:
            return response.status, await response.json(content_type=None)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    cluster = WorkerCluster()
    await cluster.start(2)
    cluster.alarms = [alarm(number, "CLEARED" if number % 3 == 0 else "RAISED") for number in range(50)]
    async with aiohttp.ClientSession() as session:
        topology = Topology(session, [worker.url for worker in cluster.workers])
        await topology.refresh()
        app = web.Application(middlewares=[error_middleware])
        settings = Settings(kafka_bootstrap_servers="127.0.0.1:1")
        app.add_routes(AlarmApi(settings, AlarmFleet(session, topology, TIMEOUT_S)).routes())
        runner = await start_site(app, "127.0.0.1", 0, "PORT")
        async with aiohttp.ClientSession(f"http://127.0.0.1:{bound_port(runner)}") as client:
            yield World(cluster, client)
        await runner.cleanup()
    await cluster.stop()


async def test_pages_are_newest_first_and_have_every_alarm_once(world: World) -> None:
    found: list[str] = []
    query: dict[str, object] = {"limit": 7}
    while True:
        status, page = await world.get("/api/v1/alarms", **query)
        assert (status, page["partitionsTotal"], page["partitionsAnswered"]) == (200, 4, 4)
        found += [each["alarmId"] for each in page["alarms"]]
        if page["nextCursor"] is None:
            break
        query["cursor"] = page["nextCursor"]
    wanted = sorted(world.cluster.alarms, key=lambda each: (-NOON_MS - int(each["alarmId"], 16) // 2, each["alarmId"]))
    assert found == [each["alarmId"] for each in wanted]


async def test_filters_reach_the_workers(world: World) -> None:
    query = {"state": "CLEARED", "severity": "CRITICAL,WARNING", "site": 1, "serial": "INV-001"}
    _, page = await world.get("/api/v1/alarms", **query)
    assert {each["state"] for each in page["alarms"]} == {"CLEARED"}
    [call] = [call for call in world.cluster.workers[0].calls if "/alarms" in call]
    assert all(part in call for part in ("state=CLEARED", "severity=CRITICAL,WARNING", "site=1", "serial=INV-001", "limit=101"))


async def test_a_list_says_which_partitions_are_missing(world: World) -> None:
    world.cluster.workers[1].refuse_with = 503
    status, page = await world.get("/api/v1/alarms")
    assert (status, page["partitionsTotal"], page["partitionsAnswered"]) == (200, 4, 2)
    world.cluster.workers[0].refuse_with = 503
    assert (await world.get("/api/v1/alarms", limit=3))[0] == 503


async def test_one_alarm_is_found_wherever_it_is_and_what_is_nowhere_is_404(world: World) -> None:
    for each in world.cluster.alarms[:5]:
        assert await world.get(f"/api/v1/alarms/{each['alarmId']}") == (200, each)
    assert (await world.get(f"/api/v1/alarms/{'f' * 32}"))[0] == 404
    assert (await world.get("/api/v1/alarms/none"))[0] == 404
    world.cluster.workers[1].refuse_with = 503
    assert (await world.get(f"/api/v1/alarms/{'f' * 32}"))[0] == 503


@pytest.mark.parametrize(
    ("query", "named"),
    [({"state": "raised"}, "state"), ({"severity": "BAD"}, "severity"), ({"site": "x"}, "site"), ({"serial": "a b"}, "serial"),
     ({"limit": 501}, "limit"), ({"cursor": "x"}, "cursor")],
)  # fmt: skip
async def test_a_bad_parameter_is_named(world: World, query: dict[str, object], named: str) -> None:
    status, document = await world.get("/api/v1/alarms", **query)
    assert (status, document["parameter"]) == (400, named)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"who": "Ann"}', b'{"by": ""}', b'{"by": 5}', b'{"by": "Ann", "comment": "\\u0000"}'])
async def test_a_bad_acknowledgement_is_refused(world: World, body: bytes) -> None:
    status, document = await world.ack(f"{1:032x}", body)
    assert (status, document["title"]) == (400, "Bad acknowledgement")


async def test_acknowledging_what_is_over_is_a_conflict_and_without_kafka_nothing_is_promised(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acknowledgements, "PUBLISH_TIMEOUT_S", 0.3)
    world.cluster.alarms[0] |= {"clearedAt": "2025-10-04T12:00:05Z", "clearedBecause": "temperature is 20"}
    status, document = await world.ack(f"{0:032x}")
    assert (status, document["detail"]) == (409, "It was cleared at 2025-10-04T12:00:05Z: temperature is 20.")
    assert (await world.ack("f" * 32))[0] == 404
    status, document = await world.ack(f"{1:032x}")
    assert (status, document["title"]) == (503, "Kafka is away")
    world.cluster.alarms[1] |= {"state": "ACKNOWLEDGED", "acknowledgedBy": "Bob"}
    status, document = await world.ack(f"{1:032x}", b"")
    assert (status, document["acknowledgedBy"]) == (200, "Bob")
