"""`explain` on real servers: a device with a duplicate, a late message, a malformed one, alarms and a last will; each is named with its offset."""

import asyncio
import json
import time
import uuid
from collections.abc import Iterable
from typing import Any

import orjson
import pytest

from ems_streams.domain.timestamps import format_epoch_ms
from ems_streams.kafka.catalogue import ALARM_EVENTS, DEVICE_STATUS, DEVICE_STATUS_REPORTS, DEVICE_TELEMETRY, DEVICE_TELEMETRY_LATE, dlt_of
from ems_streams.mqtt.publisher import MqttPublisher
from tests.support.last_will import connect_and_vanish
from tests.support.processes import Deployment, eventually, get
from tests.support.records import consume

pytestmark = pytest.mark.integration

DAY_MS = 86_400_000
Publish = tuple[str, bytes]


def publish(deployment: Deployment, messages: Iterable[Publish]) -> None:
    async def send() -> None:
        async with MqttPublisher(deployment.stack.mqtt_url, f"p{uuid.uuid4().hex[:8]}") as publisher:
            for topic, payload in messages:
                await publisher.publish(topic, payload)

    asyncio.run(send())


def telemetry(at_ms: int, message_id: str, **metrics: float) -> bytes:
    return orjson.dumps({"telemetryData": metrics, "timestamp": format_epoch_ms(at_ms), "messageId": message_id, "deviceType": "METER"})


def rule(rule_id: str, serial: str, for_s: float) -> dict[str, Any]:
    condition = {"kind": "threshold", "metric": "temperature", "above": 80, "clearAt": 70, "forS": for_s}
    return {"id": rule_id, "title": rule_id, "severity": "WARNING", "scope": {"serialNumbers": [serial]}, "condition": condition}


def place(found: dict[str, Any]) -> str:
    return f"{found['topic']}[{found['partition']}]@{found['offset']}"


def everything(base: str, now_ms: int) -> list[Publish]:
    """What the device sends: a value, one beyond the limit, the first one again, one that is too late, and one that is no JSON."""
    return [
        (f"{base}/telemetry", telemetry(now_ms, "m1", temperature=20)),
        (f"{base}/telemetry", telemetry(now_ms + 1000, "m2", temperature=90)),
        (f"{base}/telemetry", telemetry(now_ms, "m1", temperature=20)),
        (f"{base}/telemetry", telemetry(now_ms - 2 * DAY_MS, "m0", temperature=10)),
        (f"{base}/telemetry", b"temperature=90"),
    ]


def expected_places(deployment: Deployment, serial: str) -> dict[str, str]:
    """Where what `everything` sends and its last will have gone to."""
    letters = dlt_of(DEVICE_TELEMETRY)
    there = of(deployment, serial, DEVICE_TELEMETRY, DEVICE_STATUS_REPORTS, DEVICE_TELEMETRY_LATE, letters, ALARM_EVENTS, DEVICE_STATUS)
    sent = there[DEVICE_TELEMETRY]
    return {
        "evidence": there[DEVICE_STATUS_REPORTS][-1],
        "duplicate": sent[2],
        "first": sent[0],
        "raised": sent[1],
        "late": there[DEVICE_TELEMETRY_LATE][0],
        "late from": sent[3],
        "letter": there[letters][0],
        "alarm": there[ALARM_EVENTS][0],
        "transition": there[DEVICE_STATUS][-1],
    }


def test_a_device_with_everything_that_can_happen_is_explained_by_command_and_over_http(deployment: Deployment) -> None:
    deployment.extra["EMS_HEARTBEAT_INTERVAL_S"] = "0.5"
    serial = f"{deployment.application_id}-D"
    base = f"sites/7/devices/{serial}"
    hot, slow = f"hot-{deployment.application_id}", f"slow-{deployment.application_id}"
    deployment.directory.mkdir(parents=True, exist_ok=True)
    rules = deployment.directory / "rules.yaml"
    rules.write_text(json.dumps({"rules": [rule(hot, serial, 0), rule(slow, serial, 3600)]}))
    deployment.command("rules", "apply", str(rules))
    try:
        worker = deployment.worker().wait_until_ready()
        deployment.ingress().wait_until_ready()
        api = f"{deployment.gateway().url}/api/v1/devices/{serial}"
        now_ms = time.time_ns() // 1_000_000 - 10_000
        publish(deployment, everything(base, now_ms))
        eventually(lambda: (get(api)[1] or {}).get("alarms"), 30, "the alarm is raised")
        will = {"status": "OFFLINE", "reason": "connection lost", "timestamp": format_epoch_ms(now_ms)}
        connect_and_vanish(deployment.stack.mqtt_url, serial, f"{base}/status", orjson.dumps(will))
        eventually(lambda: get(api)[1]["status"] == "OFFLINE", 30, "the last will took it offline")
        eventually(lambda: of(deployment, serial, DEVICE_TELEMETRY_LATE)[DEVICE_TELEMETRY_LATE], 30, "the late one is put aside")

        expected = expected_places(deployment, serial)
        status, over_http = get(f"{api}/explain?since=1h&limit=20", timeout_s=20)
        assert status == 200, over_http
        by_command = json.loads(deployment.command("explain", serial, "--limit", "20", "--json").stdout)
        for found in (over_http, by_command):
            check_the_story(found, serial, expected, (hot, slow), worker.url)

        shown = deployment.command("explain", serial).stdout
        assert shown.startswith(f"{serial} is OFFLINE since ")
        assert all(each in shown for each in expected.values())
        check_arguments(deployment, api)
        check_what_is_told_when_parts_are_down(deployment, serial, expected)
    finally:
        deployment.command("rules", "remove", hot, slow, check=False)


