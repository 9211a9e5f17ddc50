"""The publisher on uvloop, which our processes run on, and which raises other errors than asyncio's own loop."""

import asyncio
import contextlib

import pytest
import uvloop

from ems_streams.dev.stack import EmbeddedStack
from ems_streams.mqtt.publisher import MqttPublisher

pytestmark = pytest.mark.integration


def test_it_comes_back_after_the_broker_was_killed_under_load(stack: EmbeddedStack) -> None:
    grown = uvloop.run(_acknowledged_after_a_kill(stack))
    assert grown > 0


async def _acknowledged_after_a_kill(stack: EmbeddedStack) -> int:
    acknowledged = 0
    async with MqttPublisher(stack.mqtt_url, "uvloop-test") as publisher:

        async def publish_for_ever() -> None:
            nonlocal acknowledged
            while True:
                await publisher.publish("sites/1/devices/UV/ignored", b"x" * 3000)
                acknowledged += 1

        await publisher.wait_connected()
        load = [asyncio.create_task(publish_for_ever()) for _ in range(1000)]
        async with asyncio.timeout(20):
            while acknowledged < 2000:
                await asyncio.sleep(0.1)
        await stack.mqtt.kill()
        await stack.mqtt.start()
        before = acknowledged
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):
                while acknowledged < before + 2000:
                    await asyncio.sleep(0.1)
        for task in load:
            task.cancel()
        await asyncio.gather(*load, return_exceptions=True)
    return acknowledged - before
