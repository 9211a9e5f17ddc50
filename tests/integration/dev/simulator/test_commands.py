"""Simulated devices that do what they are told, over the real broker: their own log says what they did, and how often."""

import asyncio
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from ems_streams.dev.stack import EmbeddedStack
from ems_streams.mqtt.adapter import MqttSubscriber
from ems_streams.settings import Settings
from tests.support.commands import DeviceLog, sender

pytestmark = pytest.mark.integration


class Heard:
    """Everything that devices have published, in the order of arrival."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []

    async def listen(self, subscriber: MqttSubscriber) -> None:
        async for batch in subscriber.batches():
            self.messages += [(message.topic, orjson.loads(message.payload)) for message in batch.messages]
            await subscriber.acknowledge(batch)

    def of(self, serial_number: str, ending: str) -> list[dict[str, Any]]:
        """What one device has published on one of its topics."""
        return [body for topic, body in self.messages if topic.endswith(f"/{serial_number}/{ending}")]

    def answers(self, command_id: str) -> list[str]:
        """Results that a device has answered."""
        return [body["result"] for topic, body in self.messages if topic.endswith("/ack") and body["commandId"] == command_id]


@pytest.fixture
async def heard(stack: EmbeddedStack) -> AsyncIterator[Heard]:
    name = f"heard-{uuid4().hex[:8]}"
    settings = Settings.load(mqtt_url=stack.mqtt_url, ingress_id=name, mqtt_share_group=name, mqtt_session_expiry_s=60)
    async with MqttSubscriber(settings) as subscriber:
        async with asyncio.timeout(10.0):
            while not subscriber.status.connected:
                await asyncio.sleep(0.02)
        heard = Heard()
        listening = asyncio.create_task(heard.listen(subscriber))
        yield heard
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
def prefix() -> str:
    return f"{uuid4().hex[:6].upper()}-"


@pytest.fixture
def log(tmp_path: Path) -> DeviceLog:
    return DeviceLog(tmp_path / "commands.jsonl")


@pytest.fixture
async def start(stack: EmbeddedStack, prefix: str, log: DeviceLog, heard: Heard) -> AsyncIterator[Start]:
    """Starts a fleet, and returns when it has published something: then its session is there."""
    processes: list[Process] = []

    async def start(*options: object) -> Process:
        before = len(heard.messages)
        command = [sys.executable, "-m", "ems_streams", "simulate", "--seed", "3", "--prefix", prefix, "--sites", "1", "--duration", "0"]
        command += ["--command-log", str(log.path), *map(str, options), "--json"]
        process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, "EMS_MQTT_URL": stack.mqtt_url}, stdout=PIPE, stderr=PIPE
        )
        processes.append(process)
        await log.until(lambda: len(heard.messages) > before or process.returncode is not None, "the fleet is up")
        assert process.returncode is None, await process.communicate()
        return process

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_power_limit_is_in_the_next_measurement_and_the_answers_say_so(
    stack: EmbeddedStack, start: Start, heard: Heard, log: DeviceLog, prefix: str
) -> None:
    process = await start("--devices", 4, "--rate", 20)
    serial = f"{prefix}INV-00001"
    await log.until(lambda: heard.of(serial, "telemetry"), "telemetry")
    assert heard.of(serial, "telemetry")[-1]["telemetryData"]["powerKw"] > 1.5
    async with sender(stack.mqtt_url) as commands:
        command_id = await commands.send(1, serial, "SET_POWER_LIMIT", powerLimitKw=1.5)
        await log.until(lambda: len(heard.answers(command_id)) >= 2, "answers")
        assert sorted(heard.answers(command_id)) == ["ACCEPTED", "COMPLETED"]
        [executed] = log.lines("EXECUTED", command_id=command_id)

        def after() -> list[float]:
            return [each["telemetryData"]["powerKw"] for each in heard.of(serial, "telemetry") if each["timestamp"] > executed["at"]]

        await log.until(lambda: len(after()) >= 3, "telemetry after it")
        assert set(after()) == {1.5}, "the very next one has it"
        other = await commands.send(1, f"{prefix}MTR-00001", "SET_POWER_LIMIT", powerLimitKw=1.5)
        await log.until(lambda: heard.answers(other), "an answer")
        assert heard.answers(other) == ["REJECTED"]
        reboot = await commands.send(1, serial, "REBOOT")
        await log.until(lambda: "COMPLETED" in heard.answers(reboot), "the reboot")
    await log.until(lambda: len(heard.of(serial, "status")) >= 3, "status reports")
    assert [each["status"] for each in heard.of(serial, "status")] == ["ONLINE", "OFFLINE", "ONLINE"]
    process.terminate()
    output, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, errors.decode()
    assert orjson.loads(output)["commands"] == {
        "received": 3, "resent": 0, "malformed": 0, "refused": 1, "expired": 0, "executed": 2, "answered": 5,
    }  # fmt: skip


async def test_a_fleet_that_is_away_does_what_it_was_sent_once_when_it_is_back_unless_it_is_too_late(
    stack: EmbeddedStack, start: Start, heard: Heard, log: DeviceLog, prefix: str
) -> None:
    process = await start("--devices", 4, "--rate", 20)
    serial = f"{prefix}INV-00001"
    process.kill()
    await process.wait()
    async with sender(stack.mqtt_url) as commands:
        good = [await commands.send(1, serial, "SET_POWER_LIMIT", powerLimitKw=number) for number in range(1, 6)]
        late = await commands.send(1, serial, "SET_POWER_LIMIT", powerLimitKw=9, expires_in_s=1)
    await asyncio.sleep(1.5)
    await start("--devices", 4, "--rate", 20)
    await log.until(lambda: len(log.executions()) >= len(good), "executions")
    await asyncio.sleep(0.5)
    assert log.executions() == dict.fromkeys(good, 1)
    assert log.lines("EXECUTED", command_id=late) == []
    await log.until(lambda: "COMPLETED" in heard.answers(good[-1]), "answers")


async def test_through_a_broker_that_is_killed_each_command_is_executed_at_most_once_and_what_the_broker_has_is_executed(
    stack: EmbeddedStack, start: Start, heard: Heard, log: DeviceLog, prefix: str
) -> None:
    await start("--devices", 60, "--rate", 60)
    serials = [f"{prefix}INV-{number:05d}" for number in range(1, 21)]
    with_broker: list[str] = []
    began: list[str] = []

    async def send_until(stop_s: float) -> None:
        async with sender(stack.mqtt_url) as commands:
            while time.monotonic() < stop_s:
                began.append(f"c-{len(began)}")
                command_id = began[-1]
                await asyncio.wait_for(
                    commands.send(1, serials[len(began) % 20], "SET_POWER_LIMIT", command_id=command_id, powerLimitKw=5.0), 10
                )
                with_broker.append(command_id)

    sending = asyncio.create_task(send_until(time.monotonic() + 30.0))
    await asyncio.sleep(1.0)
    await stack.mqtt.kill()
    # The library raises this or that, by what it was about to do.
    outcome = (await asyncio.gather(sending, return_exceptions=True))[0]
    await stack.mqtt.start()
    assert isinstance(outcome, Exception), "the sender was cut off in the middle"
    await send_until(time.monotonic() + 0.5)
    await log.until(lambda: log.executions().keys() >= set(with_broker), "executions")
    await asyncio.sleep(1.0)
    executed = log.executions()
    assert executed.keys() <= set(began)
    assert {command_id: count for command_id, count in executed.items() if count > 1} == {}
    assert len(with_broker) > 20
    await log.until(lambda: all("COMPLETED" in heard.answers(command_id) for command_id in with_broker), "answers")


async def test_two_simulators_of_the_same_devices_are_noticed(start: Start) -> None:
    first = await start("--devices", 2, "--rate", 20)
    second = await start("--devices", 2, "--rate", 20)
    _, errors = await asyncio.wait_for(first.communicate(), 30)
    assert first.returncode == 1
    assert b"another client has taken the MQTT session" in errors
    assert second.returncode is None
