"""Poisoned messages of every stage of a running system: listed, grouped, mended, sent back and processed; one loops into the quarantine."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from ems_streams.dead_letters.listing import group_topics, list_letters
from ems_streams.domain.letter_filter import LetterFilter
from ems_streams.kafka.catalogue import QUARANTINE
from ems_streams.mqtt.publisher import MqttPublisher
from ems_streams.settings import Settings
from tests.support.dead_letters import put, telemetry_value, unique
from tests.support.failing_processes import FOLD_NEVER_KW
from tests.support.notifier import channels_file, hook, secrets
from tests.support.processes import Deployment, Running, eventually, get
from tests.support.receivers import webhook
from tests.support.records import consume
from tests.support.sink import notification_of

pytestmark = pytest.mark.integration


Group = tuple[str, str, str]
"""Topic, error class and stage."""


class Site:
    """A system whose worker cannot fold 666 kW, with some devices of one test."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.bootstrap = deployment.stack.kafka_bootstrap
        self.settings = Settings.load(kafka_bootstrap_servers=self.bootstrap, partitions=deployment.partitions)
        self.names = {name: unique(name) for name in ("MQTT", "WRONG", "REPORT", "STATUS", "KAFKA", "FOLD", "REG", "SINK", "WINDOW")}

    def start(self) -> Running:
        port = self.deployment.ports.worker
        worker = self.deployment.start(
            "worker-0", ["worker"], port, {"EMS_WORKER_PORT": str(port)}, program=("-m", "tests.support.failing_processes")
        )
        for process in (self.deployment.ingress(), self.deployment.sink(), worker):
            process.wait_until_ready()
        return worker

    def poison(self) -> None:
        names = {name: serial.encode() for name, serial in self.names.items()}
        self.publish(f"sites/1/devices/{self.names['MQTT']}/telemetry", b"powerKw=45.2")
        self.publish(f"sites/01/devices/{self.names['WRONG']}/telemetry", b'{"powerKw": 7}')
        self.publish(f"sites/1/devices/{self.names['STATUS']}/status", b'{"status": "SLEEPING"}')
        report = json.loads(telemetry_value(self.names["REPORT"])) | {"eventType": "DEVICE_STATUS_REPORT", "status": "ASLEEP"}
        put(
            self.bootstrap,
            [
                ("device-telemetry", names["KAFKA"], telemetry_value(self.names["KAFKA"], "high"), []),
                ("device-telemetry", names["FOLD"], telemetry_value(self.names["FOLD"], FOLD_NEVER_KW), []),
                ("device-status-reports", names["REPORT"], json.dumps(report).encode(), []),
                ("device-registry", names["REG"], b'{"deviceId": "seven"}', []),
                ("device-aggregates", names["SINK"], b"no window", []),
                ("maintenance-windows", names["WINDOW"], b"no window of maintenance", []),
            ],
        )

    def publish(self, topic: str, payload: bytes) -> None:
        async def published() -> None:
            async with MqttPublisher(self.deployment.stack.mqtt_url, unique("p")) as publisher:
                await publisher.publish(topic, payload)

        asyncio.run(published())

    def dlt(self, *arguments: str, code: int = 0) -> Any:
        done = self.deployment.command("dlt", *arguments, "--json", check=False)
        assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def letters(self, topic: str, name: str) -> list[dict[str, Any]]:
        """Open letters of one of the devices, the newest first."""
        chosen = LetterFilter(where={"serial": (self.names[name],)})
        return asyncio.run(list_letters(self.settings, topic, chosen, 50, only_open=True))

    def groups(self) -> set[Group]:
        """Groups of the letters of these devices, on all topics."""
        by = ("error-class", "stage")
        chosen = LetterFilter(where={"serial": tuple(self.names.values())})
        found = asyncio.run(group_topics(self.settings, None, by, chosen, 100, only_open=True, on_progress=lambda *_: None))
        return {group_in(each) for each in found}

    def counts(self) -> dict[Group, int]:
        """The same from the command line, with how many letters are open: other tests have theirs on the same topics."""
        where = ",".join(f"serial={serial}" for serial in self.names.values())
        return {group_in(each): each["open"] for each in self.dlt("list", "--where", where)["groups"]}


def group_in(view: dict[str, Any]) -> Group:
    return view["topic"], view["errorClass"], view["stage"]


def count(worker: Running, serial: str) -> int:
    status, body = get(f"{worker.url}/api/v1/devices/{serial}/aggregates")
    return int(body["total"]["metrics"]["powerKw"]["count"]) if status == 200 else 0


WANTED = {
    ("device-telemetry-dlt", "invalid_json", "ingress"),
    ("device-telemetry-dlt", "invalid_topic", "ingress"),
    ("device-status-reports-dlt", "invalid_field", "ingress"),
    ("device-telemetry-dlt", "invalid_field", "aggregates"),
    ("device-telemetry-dlt", "ValueError", "aggregates"),
    ("device-status-reports-dlt", "invalid_field", "status"),
    ("device-registry-dlt", "invalid_field", "status"),
    ("device-aggregates-dlt", "invalid_json", "sink"),
    ("maintenance-windows-dlt", "invalid_json", "notifications"),
}