def of(deployment: Deployment, serial: str, *topics: str) -> dict[str, list[str]]:
    """By topic, where the records of the device are, in their order."""
    found: dict[str, list[str]] = {topic: [] for topic in topics}
    for each in consume(deployment.stack.kafka_bootstrap, *topics):
        if each.key == serial.encode():
            found[each.topic].append(f"{each.topic}[{each.partition}]@{each.offset}")
    return found


def check_the_story(found: dict[str, Any], serial: str, expected: dict[str, str], rule_ids: tuple[str, str], worker: str) -> None:
    assert (found["status"], found["owner"], found["missing"]) == ("OFFLINE", worker, [])
    headline = found["narrative"][0]
    assert headline.startswith(f"{serial} is OFFLINE since "), headline
    assert "last will" in headline, headline
    assert expected["evidence"] in headline
    dropped = found["dropped"]
    assert (dropped["duplicatesCounted"], dropped["duplicateMessageIds"], dropped["lateCounted"]) == (1, ["m1"], 1)
    assert [place(each) for each in dropped["duplicatesSeen"]] == [expected["duplicate"]]
    assert [place(each) for each in dropped["lateSeen"]] == [expected["late"]]
    assert [place(each) for each in dropped["deadLettersSeen"]] == [expected["letter"]]
    entries = {place(each["place"]): each for each in found["timeline"]}
    assert entries[expected["duplicate"]]["origin"] == expected["first"]
    assert entries[expected["late"]]["origin"] == expected["late from"]
    assert "invalid_json" in entries[expected["letter"]]["said"]
    assert (entries[expected["alarm"]]["what"], entries[expected["transition"]]["what"]) == ("alarm", "transition")
    assert all(entries[expected[name]]["folded"] for name in ("first", "duplicate", "raised"))
    standing = {each["ruleId"]: each for each in found["facts"]["rules"]}
    raised, pending = (standing[rule_id] for rule_id in rule_ids)
    assert (raised["standing"], pending["standing"], pending["value"]) == ("RAISED", "PENDING", 90)
    assert place(raised["evidence"]) == place(pending["evidence"]) == expected["raised"]
    assert "of 3600 s so far" in pending["why"]
    assert found["registered"]["provisioned"]
    assert all(each["complete"] for each in found["reads"])
    assert any(each.startswith("telemetry that is newer") for each in found["nextChanges"])


def check_arguments(deployment: Deployment, api: str) -> None:
    assert get(f"{api}/explain?since=yesterday")[0] == 400
    assert get(f"{api}/explain?limit=0")[0] == 400
    assert get(f"{api}-unheard-of/explain", timeout_s=20)[0] == 404
    unknown = deployment.command("explain", f"{deployment.application_id}-unheard-of", check=False)
    assert (unknown.returncode, "Not in the registry" in unknown.stdout) == (1, True)


def check_what_is_told_when_parts_are_down(deployment: Deployment, serial: str, expected: dict[str, str]) -> None:
    for each in deployment.running:
        if each.name.startswith("worker"):
            each.kill()
    without_worker = deployment.command("explain", serial, "--json", check=False)
    assert without_worker.returncode == 3
    found = json.loads(without_worker.stdout)
    assert [each["part"] for each in found["missing"]] == ["worker"]
    assert expected["transition"] in found["narrative"][0]
    assert [place(each) for each in found["dropped"]["duplicatesSeen"]] == [expected["duplicate"]]
    assert (found["facts"], found["dropped"]["duplicatesCounted"]) == (None, None)

    deployment.extra["EMS_KAFKA_BOOTSTRAP_SERVERS"] = "127.0.0.1:1"
    without_anything = deployment.command("explain", serial, "--timeout", "3", "--json", check=False)
    assert without_anything.returncode == 3
    assert {each["part"] for each in json.loads(without_anything.stdout)["missing"]} == {"worker", "kafka", "registry"}
