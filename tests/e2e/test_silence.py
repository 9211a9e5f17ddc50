"""A fleet of which some fall silent: exactly those are offline, in time; and nobody is because the ingress, a worker or the MQTT broker was away."""

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Self

import orjson
import pytest

from ems_streams.kafka.catalogue import DEVICE_STATUS, INGRESS_HEARTBEATS
from ems_streams.mqtt.publisher import MqttPublisher
from tests.integration.worker.test_worker import PARTITIONS
from tests.support.processes import Deployment, eventually
from tests.support.records import consume

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

DEVICES, SILENT = 1000, 50
TIMEOUT_S = 8.0
INTERVAL_S = 2.0
SETTINGS = {
    "EMS_HEARTBEAT_INTERVAL_S": "0.5",
    "EMS_SILENCE_TIMEOUT_S": str(TIMEOUT_S),
    "EMS_SILENCE_TIMEOUTS": "none",
    "EMS_PUBLISHED_WINDOWS": "none",
}


class DevicesThread:
    """Devices that send for as long as they are in `active`, whatever becomes of the broker."""

    def __init__(self, url: str, name: str, serials: list[str]) -> None:
        self.active = list(serials)
        self.rounds = 0
        self.longest_round_s = 0.0
        self.last_sent_s: dict[str, float] = {}
        self._url, self._name = url, name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    async def _run(self) -> None:
        async with MqttPublisher(self._url, self._name) as publisher:
            while not self._stop.is_set():
                started_s = time.monotonic()
                sending = asyncio.gather(*(self._send(publisher, serial) for serial in list(self.active)))
                while not sending.done() and not self._stop.is_set():
                    await asyncio.wait((sending,), timeout=0.5)
                if not sending.done():
                    sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)
                self.rounds += 1
                self.longest_round_s = max(self.longest_round_s, time.monotonic() - started_s)
                await asyncio.sleep(max(started_s + INTERVAL_S - time.monotonic(), 0.05))

    async def _send(self, publisher: MqttPublisher, serial: str) -> None:
        self.last_sent_s[serial] = time.time()
        await publisher.publish(f"sites/1/devices/{serial}/telemetry", b'{"powerKw": 1.5}')

    def wait_for_rounds(self, count: int) -> None:
        wanted = self.rounds + count
        eventually(lambda: self.rounds >= wanted, 90, "devices send")


def transitions(deployment: Deployment) -> list[dict[str, Any]]:
    events = []
    for record in consume(deployment.stack.kafka_bootstrap, DEVICE_STATUS):
        event = orjson.loads(record.value)
        if event["serialNumber"].startswith(deployment.application_id):
            events.append({**event, "recordedS": record.timestamp / 1000})
    return events


def check_offline(deployment: Deployment, devices: DevicesThread, silent: list[str]) -> None:
    """Exactly these are offline, by their silence, each within its timeout and five seconds, with what was heard of it last."""
    offline = [event for event in transitions(deployment) if event["newStatus"] == "OFFLINE"]
    assert sorted(event["serialNumber"] for event in offline) == sorted(silent)
    assert {(event["cause"], event["previousStatus"], event["sequence"]) for event in offline} == {("SILENCE", "ONLINE", 2)}
    delays_s = [event["recordedS"] - devices.last_sent_s[event["serialNumber"]] - TIMEOUT_S for event in offline]
    print(f"offline after timeout + {min(delays_s):.2f} to {max(delays_s):.2f} s", flush=True)
    assert 0 <= min(delays_s) <= max(delays_s) <= 5
    for event in offline:
        said_s = datetime.fromisoformat(event["evidence"]["lastSeen"]).timestamp()
        # Not of the message before, and what the silence was counted from; times of events have milliseconds.
        assert devices.last_sent_s[event["serialNumber"]] - 0.001 < said_s < event["recordedS"] - TIMEOUT_S + 0.001


def check_nobody_new(deployment: Deployment, devices: DevicesThread, known: int, what: str) -> None:
    """Whoever sends is heard again for two timeouts, and nothing has changed since there were so many transitions."""
    devices.wait_for_rounds(2)
    time.sleep(2 * TIMEOUT_S)
    events = sorted(transitions(deployment), key=lambda event: float(event["recordedS"]))
    said = f"{what}: {len(events) - known} transitions; longest round so far {devices.longest_round_s:.1f} s"
    print(said, flush=True)
    assert len(events) == known, (said, events[known : known + 3])


def heartbeats(deployment: Deployment) -> int:
    return len(consume(deployment.stack.kafka_bootstrap, INGRESS_HEARTBEATS))


def come_back_later_than_the_ingress(deployment: Deployment, devices: DevicesThread, serials: list[str]) -> None:
    """Devices send again only when somebody listens again: what counts the time in which nobody did makes them all offline."""
    before = heartbeats(deployment)
    eventually(lambda: heartbeats(deployment) >= before + 2 * PARTITIONS, 60, "heartbeats come again")
    devices.active = serials


def test_only_who_is_silent_is_offline(deployment: Deployment) -> None:
    deployment.extra |= SETTINGS
    worker = deployment.worker().wait_until_ready()
    ingress = deployment.ingress().wait_until_ready()
    mqtt = deployment.stack.mqtt
    serials = [f"{deployment.application_id}-{number:04}" for number in range(DEVICES)]
    known = DEVICES + SILENT

    def lose_mqtt() -> None:
        devices.active = []
        devices.wait_for_rounds(1)
        asyncio.run(mqtt.kill())

    def start_mqtt() -> None:
        asyncio.run(mqtt.start())
        come_back_later_than_the_ingress(deployment, devices, serials[SILENT:])

    away: list[tuple[str, Callable[[], None], Callable[[], object]]] = [
        ("ingress", ingress.kill, lambda: deployment.ingress().wait_until_ready()),
        ("worker", worker.kill, lambda: deployment.worker().wait_until_ready()),
        ("MQTT broker", lose_mqtt, start_mqtt),
    ]

    with DevicesThread(deployment.stack.mqtt_url, f"{deployment.application_id}-devices", serials) as devices:
        eventually(lambda: len(transitions(deployment)) == DEVICES, 60, "all are online")
        time.sleep(TIMEOUT_S)
        devices.active = serials[SILENT:]
        eventually(lambda: len(transitions(deployment)) >= known, 60, "the silent ones are offline")
        devices.wait_for_rounds(1)
        time.sleep(TIMEOUT_S)
        check_offline(deployment, devices, serials[:SILENT])
        for what, leave, come_back in away:
            leave()
            time.sleep(3 * TIMEOUT_S)
            come_back()
            check_nobody_new(deployment, devices, known, f"{what} away for 3 timeouts")
        devices.active = serials
        eventually(lambda: len(transitions(deployment)) >= known + SILENT, 60, "the silent ones are back")
        last = {event["serialNumber"]: event["newStatus"] for event in transitions(deployment)}
        assert set(last.values()) == {"ONLINE"}
        assert len(transitions(deployment)) == known + SILENT
