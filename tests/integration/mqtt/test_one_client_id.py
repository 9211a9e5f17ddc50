"""Two ingresses with one client id: the broker gives the session to who came last, and they must not fight as fast as they can."""

import asyncio
import time
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from ems_streams.dev.stack import EmbeddedStack
from ems_streams.mqtt.adapter import MqttSubscriber
from ems_streams.mqtt.reconnecting import SHORT_LIFE_S
from ems_streams.settings import Settings

pytestmark = pytest.mark.integration

WATCHED_S = 4.0
DEADLINE_S = 60.0


async def test_they_take_the_session_from_each_other_at_a_walking_pace(stack: EmbeddedStack) -> None:
    name = f"twins-{uuid4().hex[:8]}"
    settings = Settings.load(mqtt_url=stack.mqtt_url, ingress_id=name, mqtt_share_group=name, mqtt_session_expiry_s=60)
    with capture_logs() as lines:

        def seen(event: str) -> int:
            return sum(line["event"] == event for line in lines)

        async with asyncio.timeout(DEADLINE_S), MqttSubscriber(settings), MqttSubscriber(settings):
            began_s = time.monotonic()
            # Both go on trying, since one of them may be about to end.
            while seen("mqtt_connected") <= 2 or time.monotonic() - began_s < WATCHED_S:
                await asyncio.sleep(0.05)
            watched_s = time.monotonic() - began_s
            assert seen("mqtt_connected") <= 2 * (watched_s / SHORT_LIFE_S + 1)
            assert {line["reason"] for line in lines if line["event"] == "mqtt_connection_lost"} == {
                "closed by the broker: session taken over"
            }
        lines.clear()
        async with asyncio.timeout(DEADLINE_S), MqttSubscriber(settings):
            while not seen("mqtt_connected"):
                await asyncio.sleep(0.05)
            # Nobody takes it from one that is alone.
            await asyncio.sleep(3 * SHORT_LIFE_S)
            assert [line["event"] for line in lines] == ["mqtt_connected"]
