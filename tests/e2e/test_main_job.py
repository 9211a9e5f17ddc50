"""The main job, end to end, on real servers: what a device publishes is in Kafka, in the live tables, and on people's screens."""

import asyncio
import json
import math
import random
import time
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from ems_streams.dev.simulator.ledger import totals
from ems_streams.mqtt.publisher import MqttPublisher
from tests.support.processes import Deployment, Running, eventually, get

pytestmark = pytest.mark.e2e


async def records_of(bootstrap: str, topic: str, key: str, partitions: int = 4) -> list[dict[str, Any]]:
    """Every committed record of a key on a topic, in order."""
    tps = [TopicPartition(topic, number) for number in range(partitions)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest", fetch_max_wait_ms=50
    )
    await consumer.start()
    try:
        consumer.assign(tps)
        ends = await consumer.end_offsets(tps)
        found = []
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for batch in (await consumer.getmany(timeout_ms=100)).values():
                found += [json.loads(record.value) for record in batch if record.key == key.encode()]
        return found
    finally:
        await consumer.stop()


def ready(*processes: Running) -> None:
    for process in processes:
        process.wait_until_ready()


def test_the_seed_example(deployment: Deployment) -> None:
    """The seed's own commands: a bare metric object at QoS 0, then a status that goes OFFLINE and ONLINE."""
    ready(deployment.ingress(), deployment.worker(), deployment.gateway())
    serial = f"INV-{uuid.uuid4().hex[:8]}"
    api = f"http://127.0.0.1:{deployment.ports.gateway}"
    messages = asyncio.run(_publish_seed_example(deployment, serial, api))

    device = get(f"{api}/api/v1/devices/{serial}")[1]
    assert device["latest"] == {"powerKw": 45.2}
    assert device["status"] == "ONLINE"
    assert device["siteId"] == 1

    (telemetry,) = asyncio.run(records_of(deployment.stack.kafka_bootstrap, "device-telemetry", serial))
    assert telemetry["telemetryData"] == {"powerKw": 45.2}
    assert telemetry["serialNumber"] == serial
    assert telemetry["siteId"] == 1
    assert telemetry["eventType"] == "DEVICE_TELEMETRY"
    assert isinstance(telemetry["deviceId"], int)
    assert telemetry["deviceType"] == "UNKNOWN"
    assert telemetry["timestamp"].endswith("Z")

    transitions = asyncio.run(records_of(deployment.stack.kafka_bootstrap, "device-status", serial))
    assert [(each["previousStatus"], each["newStatus"], each["sequence"]) for each in transitions] == [
        ("UNKNOWN", "ONLINE", 1),
        ("ONLINE", "OFFLINE", 2),
        ("OFFLINE", "ONLINE", 3),
    ]
    assert [message["notification"]["data"]["newStatus"] for message in messages] == ["ONLINE", "OFFLINE", "ONLINE"]
    assert len({message["cursor"] for message in messages}) == 3


async def _publish_seed_example(deployment: Deployment, serial: str, api: str) -> list[dict[str, Any]]:
    """Publish as the seed does; the WebSocket's messages about the device."""
    base = f"sites/1/devices/{serial}"
    messages: list[dict[str, Any]] = []

    async def receive(count: int) -> None:
        while len(messages) < count:
            message = json.loads((await websocket.receive(timeout=10)).data)
            if message["notification"]["serialNumber"] == serial:
                messages.append(message)

    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{api}/ws/notifications") as websocket,
        MqttPublisher(deployment.stack.mqtt_url, f"test-{serial}") as device,
    ):
        await device.publish(f"{base}/telemetry", b'{"powerKw": 45.2}', qos=0)
        await receive(1)
        await device.publish(f"{base}/status", b'{"status":"OFFLINE","reason":"maintenance truck"}')
        await receive(2)
        await device.publish(f"{base}/status", b'{"status":"ONLINE"}')
        await receive(3)
    return messages


def wrong_devices(url: str, ledger: Path) -> list[str]:
    """Devices whose live totals differ from the ledger, with what differs."""
    wrong = []
    for serial, metrics in totals(ledger).items():
        status, body = get(f"{url}/api/v1/devices/{serial}/aggregates")
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


def until_exact(url: str, ledger: Path, timeout_s: float = 60.0) -> None:
    """Return once the live tables equal the ledger; fail with the differences that stay."""
    deadline_s = time.monotonic() + timeout_s
    while wrong := wrong_devices(url, ledger):
        assert time.monotonic() < deadline_s, wrong[:5]
        time.sleep(0.2)


def simulate(deployment: Deployment, ledger: Path, *more: str) -> Running:
    """Start the simulator on the deployment."""
    seed = str(random.randrange(1_000_000))
    return deployment.start("simulator", ["simulate", "--seed", seed, "--ledger", str(ledger), *more], 0, {})


def test_live_tables_equal_the_ledger_from_either_worker(deployment: Deployment, tmp_path: Path) -> None:
    """Two workers share the partitions; both answer for every device, and exactly."""
    ledger = tmp_path / "ledger.jsonl"
    workers = [deployment.worker(0), deployment.worker(1)]
    ready(deployment.ingress(), *workers)
    simulator = simulate(
        deployment, ledger, "--devices", "100", "--rate", "1000", "--duration", "8", "--faults", "duplicates=0.02,out-of-order=0.02"
    )
    assert simulator.popen.wait(60) == 0, simulator.log_tail()

    topology = eventually(lambda: _split(workers[0].url), 30, "partitions split between two workers")
    assert sorted(number for owned in topology["workers"].values() for number in owned) == [0, 1, 2, 3]
    for worker in workers:
        until_exact(worker.url, ledger)
    truth = totals(ledger)
    assert len(truth) == 100
    assert math.isclose(sum(metrics["powerKw"].count for metrics in truth.values()), 8000, rel_tol=0.05)


def _split(url: str) -> dict[str, Any] | None:
    status, topology = get(f"{url}/internal/v1/topology")
    return topology if status == 200 and len(topology["workers"]) == 2 else None


def test_exact_after_kill_9_of_every_process(deployment: Deployment, tmp_path: Path) -> None:
    """Ingress and workers are killed while the fleet publishes: nothing acknowledged is lost, nothing is counted twice."""
    ledger = tmp_path / "ledger.jsonl"
    ingress, workers = deployment.ingress(), [deployment.worker(0), deployment.worker(1)]
    ready(ingress, *workers)
    simulator = simulate(deployment, ledger, "--devices", "50", "--rate", "800", "--duration", "25")
    for victim in ("worker-0", "ingress", "worker-1", "ingress", "worker-0"):
        # Let traffic flow: what matters is what happens between the kills.
        time.sleep(3.0)
        if victim == "ingress":
            ingress.kill()
            ingress = deployment.ingress()
        else:
            index = int(victim[-1])
            workers[index].kill()
            workers[index] = deployment.worker(index)
    assert simulator.popen.wait(90) == 0, simulator.log_tail()
    ready(ingress, *workers)
    until_exact(workers[0].url, ledger)
    assert len(totals(ledger)) == 50
