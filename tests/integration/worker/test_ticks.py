"""Windows of devices that go quiet, on the whole way from MQTT to `device-aggregates`: closed by ticks, once, and nothing is lost."""

import asyncio
import itertools
import time
import uuid
from collections import Counter
from typing import Any

import orjson
import pytest

from ems_streams.kafka.catalogue import DEVICE_AGGREGATES
from ems_streams.mqtt.publisher import MqttPublisher
from tests.integration.worker.test_worker import produce, telemetry, total
from tests.support.processes import Deployment, eventually
from tests.support.records import consume

pytestmark = pytest.mark.integration

QUIET_S = 3
SETTINGS = {
    "EMS_HEARTBEAT_INTERVAL_S": "0.5",
    "EMS_QUIET_DEVICE_S": str(QUIET_S),
    "EMS_WINDOW_LATENESS_S": "0,1,2,3",
    "EMS_AGGREGATES_COMMIT_INTERVAL_S": "0.5",
    "EMS_PUBLISHED_WINDOWS": "1m",
}


def publish(deployment: Deployment, serials: list[str], *times: str) -> None:
    """Messages of each device at times of the 5th of January 2026, UTC."""

    async def send() -> None:
        async with MqttPublisher(deployment.stack.mqtt_url, f"p{uuid.uuid4().hex[:8]}") as publisher:
            for each, serial in itertools.product(times, serials):
                payload = {"powerKw": 1.5, "timestamp": f"2026-01-05T{each}Z"}
                await publisher.publish(f"sites/1/devices/{serial}/telemetry", orjson.dumps(payload))

    asyncio.run(send())


def minutes(deployment: Deployment, *serials: str) -> list[tuple[str, str, int, int]]:
    """Device, minute, revision and number of messages of each window that was published."""
    found: list[dict[str, Any]] = [orjson.loads(record.value) for record in consume(deployment.stack.kafka_bootstrap, DEVICE_AGGREGATES)]
    return [
        (each["serialNumber"], each["windowStart"][11:16], each["revision"], each["eventCount"])
        for each in found
        if each["window"] == "1m" and each["serialNumber"] in serials
    ]


def last_counts(deployment: Deployment, serial: str) -> dict[str, int]:
    """Number of messages of each minute by its last revision. Revisions are complete, and how many there are is left open.

    A next message changes the energy of the minute before it, which is one more revision when a commit, or a tick, has come between them.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    for _, minute, revision, count in minutes(deployment, serial):
        found.setdefault(minute, []).append((revision, count))
    for minute, revisions in found.items():
        assert [revision for revision, _ in sorted(revisions)] == list(range(1, len(revisions) + 1)), (minute, revisions)
    return {minute: max(revisions)[1] for minute, revisions in found.items()}


def test_a_quiet_device_and_what_it_says_afterwards(deployment: Deployment) -> None:
    deployment.extra |= SETTINGS
    worker = deployment.worker().wait_until_ready()
    deployment.ingress().wait_until_ready()
    serial = f"{deployment.application_id}-A"
    publish(deployment, [serial], "10:15:50", "10:15:57")
    eventually(lambda: minutes(deployment, serial) == [(serial, "10:15", 1, 2)], 30, "closed by a tick alone")
    time.sleep(2 * QUIET_S)
    assert minutes(deployment, serial) == [(serial, "10:15", 1, 2)], "and no tick closes it again"

    # It goes on, with one that is late by now, and is quiet again. Each minute would end while it may be quiet: then it does not matter
    # when it is looked at in between (see `QuietDevices`).
    publish(deployment, [serial], "10:15:58", "10:16:58", "10:17:59")
    wanted = {"10:15": 3, "10:16": 1, "10:17": 1}
    eventually(lambda: last_counts(deployment, serial) == wanted, 30, "corrected, and continued")
    published = minutes(deployment, serial)
    time.sleep(QUIET_S)
    assert minutes(deployment, serial) == published, "and no tick closes any of it again"
    assert total(worker, serial)["count"] == 5


def test_killed_while_devices_are_quiet(deployment: Deployment) -> None:
    """What was folded before is in the store only, and is found there."""
    deployment.extra |= SETTINGS | {"EMS_QUIET_DEVICE_S": "12"}
    worker = deployment.worker().wait_until_ready()
    deployment.ingress().wait_until_ready()
    serials = [f"{deployment.application_id}-{number}" for number in range(20)]
    publish(deployment, serials, "10:15:50", "10:15:57")
    eventually(lambda: all(total(worker, serial).get("count") == 2 for serial in serials), 30, "counted")
    time.sleep(1)  # durable by now
    worker.kill()
    assert minutes(deployment, *serials) == []
    worker = deployment.worker().wait_until_ready()
    wanted = Counter((serial, "10:15", 1, 2) for serial in serials)
    eventually(lambda: Counter(minutes(deployment, *serials)) == wanted, 60, "closed by the next worker")
    # Killed again, just behind it: none comes twice.
    worker.kill()
    worker = deployment.worker().wait_until_ready()
    time.sleep(4)
    assert Counter(minutes(deployment, *serials)) == wanted
    assert all(total(worker, serial)["count"] == 2 for serial in serials)


def test_without_heartbeats_windows_close_by_event_time_only(deployment: Deployment) -> None:
    """As when a topic is read again."""
    deployment.extra |= SETTINGS
    worker = deployment.worker().wait_until_ready()
    serial = f"{deployment.application_id}-A"
    produce(deployment.stack.kafka_bootstrap, [telemetry(serial, 1.5, 50)])
    eventually(lambda: total(worker, serial).get("count") == 1, 30, "counted")
    time.sleep(10 + 2 * QUIET_S)
    assert minutes(deployment, serial) == []
    key, value = telemetry(serial, 1.5, 50)
    produce(deployment.stack.kafka_bootstrap, [(key, value.replace(b"10:15:50Z", b"10:16:50Z").replace(b"-50", b"-51"))])
    eventually(lambda: minutes(deployment, serial) == [(serial, "10:15", 1, 1)], 30, "closed by what came next")
