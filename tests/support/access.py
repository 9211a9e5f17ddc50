"""How a test reaches a running system: plainly, or with what has to be shown; and the checks of the main job, the same for both."""

import asyncio
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from ems_streams.dev.simulator.ledger import totals
from ems_streams.mqtt.endpoint import TlsFiles
from ems_streams.mqtt.publisher import MqttPublisher
from tests.support.processes import eventually


@dataclass
class Access:
    """Where everything is, and what is shown there.

    Attributes:
        api: Address of the gateway.
        mqtt_url: The broker.
        kafka: Options of an aiokafka client.
        headers: Shown to the gateway.
        tls: Whom an https address may belong to.
        shown_by: What a device shows to the broker, by serial number.
    """

    api: str
    mqtt_url: str
    kafka: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    shown_by: Callable[[str], TlsFiles | None] = lambda serial: None

    def get(self, path: str, timeout_s: float = 5.0) -> tuple[int, Any]:
        """Status and JSON body; status 0 when nobody answers."""
        try:
            request = urllib.request.Request(self.api + path, headers=dict(self.headers))
            with urllib.request.urlopen(request, timeout=timeout_s, context=self.tls) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            body = error.read()
            return error.code, json.loads(body) if body else None
        except (OSError, ValueError):
            return 0, None

    def session(self) -> aiohttp.ClientSession:
        """For WebSockets."""
        connector = aiohttp.TCPConnector(ssl=True if self.tls is None else self.tls)
        return aiohttp.ClientSession(headers=dict(self.headers), connector=connector)

    def device(self, serial: str) -> MqttPublisher:
        """A device at the broker."""
        return MqttPublisher(self.mqtt_url, f"test-{serial}", tls=self.shown_by(serial))


async def records_of(kafka: str | Mapping[str, Any], topic: str, key: str, partitions: int = 4) -> list[dict[str, Any]]:
    """Every committed record of a key on a topic, in order."""
    return [json.loads(record.value or b"") for record in await all_records(kafka, topic, partitions) if record.key == key.encode()]


async def all_records(kafka: str | Mapping[str, Any], topic: str, partitions: int = 4) -> list["ConsumerRecord[bytes, bytes]"]:
    """Every committed record of a topic, in order within each partition."""
    options = {"bootstrap_servers": kafka} if isinstance(kafka, str) else dict(kafka)
    tps = [TopicPartition(topic, number) for number in range(partitions)]
    consumer = AIOKafkaConsumer(**options, isolation_level="read_committed", auto_offset_reset="earliest", fetch_max_wait_ms=50)
    await consumer.start()
    try:
        consumer.assign(tps)
        ends = await consumer.end_offsets(tps)
        found = []
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for batch in (await consumer.getmany(timeout_ms=100)).values():
                found += batch
        return found
    finally:
        await consumer.stop()


def check_seed_example(access: Access, serial: str) -> None:
    """The seed's own commands: a bare metric object at QoS 0, then a status that goes OFFLINE and ONLINE."""
    messages = asyncio.run(_publish_seed_example(access, serial))

    device = access.get(f"/api/v1/devices/{serial}")[1]
    assert device["latest"] == {"powerKw": 45.2}
    assert device["status"] == "ONLINE"
    assert device["siteId"] == 1

    (telemetry,) = asyncio.run(records_of(access.kafka, "device-telemetry", serial))
    assert telemetry["telemetryData"] == {"powerKw": 45.2}
    assert telemetry["serialNumber"] == serial
    assert telemetry["siteId"] == 1
    assert telemetry["eventType"] == "DEVICE_TELEMETRY"
    assert isinstance(telemetry["deviceId"], int)
    assert telemetry["deviceType"] == "UNKNOWN"
    assert telemetry["timestamp"].endswith("Z")

    transitions = asyncio.run(records_of(access.kafka, "device-status", serial))
    assert [(each["previousStatus"], each["newStatus"], each["sequence"]) for each in transitions] == [
        ("UNKNOWN", "ONLINE", 1),
        ("ONLINE", "OFFLINE", 2),
        ("OFFLINE", "ONLINE", 3),
    ]
    assert [message["notification"]["data"]["newStatus"] for message in messages] == ["ONLINE", "OFFLINE", "ONLINE"]
    assert len({message["cursor"] for message in messages}) == 3


async def _publish_seed_example(access: Access, serial: str) -> list[dict[str, Any]]:
    """Publish as the seed does; the WebSocket's messages about the device."""
    base = f"sites/1/devices/{serial}"
    messages: list[dict[str, Any]] = []

    async def receive(count: int) -> None:
        while len(messages) < count:
            message = json.loads((await websocket.receive(timeout=10)).data)
            if message["notification"]["serialNumber"] == serial:
                messages.append(message)

    async with (
        access.session() as session,
        session.ws_connect(f"{access.api}/ws/notifications") as websocket,
        access.device(serial) as device,
    ):
        await device.publish(f"{base}/telemetry", b'{"powerKw": 45.2}', qos=0)
        await receive(1)
        await device.publish(f"{base}/status", b'{"status":"OFFLINE","reason":"maintenance truck"}')
        await receive(2)
        await device.publish(f"{base}/status", b'{"status":"ONLINE"}')
        await receive(3)
    return messages


def until_exact(access: Access, ledger: Path, timeout_s: float = 60.0) -> None:
    """Return once the live tables equal the ledger; fail with the differences that stay."""
    try:
        eventually(lambda: not wrong_devices(access, ledger), timeout_s, "the live tables equal the ledger")
    except AssertionError as error:
        raise AssertionError(f"{error}; wrong: {wrong_devices(access, ledger)[:5]}") from None


def wrong_devices(access: Access, ledger: Path) -> list[str]:
    """Devices whose live totals differ from the ledger, with what differs."""
    wrong = []
    for serial, metrics in totals(ledger).items():
        status, body = access.get(f"/api/v1/devices/{serial}/aggregates")
        if status != 200:
            wrong.append(f"{serial}: HTTP {status}")
            continue
        for name, truth in metrics.items():
            live = body["total"]["metrics"].get(name, {})
            expected = {"count": truth.count, "sum": truth.sum, "min": truth.min, "max": truth.max, "last": truth.last}
            found = {statistic: live.get(statistic) for statistic in expected}
            if found != expected:
                wrong.append(f"{serial}.{name}: {found}, expected {expected}")
    return wrong
