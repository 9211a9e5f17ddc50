"""A token for some sites: what is of another site is not in any answer, and not to be told from what is not there."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from ems_streams.domain.command_events import CommandRequest
from tests.support.guarded_gateway import ALARM_NONE, ALARM_OTHER, ALARM_OWN, OTHER, OWN, Guarded, guarded


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded(tmp_path) as made:
        yield made


async def get(place: Guarded, path: str, token: str) -> Any:
    status, body, _ = await place.ask("GET", path, token)
    assert status == 200, body
    return body


async def test_lists_and_counts_have_own_sites_only(place: Guarded) -> None:
    limited, every = place.token("admin", [OWN]), place.token("viewer")
    assert [each["serialNumber"] for each in (await get(place, "/api/v1/devices", every))["devices"]] == ["D1", "D2"]
    assert [each["serialNumber"] for each in (await get(place, "/api/v1/devices", limited))["devices"]] == ["D1"]
    assert (await get(place, f"/api/v1/devices?site={OTHER}", limited))["devices"] == []
    assert [each["siteId"] for each in (await get(place, "/api/v1/sites", limited))["sites"]] == [OWN]
    assert (await get(place, f"/api/v1/sites/{OWN}", limited))["devices"] == 1
    assert [each["alarmId"] for each in (await get(place, "/api/v1/alarms", every))["alarms"]] == [ALARM_OWN, ALARM_OTHER]
    assert [each["alarmId"] for each in (await get(place, "/api/v1/alarms", limited))["alarms"]] == [ALARM_OWN]
    assert (await get(place, f"/api/v1/alarms?site={OTHER}", limited))["alarms"] == []
    pipeline = await get(place, "/api/v1/pipeline", limited)
    assert (pipeline["eventsPerSecond"], pipeline["eventsTotal"]) == (None, None)
    assert (await get(place, "/api/v1/pipeline", every))["eventsTotal"] == 0


async def test_the_same_list_for_two_tokens_is_not_one_answer(place: Guarded) -> None:
    tokens = [place.token("viewer", sites) for sites in ([OWN], [OTHER], [OWN, OTHER], [9])]
    found = await asyncio.gather(*(get(place, "/api/v1/devices", token) for token in tokens))
    assert [[each["serialNumber"] for each in body["devices"]] for body in found] == [["D1"], ["D2"], ["D1", "D2"], []]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/devices/{}"),
        ("GET", "/api/v1/devices/{}/aggregates"),
        ("GET", "/api/v1/devices/{}/commands"),
        ("POST", "/api/v1/devices/{}/commands"),
        ("GET", "/api/v1/commands/{}~k"),
        ("POST", "/api/v1/commands/{}~k/cancel"),
    ],
)
async def test_a_device_of_another_site_is_as_unknown_as_none(place: Guarded, method: str, path: str) -> None:
    token, body = place.token("operator", [OWN]), {"command": "REBOOT"} if method == "POST" else None
    other, none = [await place.ask(method, path.format(serial), token, body) for serial in ("D2", "D9")]
    assert other[0] == none[0] == 404
    assert _but_its_id(other[1]).replace(b"D2", b"D9") == _but_its_id(none[1])


async def test_an_alarm_of_another_site_is_as_unknown_as_none(place: Guarded) -> None:
    token = place.token("operator", [OWN])
    assert (await get(place, f"/api/v1/alarms/{ALARM_OWN}", token))["serialNumber"] == "D1"
    for method, path in (("GET", "/api/v1/alarms/{}"), ("POST", "/api/v1/alarms/{}/ack")):
        other, none = [await place.ask(method, path.format(each), token) for each in (ALARM_OTHER, ALARM_NONE)]
        assert other[0] == none[0] == 404
        assert _but_its_id(other[1]).replace(b"b" * 32, b"c" * 32) == _but_its_id(none[1])


def _but_its_id(problem: dict[str, Any]) -> bytes:
    """A problem document without what is of one request only."""
    return orjson.dumps({name: value for name, value in problem.items() if name != "requestId"})


async def test_while_the_registry_is_read_nothing_is_said_of_any_device(place: Guarded) -> None:
    place.gateway.command_desk._registry.caught_up = False
    token = place.token("viewer", [OWN])
    assert [(await place.ask("GET", f"/api/v1/devices/{serial}", token))[0] for serial in ("D1", "D2", "D9")] == [503, 503, 503]
    assert (await place.ask("GET", "/api/v1/devices/D1", place.token("viewer")))[0] == 200


async def test_notifications_of_other_sites_and_of_none_are_on_no_page(place: Guarded) -> None:
    for number in range(30):
        place.tell(f"n{number}", (OWN, OTHER, None)[number % 3], partition=number % 2)
    token, found, cursor = place.token("viewer", [OWN]), [], None
    while True:
        page = await get(place, "/api/v1/notifications?limit=4" + (f"&cursor={cursor}" if cursor else ""), token)
        found += page["notifications"]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert [each["notificationId"] for each in found] == [f"n{number}" for number in range(27, -1, -3)]
    assert {each["siteId"] for each in found} == {OWN}


async def until(socket: aiohttp.ClientWebSocketResponse, identifier: str) -> list[dict[str, Any]]:
    """Messages up to a notification."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(5):
        while not found or found[-1]["notification"]["notificationId"] != identifier:
            found.append(await socket.receive_json())
    return found


