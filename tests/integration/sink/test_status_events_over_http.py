"""How the status of a device went, over the gateway's HTTP out of a real PostgreSQL."""

from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from ems_streams.domain.events import format_time
from ems_streams.gateway.status_events import StatusEvents
from ems_streams.kafka.catalogue import DEVICE_STATUS
from ems_streams.ops.http import bound_port, error_middleware, start_site
from ems_streams.postgres.offsets import Partition
from ems_streams.postgres.reader import HistoryReader
from ems_streams.settings import Settings
from tests.integration.sink.conftest import Bench
from tests.support.sink import transition_of

pytestmark = pytest.mark.integration

SERIAL = "INV-1"


async def test_transitions_of_one_device_come_newest_first_and_within_the_times(bench: Bench, settings: Settings) -> None:
    first = datetime.fromisoformat(str(transition_of(SERIAL)["timestamp"]))
    times = [format_time(first + timedelta(minutes=number)) for number in range(4)]
    await bench.load(Partition(DEVICE_STATUS, 0))
    await bench.write(
        *(transition_of(SERIAL, number + 1, timestamp=at, eventId=f"e{number}") for number, at in enumerate(times)),
        transition_of("INV-2", 1, eventId="other"),
    )
    history = HistoryReader(settings, "test", 5.0)
    app = web.Application(middlewares=[error_middleware])
    app.add_routes(StatusEvents(history).routes())
    runner = await start_site(app, "127.0.0.1", 0, "PORT")
    try:
        url = f"http://127.0.0.1:{bound_port(runner)}/api/v1/devices/{SERIAL}/status-events"
        everything = await _ask(url)
        assert [each["timestamp"] for each in everything["events"]] == times[::-1]
        assert (everything["more"], everything["historyAvailable"]) == (False, True)
        assert {"eventId", "sequence", "previousStatus", "newStatus", "timestamp", "reason"} == everything["events"][0].keys()
        page = await _ask(url, limit="2")
        assert ([each["timestamp"] for each in page["events"]], page["more"]) == (times[:1:-1], True)
        within = await _ask(url, **{"from": times[1], "to": times[3]})
        assert [each["timestamp"] for each in within["events"]] == [times[2], times[1]]
        assert [each["timestamp"] for each in (await _ask(url, to=times[1]))["events"]] == times[:1]
    finally:
        await runner.cleanup()
        await history.close()


async def _ask(url: str, **query: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(url, params=query) as response:
        assert response.status == 200
        body: dict[str, Any] = await response.json()
        return body
