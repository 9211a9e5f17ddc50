"""Maintenance windows set by command and over HTTP, and a device that flaps, on the whole way from MQTT to `device-notifications`."""

import asyncio
import json
import urllib.error
import urllib.request
import uuid
from typing import Any

import orjson
import pytest

from ems_streams.kafka.catalogue import DEVICE_NOTIFICATIONS, DEVICE_STATUS
from ems_streams.mqtt.publisher import MqttPublisher
from tests.support.processes import Deployment, eventually, get
from tests.support.records import consume

pytestmark = pytest.mark.integration

SETTINGS = {"EMS_HEARTBEAT_INTERVAL_S": "0.5", "EMS_FLAPPING_HALF_LIFE_S": "3"}


def report(deployment: Deployment, serial: str, *statuses: str) -> None:
    async def send() -> None:
        async with MqttPublisher(deployment.stack.mqtt_url, f"p{uuid.uuid4().hex[:8]}") as publisher:
            for status in statuses:
                await publisher.publish(f"sites/7/devices/{serial}/status", orjson.dumps({"status": status, "errorCode": 5}))
                await asyncio.sleep(0.05)

    asyncio.run(send())


def of(deployment: Deployment, topic: str, serial: str) -> list[dict[str, Any]]:
    found = [orjson.loads(record.value) for record in consume(deployment.stack.kafka_bootstrap, topic)]
    return [each for each in found if each["serialNumber"] == serial]


def call(method: str, url: str, body: object = None) -> tuple[int, Any]:
    request = urllib.request.Request(
        url, None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_device_that_flaps_and_one_that_is_worked_on(deployment: Deployment) -> None:
    deployment.extra |= SETTINGS
    worker = deployment.worker().wait_until_ready()
    deployment.ingress().wait_until_ready()
    deployment.gateway()
    api = f"http://127.0.0.1:{deployment.ports.gateway}/api/v1"
    flapping, maintained = f"{deployment.application_id}-F", f"{deployment.application_id}-M"

    set_ = json.loads(deployment.command("maintenance", "set", "--device", maintained, "--for", "1h", "--reason", "swap", "--json").stdout)
    eventually(lambda: get(f"{api}/maintenance-windows")[0] == 200, 30, "the gateway answers")
    listed = get(f"{api}/maintenance-windows")[1]["windows"]
    assert [each["windowId"] for each in listed if each["devices"] == [maintained]] == [set_["windowId"]]
    report(deployment, maintained, "ONLINE", "ERROR")
    report(deployment, flapping, *["ONLINE", "OFFLINE"] * 15)
    eventually(lambda: len(of(deployment, DEVICE_STATUS, flapping)) == 30, 30, "every transition is a fact")
    eventually(
        lambda: (get(f"{worker.url}/api/v1/devices/{flapping}")[1]["flapping"] or {"changes": 0})["changes"] >= 20, 30, "it is shown"
    )
    eventually(
        lambda: [each["kind"] for each in of(deployment, DEVICE_NOTIFICATIONS, flapping)][-1:] == ["FLAPPING_ENDED"], 60, "still again"
    )
    assert get(f"{worker.url}/api/v1/devices/{flapping}")[1]["flapping"] is None
    kinds = [each["kind"] for each in of(deployment, DEVICE_NOTIFICATIONS, flapping)]
    assert kinds.count("FLAPPING_STARTED") == kinds.count("FLAPPING_ENDED") == 1
    assert len(kinds) <= 8

    [_, error] = of(deployment, DEVICE_STATUS, maintained)
    assert (error["newStatus"], error["errorCode"], error["cause"]) == ("ERROR", "5", "REPORTED_ERROR")
    assert of(deployment, DEVICE_NOTIFICATIONS, maintained) == []
    device = get(f"{worker.url}/api/v1/devices/{maintained}")[1]
    assert (device["status"], device["maintenance"]["windowId"], device["maintenance"]["reason"]) == ("ERROR", set_["windowId"], "swap")
    assert call("DELETE", f"{api}/maintenance-windows/{set_['windowId']}")[0] == 200
    eventually(lambda: of(deployment, DEVICE_NOTIFICATIONS, maintained), 60, "told after the window")
    [told] = of(deployment, DEVICE_NOTIFICATIONS, maintained)
    assert (told["severity"], told["data"]["maintenanceWindowId"]) == ("CRITICAL", set_["windowId"])

    assert call("DELETE", f"{api}/maintenance-windows/{set_['windowId']}")[0] == 404
    wrong = call("POST", f"{api}/maintenance-windows", {"sites": ["x"], "endsAt": "2099-01-01T00:00:00Z"})
    assert (wrong[0], "sites.0='x'" in wrong[1]["detail"]) == (400, True)
    made = call("POST", f"{api}/maintenance-windows", {"sites": [99], "endsAt": "2099-01-01T00:00:00Z"})
    assert made[0] == 201
    assert made[1]["windowId"] in deployment.command("maintenance", "list").stdout
    deployment.command("maintenance", "end", made[1]["windowId"])
    assert deployment.command("maintenance", "end", made[1]["windowId"], check=False).returncode == 1
    assert deployment.command("maintenance", "set", "--for", "1h", check=False).returncode == 2
