"""Alarms on real Kafka: rules that change while a worker runs, acknowledgement over HTTP, maintenance, and a worker that is killed in between."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from ems_streams.domain.timestamps import format_epoch_ms
from ems_streams.kafka.catalogue import ALARM_EVENTS, DEVICE_NOTIFICATIONS, DEVICE_TELEMETRY
from ems_streams.kafka.partitioner import partition_for
from tests.integration.worker.test_told import call, of
from tests.integration.worker.test_worker import PARTITIONS
from tests.support.processes import Deployment, eventually, get
from tests.support.records import consume

pytestmark = pytest.mark.integration


class Site:
    """Devices of one deployment, whose rules name them, since rules outlive a test on a shared topic."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.prefix = deployment.application_id
        self._second = 0

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.deployment.ports.gateway}/api/v1"

    def serial(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def rule(self, *names: str, **changes: Any) -> Path:
        """Apply a rule for some devices."""
        condition = {"kind": "threshold", "metric": "temperature", "above": 80, "clearAt": 70}
        rule = {
            "id": f"hot-{self.prefix}", "title": "Hot", "severity": "WARNING", "scope": {"serialNumbers": [self.serial(each) for each in names]},
            "condition": condition | changes,
        }  # fmt: skip
        file = self.deployment.directory / "rules.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"rules": [rule]}))
        self.deployment.command("rules", "apply", str(file))
        return file

    def send(self, readings: Iterable[tuple[str, float]]) -> None:
        """Telemetry, each reading a second after the one before, and all in the past."""

        async def send() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=self.deployment.stack.kafka_bootstrap, acks="all")
            await producer.start()
            begin_ms = time.time_ns() // 1_000_000 - 3_000_000
            try:
                for name, temperature in readings:
                    self._second += 1
                    value = {
                        "deviceId": 7, "serialNumber": self.serial(name), "siteId": 1, "deviceType": "METER",
                        "telemetryData": {"temperature": temperature}, "timestamp": format_epoch_ms(begin_ms + self._second * 1000),
                        "eventType": "DEVICE_TELEMETRY",
                    }  # fmt: skip
                    key = self.serial(name).encode()
                    await producer.send(DEVICE_TELEMETRY, orjson.dumps(value), key=key, partition=partition_for(key, PARTITIONS))
            finally:
                await producer.stop()

        asyncio.run(send())

    def alarms(self, name: str, query: str = "") -> list[dict[str, Any]]:
        status, body = get(f"{self.api}/alarms?serial={self.serial(name)}{query}")
        return body["alarms"] if status == 200 else []

    def states(self, name: str) -> list[str]:
        return [each["state"] for each in self.alarms(name)]

    def told(self, name: str) -> list[str]:
        return [each["kind"] for each in of(self.deployment, DEVICE_NOTIFICATIONS, self.serial(name)) if each["kind"].startswith("ALARM")]


@pytest.fixture
def site(deployment: Deployment) -> Iterator[Site]:
    deployment.extra["EMS_HEARTBEAT_INTERVAL_S"] = "0.5"
    made = Site(deployment)
    yield made
    deployment.command("rules", "remove", f"hot-{made.prefix}", check=False)


def test_a_rule_that_is_older_than_the_worker_counts_from_the_first_message_on(site: Site) -> None:
    site.send([("A", 20), ("A", 90)])
    site.rule("A")
    site.deployment.worker().wait_until_ready()
    site.deployment.gateway()
    eventually(lambda: site.states("A") == ["RAISED"], 30, "raised")


def test_the_life_of_an_alarm(site: Site) -> None:
    site.rule("A", "B")
    worker = site.deployment.worker().wait_until_ready()
    site.deployment.gateway()
    site.send([("A", 20), ("A", 90), ("A", 75), ("B", 60)])
    eventually(lambda: site.states("A") == ["RAISED"], 30, "raised")
    [alarm] = site.alarms("A")
    assert (alarm["severity"], alarm["value"], alarm["limit"], alarm["metric"]) == ("WARNING", 90, 80, "temperature")
    listed = get(f"{site.api}/alarms?state=RAISED&severity=WARNING&site=1&limit=500")[1]
    assert alarm["alarmId"] in {each["alarmId"] for each in listed["alarms"]}
    assert (listed["partitionsAnswered"], listed["partitionsTotal"]) == (4, 4)
    assert site.alarms("A", "&state=CLEARED,ACKNOWLEDGED") == []
    one = f"{site.api}/alarms/{alarm['alarmId']}"
    assert get(one) == (200, alarm)

    taken = call("POST", f"{one}/ack", {"by": "Ann", "comment": "On my way"})
    assert taken[0] == 200, taken
    assert (taken[1]["state"], taken[1]["acknowledgedBy"], taken[1]["acknowledgedComment"]) == ("ACKNOWLEDGED", "Ann", "On my way")
    again = call("POST", f"{one}/ack", {"by": "Bob"})
    assert (again[0], again[1]["acknowledgedBy"]) == (200, "Ann")
    device = get(f"{worker.url}/api/v1/devices/{site.serial('A')}")[1]
    assert [each["alarmId"] for each in device["alarms"]] == [alarm["alarmId"]]

    # What is known survives a kill, and what was published is not published again.
    worker.kill()
    worker = site.deployment.worker().wait_until_ready()
    eventually(lambda: site.states("A") == ["ACKNOWLEDGED"], 30, "known again")
    site.send([("A", 65)])
    eventually(lambda: site.states("A") == ["CLEARED"], 30, "cleared")
    over = call("POST", f"{one}/ack", {"by": "Ann"})
    assert (over[0], over[1]["title"]) == (409, "The alarm is over")
    eventually(lambda: len(site.told("A")) == 3, 30, "told")
    assert site.told("A") == ["ALARM_RAISED", "ALARM_ACKNOWLEDGED", "ALARM_CLEARED"]
    assert get(f"{worker.url}/api/v1/devices/{site.serial('A')}")[1]["alarms"] == []

    assert call("POST", f"{site.api}/alarms/{'f' * 32}/ack", {"by": "Ann"})[0] == 404
    assert call("POST", f"{site.api}/alarms/nothing/ack", {"by": "Ann"})[0] == 404
    bad = call("POST", f"{one}/ack", {"who": "Ann"})
    assert (bad[0], "who" in bad[1]["detail"]) == (400, True)
    assert get(f"{site.api}/alarms?state=LOUD")[0] == 400


