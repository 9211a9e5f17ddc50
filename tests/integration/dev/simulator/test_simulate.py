"""The simulator's command against the real broker: what the ledger says is what a subscriber receives."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from base64 import b64decode
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import mqtt5
import orjson
import pytest

from ems_streams.dev.simulator import POISON_KINDS, read_ledger, totals
from ems_streams.dev.stack import EmbeddedStack
from ems_streams.mqtt.adapter import MqttSubscriber
from ems_streams.settings import Settings

pytestmark = pytest.mark.integration

RECEIVED_TIMEOUT_S = 30.0


class Listener:
    """Collects everything that devices publish."""

    def __init__(self, subscriber: MqttSubscriber) -> None:
        self._subscriber = subscriber
        self.messages: Counter[tuple[str, bytes]] = Counter()

    async def listen(self) -> None:
        async for batch in self._subscriber.batches():
            self.messages.update((message.topic, message.payload) for message in batch.messages)
            await self._subscriber.acknowledge(batch)

    async def received(self, count: int) -> None:
        async with asyncio.timeout(RECEIVED_TIMEOUT_S):
            while self.messages.total() < count:
                await asyncio.sleep(0.05)


@pytest.fixture
async def listener(stack: EmbeddedStack) -> AsyncIterator[Listener]:
    name = f"listener-{uuid4().hex[:8]}"
    settings = Settings.load(mqtt_url=stack.mqtt_url, ingress_id=name, mqtt_share_group=name, mqtt_session_expiry_s=60)
    async with MqttSubscriber(settings) as subscriber:
        async with asyncio.timeout(10.0):
            while not subscriber.status.connected:
                await asyncio.sleep(0.02)
        listener = Listener(subscriber)
        listening = asyncio.create_task(listener.listen())
        yield listener
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def start(mqtt_url: str, *options: object) -> Process:
    environment = {**os.environ, "EMS_MQTT_URL": mqtt_url}
    command = [sys.executable, "-m", "ems_streams", "simulate", *map(str, options)]
    return await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=PIPE)


async def simulate(stack: EmbeddedStack, *options: object) -> dict[str, Any]:
    process = await start(stack.mqtt_url, *options, "--json")
    output, errors = await asyncio.wait_for(process.communicate(), 60.0)
    assert process.returncode == 0, errors.decode()
    summary: dict[str, Any] = json.loads(output)
    return summary


async def test_published_is_acknowledged_is_in_the_ledger_is_received(stack: EmbeddedStack, listener: Listener, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    summary = await simulate(stack, "--seed", 1, "--devices", 50, "--rate", 1000, "--duration", 3, "--ledger", ledger)
    assert (summary["published"], summary["telemetry"], summary["ledgerLines"], summary["unacknowledged"]) == (3050, 3000, 3000, 0)
    await listener.received(3050)
    received = [(topic, orjson.loads(payload)) for topic, payload in listener.messages]
    telemetry = {body["messageId"]: (topic, body) for topic, body in received if "messageId" in body}
    lines = list(read_ledger(ledger))
    assert len(lines) == len(telemetry) == 3000
    for line in lines:
        topic, body = telemetry[line["messageId"]]
        assert topic == f"sites/{line['siteId']}/devices/{line['serialNumber']}/telemetry"
        assert (body["telemetryData"], body["timestamp"]) == (line["metrics"], line["timestamp"])
    assert sum(metrics["powerKw"].count for metrics in totals(ledger).values()) == 3000
    assert [file.name for file in tmp_path.iterdir()] == ["ledger"]  # noqa: ASYNC240 - nothing else runs


async def test_each_fault_arrives_as_it_was_sent(stack: EmbeddedStack, listener: Listener, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    faults = "duplicates=0.1,out-of-order=0.1,late=0.1,clock-skew=0.2,silence=0.2,flapping=0.2,poison=0.1"
    summary = await simulate(
        stack, "--seed", 2, "--devices", 40, "--rate", 600, "--duration", 4, "--ledger", ledger, "--faults", faults, "--goodbye"
    )
    await listener.received(summary["published"])
    assert listener.messages.total() == summary["published"]
    poison = list(read_ledger(Path(f"{ledger}.poison")))
    assert {line["kind"] for line in poison} == set(POISON_KINDS)
    expected = Counter((line["topic"], b64decode(line["payload"])) for line in poison)
    assert expected <= listener.messages, "every poison message gets through the broker, byte for byte"
    good = Counter[str]()
    for (topic, payload), count in (listener.messages - expected).items():
        if topic.endswith("/telemetry"):
            good[orjson.loads(payload)["messageId"]] += count
    assert good.keys() == {line["messageId"] for line in read_ledger(ledger)}
    assert sum(count - 1 for count in good.values()) == summary["duplicates"] > 0


class Wire:
    """Passes everything on to the broker and writes down what was published, in order."""

    def __init__(self, stack: EmbeddedStack) -> None:
        self._broker = urlsplit(stack.mqtt_url)
        self.published: dict[str, list[str]] = {}
        self.connections = 0

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        from_broker, to_broker = await asyncio.open_connection(self._broker.hostname, self._broker.port)
        await asyncio.gather(self._pass_on(reader, to_broker, note=True), self._pass_on(from_broker, writer, note=False))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, note: bool) -> None:
        rest = b""
        while data := await reader.read(65_536):
            rest = self._note(rest + data) if note else b""
            writer.write(data)
            await writer.drain()
        writer.close()

    def _note(self, data: bytes) -> bytes:
        """Take whole packets off the front; returns what is left."""
        while data:
            try:
                packet, size = mqtt5.read(memoryview(data))
            except IndexError:
                break
            data = data[size:]
            if isinstance(packet, mqtt5.PublishPacket) and packet.topic.endswith("/telemetry"):
                self.published.setdefault(packet.topic, []).append(orjson.loads(packet.payload or b"")["messageId"])
        return data


async def test_a_device_publishes_in_its_order_over_one_connection(stack: EmbeddedStack) -> None:
    # On the wire, not at a subscriber: Artemis delivers to one subscription in another order than it received.
    wire = Wire(stack)
    async with await asyncio.start_server(wire.connect, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        process = await start(
            f"mqtt://127.0.0.1:{port}", "--seed", 3, "--devices", 20, "--rate", 4000, "--duration", 1, "--client-count", 3
        )
        _, errors = await asyncio.wait_for(process.communicate(), 60.0)
    assert process.returncode == 0, errors.decode()
    assert wire.connections == 3
    assert len(wire.published) == 20
    for sent in wire.published.values():
        assert len(sent) == 200
        assert sent == sorted(sent)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stopped_run_leaves_a_complete_ledger(
    stack: EmbeddedStack, listener: Listener, tmp_path: Path, number: signal.Signals
) -> None:
    ledger = tmp_path / "ledger"
    process = await start(stack.mqtt_url, "--seed", 4, "--rate", 500, "--duration", 0, "--ledger", ledger, "--json")
    await listener.received(600)
    process.send_signal(number)
    output, errors = await asyncio.wait_for(process.communicate(), 10.0)
    assert process.returncode == 0, errors.decode()
    summary = json.loads(output)
    assert summary["stopped"] is True
    assert summary["telemetry"] == summary["ledgerLines"] == len(list(read_ledger(ledger)))
    await listener.received(summary["published"])


async def test_a_recording_is_replayed(stack: EmbeddedStack, listener: Listener, tmp_path: Path) -> None:
    recording = tmp_path / "recording.csv"
    rows = [f"2025-10-04T10:15:{second:02d}Z,REC-1,7,METER,{second}.5\n" for second in range(60)]
    recording.write_text("timestamp,serialNumber,siteId,deviceType,powerKw\n" + "".join(rows))
    summary = await simulate(stack, "--csv", recording, "--speed", 60, "--seed", 5)
    assert summary["telemetry"] == 60
    assert 0.9 < summary["duration"] < 3.0
    await listener.received(61)
    bodies = [orjson.loads(payload) for topic, payload in listener.messages if topic == "sites/7/devices/REC-1/telemetry"]
    assert sorted(body["telemetryData"]["powerKw"] for body in bodies) == [second + 0.5 for second in range(60)]


async def test_without_a_broker_it_says_so(unused_tcp_port: int) -> None:
    process = await start(f"mqtt://127.0.0.1:{unused_tcp_port}", "--json")
    output, errors = await asyncio.wait_for(process.communicate(), 30.0)
    assert process.returncode == 3
    assert output == b""
    assert b"no MQTT broker answered at EMS_MQTT_URL" in errors.splitlines()[-1]
