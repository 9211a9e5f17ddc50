"""A message that comes two hours late gives its windows a second revision: on the topic, in PostgreSQL, and over the API."""

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from ems_streams.mqtt.publisher import MqttPublisher
from tests.e2e.test_main_job import ready
from tests.support.access import records_of
from tests.support.processes import Deployment, eventually, get

pytestmark = pytest.mark.e2e

HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=6)


async def publish(deployment: Deployment, serial: str, *samples: tuple[datetime, float]) -> None:
    async with MqttPublisher(deployment.stack.mqtt_url, f"late-{serial}") as device:
        for moment, kw in samples:
            payload = {"powerKw": kw, "timestamp": moment.isoformat()}
            await device.publish(f"sites/1/devices/{serial}/telemetry", json.dumps(payload).encode(), qos=1)


async def row_of(url: str, serial: str, window: str, start: datetime) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchrow(
            "SELECT * FROM device_aggregates WHERE serial_number = $1 AND window_size = $2 AND window_start = $3", serial, window, start
        )
    finally:
        await connection.close()


def test_a_message_two_hours_late_is_revision_2_everywhere(deployment: Deployment) -> None:
    deployment.command("db", "migrate")
    ready(deployment.ingress(), deployment.worker(), deployment.sink(), deployment.gateway())
    serial = f"LATE-{uuid.uuid4().hex[:8]}"
    api = f"http://127.0.0.1:{deployment.ports.gateway}/api/v1/devices/{serial}/aggregates"
    later = HOUR + timedelta(hours=2, minutes=5)
    asyncio.run(publish(deployment, serial, (HOUR, 10.0), (later, 20.0)))

    def seen(window: str, revision: int) -> tuple[dict[str, Any], Any, dict[str, Any]] | None:
        """The window on the topic, in PostgreSQL and over the API, once it is there in a revision."""
        published = asyncio.run(records_of(deployment.stack.kafka_bootstrap, "device-aggregates", serial))
        event = [each for each in published if each["window"] == window and each["windowStart"] == start][-1:]
        row = asyncio.run(row_of(deployment.stack.database_url, serial, window, HOUR))
        windows = (get(f"{api}?window={window}&from={start}&limit=100")[1] or {}).get("windows", [])
        shown = [each for each in windows if each["windowStart"] == start]
        if not event or not shown or row is None or {event[0]["revision"], row["revision"], shown[0]["revision"]} != {revision}:
            return None
        return event[0], row, shown[0]

    start = HOUR.strftime("%Y-%m-%dT%H:%M:%SZ")
    for window in ("1m", "15m", "1h"):
        event, row, shown = eventually(lambda window=window: seen(window, 1), 30, f"{window} closed")
        assert (event["metrics"]["powerKw"]["sum"], row["event_count"], shown["eventCount"]) == (10.0, 1, 1)

    asyncio.run(publish(deployment, serial, (HOUR + timedelta(seconds=30), 30.0)))

    for window in ("1m", "15m", "1h"):
        event, row, shown = eventually(lambda window=window: seen(window, 2), 30, f"{window} corrected")
        assert event["eventId"] == row["event_id"] == f"{serial}:{window}:{start}:2"
        for statistics in (event["metrics"]["powerKw"], json.loads(row["metrics"])["powerKw"], shown["metrics"]["powerKw"]):
            assert (statistics["count"], statistics["sum"], statistics["mean"], statistics["last"]) == (2, 40.0, 20.0, 30.0)
        # Half a minute from 10 to 30 kW: 20 kW for a 120th of an hour.
        assert shown["energyKwh"] == pytest.approx(20 / 120)
        assert shown["energyQuality"] == "GAP"
    total = get(api)[1]["total"]["metrics"]["powerKw"]
    assert (total["count"], total["sum"]) == (3, 60.0)