def test_a_rule_is_changed_and_removed_while_a_worker_runs_and_a_device_is_worked_on(site: Site) -> None:
    site.rule("A", "B")
    site.deployment.worker().wait_until_ready()
    site.deployment.ingress().wait_until_ready()
    site.deployment.gateway()
    maintained = site.serial("B")
    times = ("--from", "2020-01-01T00:00:00Z", "--until", "2099-01-01T00:00:00Z")
    window = json.loads(site.deployment.command("maintenance", "set", "--device", maintained, *times, "--json").stdout)
    site.send([("A", 60), ("B", 60)])
    site.rule("A", "B", above=50, clearAt=40)

    def raised() -> bool:
        site.send([("A", 60), ("B", 60)])
        return site.states("A") == site.states("B") == ["RAISED"]

    eventually(raised, 30, "raised by the new limit")
    site.deployment.command("rules", "remove", f"hot-{site.prefix}")
    eventually(lambda: site.states("A") == site.states("B") == ["CLEARED"], 30, "cleared with the rule")
    assert {each["clearCause"] for name in "AB" for each in site.alarms(name)} == {"RULE_REMOVED"}
    site.rule("A", "B", above=50, clearAt=40)

    def raised_again() -> bool:
        site.send([("A", 60), ("B", 60)])
        return site.states("A") == site.states("B") == ["RAISED", "CLEARED"]

    eventually(raised_again, 30, "raised again")
    eventually(lambda: len(site.told("A")) == 3, 30, "told of A")
    assert (site.told("A"), site.told("B")) == (["ALARM_RAISED", "ALARM_CLEARED", "ALARM_RAISED"], [])
    assert call("DELETE", f"{site.api}/maintenance-windows/{window['windowId']}")[0] == 200
    eventually(lambda: site.told("B"), 60, "told of B")
    [told] = [each for each in of(site.deployment, DEVICE_NOTIFICATIONS, maintained) if each["kind"].startswith("ALARM")]
    assert (told["kind"], told["data"]["maintenanceWindowId"]) == ("ALARM_RAISED", window["windowId"])


def test_a_worker_that_is_killed_raises_and_clears_each_alarm_once(site: Site) -> None:
    names = [f"D{number}" for number in range(12)]
    site.rule(*names)
    worker = site.deployment.worker().wait_until_ready()

    def events() -> list[dict[str, Any]]:
        found = (orjson.loads(record.value) for record in consume(site.deployment.stack.kafka_bootstrap, ALARM_EVENTS))
        return [each for each in found if each["serialNumber"].startswith(site.prefix)]

    def in_step() -> bool:
        site.send([(name, value) for value in (90, 60) for name in names])
        return {each["serialNumber"] for each in events()} == {site.serial(name) for name in names}

    # Rules come on another topic than telemetry: only what is sent when each partition has read of them is counted, which is what goes up to 91.
    eventually(in_step, 30, "every device under the rule")
    for _ in range(3):
        site.send([(name, value) for value in (91, 75, 60) * 4 for name in names])
        worker.kill()
        worker = site.deployment.worker()
        # The next kill is to come while this one is on its way back, or at work.
        eventually(lambda url=f"{worker.url}/livez": get(url)[0] == 200, 30, "alive again")
    worker.wait_until_ready()

    def counted() -> list[dict[str, Any]]:
        return [each for each in events() if each["value"] == 91]

    eventually(lambda: len(counted()) >= 288, 60, "all raised and cleared")
    assert Counter(each["eventType"] for each in counted()) == {"ALARM_RAISED": 144, "ALARM_CLEARED": 144}
    assert len({each["eventId"] for each in counted()}) == 288
    assert len({each["alarmId"] for each in counted()}) == 144

    def told() -> Counter[str]:
        found = (orjson.loads(record.value) for record in consume(site.deployment.stack.kafka_bootstrap, DEVICE_NOTIFICATIONS))
        return Counter(each["kind"] for each in found if each["serialNumber"].startswith(site.prefix) and each["data"].get("value") == 91)

    eventually(lambda: told().total() >= 288, 60, "told")
    assert told() == {"ALARM_RAISED": 144, "ALARM_CLEARED": 144}