async def test_the_websocket_gives_own_sites_only_live_and_on_resume_from_anybodys_cursor(place: Guarded) -> None:
    place.tell("before", OTHER)
    everybodys = (await get(place, "/api/v1/notifications", place.token("viewer")))["cursor"]
    for number in range(60):
        place.tell(f"old{number}", (OWN, OTHER, None)[number % 3], partition=number % 2)
    limited = {"Authorization": f"Bearer {place.token('viewer', [OWN])}"}
    async with place.client.ws_connect(f"/ws/notifications?since={everybodys}", headers=limited) as socket:
        resumed = await until(socket, "old57")
        place.tell("other", OTHER)
        place.tell("nobodys", None)
        place.tell("own", OWN)
        live = await until(socket, "own")
    assert [each["notification"]["notificationId"] for each in resumed] == [f"old{number}" for number in range(0, 60, 3)]
    assert [each["notification"]["siteId"] for each in live] == [OWN]
    # What one reads from a cursor, and what is asked for, changes nothing of what may be seen.
    async with place.client.ws_connect(f"/ws/notifications?since={everybodys}&site={OTHER}", headers=limited) as socket:
        place.tell("last", OTHER)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await socket.receive()
    async with place.client.ws_connect(
        f"/ws/notifications?since={live[-1]['cursor']}", headers={"Authorization": f"Bearer {place.token('viewer')}"}
    ) as socket:
        assert [each["notification"]["notificationId"] for each in await until(socket, "last")] == ["last"]


async def test_an_id_with_more_behind_it_is_no_id_of_an_alarm(place: Guarded) -> None:
    token = place.token("viewer", [OWN])
    assert (await place.ask("GET", f"/api/v1/alarms/{ALARM_OWN}", token))[0] == 200
    assert (await place.ask("GET", f"/api/v1/alarms/{ALARM_OWN}%0A", token))[0] == 404


async def test_a_command_is_from_where_the_proxy_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with guarded(tmp_path, gateway_behind_tls_proxy=True, query_timeout_s=0.1) as place:
        published: list[CommandRequest] = []

        async def publish(request: CommandRequest) -> None:
            published.append(request)

        monkeypatch.setattr(place.gateway.command_desk, "publish", publish)
        token = place.token("operator", [OWN])
        status, _, _ = await place.ask(
            "POST", "/api/v1/devices/D1/commands", token, {"command": "REBOOT"}, X_Forwarded_For="1.2.3.4, 203.0.113.7"
        )
        assert status == 202
        assert [each.requested_from for each in published] == ["203.0.113.7 by HTTP"]