def test_letters_of_every_stage_are_grouped_mended_and_processed_and_one_loops_into_the_quarantine(
    deployment: Deployment, tmp_path: Path
) -> None:
    site = Site(deployment)
    worker = site.start()
    site.poison()
    eventually(lambda: site.groups() >= WANTED, 60, "a group for each stage")
    listed = site.counts()
    assert {group: listed[group] for group in WANTED} == dict.fromkeys(WANTED, 1)

    replace_what_came_over_mqtt(site, tmp_path / "value.json")
    mend_by_fields_and_topic(site, worker)
    redrive_into_the_quarantine(site)
    # Out of there it goes mended.
    where = f"serial={site.names['FOLD']}"
    mended = site.dlt("redrive", QUARANTINE, "--where", where, "--set", "telemetryData.powerKw=6", "--max-replays", "9")
    assert mended["outcomes"]["sent"] == 1
    eventually(lambda: count(worker, site.names["FOLD"]) == 1, 30, "counted at last")


def replace_what_came_over_mqtt(site: Site, file: Path) -> None:
    """All of its bytes are replaced; what a person changes wrongly is refused, and a dry run does nothing."""
    (over_mqtt,) = site.letters("device-telemetry-dlt", "MQTT")
    shown = site.dlt("show", over_mqtt["id"])
    assert (shown["valueText"], shown["stage"], shown["redrive"]["outcome"]) == ("powerKw=45.2", "ingress", "failedAgain")
    file.write_bytes(b'{"powerKw": "much"}')
    refused = site.dlt("redrive", "--id", over_mqtt["id"], "--edit", str(file), code=1)
    assert refused["refusals"] == {"still_malformed": 1}
    file.write_bytes(b'{"powerKw": 45.2}')
    dry = site.dlt("redrive", "--id", over_mqtt["id"], "--edit", str(file), "--dry-run")
    assert dry["letters"] == [{"id": over_mqtt["id"], "outcome": "sent", "target": "device-telemetry", "reason": None, "detail": None}]
    assert site.letters("device-telemetry-dlt", "MQTT"), "a dry run leaves it where it is"
    assert site.dlt("redrive", "--id", over_mqtt["id"], "--edit", str(file))["outcomes"]["sent"] == 1


def mend_by_fields_and_topic(site: Site, worker: Running) -> None:
    """What is on a wrong topic, has a wrong field, and a report; with what was replaced they are all processed, and dealt with."""
    names = site.names
    (wrong,) = site.letters("device-telemetry-dlt", "WRONG")
    site.dlt("redrive", "--id", wrong["id"], "--mqtt-topic", f"sites/1/devices/{names['WRONG']}/telemetry")
    where = f"serial={names['KAFKA']}"
    site.dlt("redrive", "device-telemetry-dlt", "--where", where, "--set", "telemetryData.powerKw=12.5")
    (report,) = site.letters("device-status-reports-dlt", "REPORT")
    site.dlt("redrive", "--id", report["id"], "--set", "status=MAINTENANCE")
    for name in ("MQTT", "WRONG", "KAFKA"):
        eventually(lambda serial=names[name]: count(worker, serial) == 1, 30, f"{name} counted")
        assert site.letters("device-telemetry-dlt", name) == [], "it is dealt with"
    eventually(lambda: (get(f"{worker.url}/api/v1/devices/{names['REPORT']}")[1] or {}).get("status") == "MAINTENANCE", 20, "reported")
    assert site.dlt("redrive", "device-telemetry-dlt", "--where", where)["outcomes"]["doneBefore"] == 1


def redrive_into_the_quarantine(site: Site) -> None:
    """The same bytes again and again: each time a letter with one replay more, and then the quarantine."""
    serial = site.names["FOLD"]
    for replays in range(3):
        (failing,) = eventually(lambda: site.letters("device-telemetry-dlt", "FOLD"), 30, "it is a letter again")
        assert failing["replayCount"] == replays
        assert site.dlt("redrive", "device-telemetry-dlt", "--where", f"serial={serial}")["outcomes"]["sent"] == 1
    (last,) = eventually(lambda: site.letters("device-telemetry-dlt", "FOLD"), 30, "it is a letter again")
    looped = site.dlt("redrive", "device-telemetry-dlt", "--where", f"serial={serial}")
    assert (last["replayCount"], looped["outcomes"]["quarantined"], looped["outcomes"]["sent"]) == (3, 1, 0)
    assert site.letters("device-telemetry-dlt", "FOLD") == []
    (quarantined,) = [each for each in consume(site.bootstrap, QUARANTINE) if each.key == serial.encode()]
    assert quarantined.value == telemetry_value(serial, FOLD_NEVER_KW)
    assert dict(quarantined.headers)["dlt-replay-count"] == b"3"


def test_what_a_channel_could_not_deliver_is_delivered_when_it_is_redriven(deployment: Deployment, tmp_path: Path) -> None:
    serial = unique("CHAN")
    answers = {"status": 400}

    def answer(_number: int, _body: bytes) -> tuple[int, dict[str, str]]:
        return answers["status"], {}

    with webhook(answer) as receiver:
        deployment.notifier(channels_file(tmp_path, {"ops": hook(receiver.url)}), **secrets()).wait_until_ready()
        value = json.dumps(notification_of(serial)).encode()
        put(deployment.stack.kafka_bootstrap, [("device-notifications", serial.encode(), value, [])])
        site = Site(deployment)
        site.names["CHAN"] = serial
        (letter,) = eventually(lambda: site.letters("device-notifications-dlt", "CHAN"), 30, "put aside")
        assert (letter["stage"], letter["channel"]) == ("notifier", "ops")
        answers["status"] = 204
        assert site.dlt("redrive", "device-notifications-dlt", "--where", "channel=ops")["outcomes"]["sent"] == 1
        eventually(lambda: receiver.delivered, 20, "delivered")
    assert json.loads(receiver.requests[-1].body)["data"]["serialNumber"] == serial
