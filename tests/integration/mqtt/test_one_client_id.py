"""Two ingresses with one client id: the broker gives the session to who came last, both go on trying, and one alone keeps it. How fast: `tests/unit/mqtt/test_adapter.py`."""

import asyncio
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from ems_streams.dev.stack import EmbeddedStack
from ems_streams.mqtt.adapter import MqttSubscriber
from ems_streams.mqtt.reconnecting import SHORT_LIFE_S
from ems_streams.settings import Settings

pytestmark = pytest.mark.integration

DEADLINE_S = 60.0


async def test_they_take_the_session_from_each_other(stack: EmbeddedStack) -> None:
    name = f"twins-{uuid4().hex[:8]}"
    settings = Settings.load(mqtt_url=stack.mqtt_url, ingress_id=name, mqtt_share_group=name, mqtt_session_expiry_s=60)
    with capture_logs() as lines:

        def seen(event: str) -> int:
            return sum(line["event"] == event for line in lines)

        async with asyncio.timeout(DEADLINE_S), MqttSubscriber(settings), MqttSubscriber(settings):
            # Both go on trying, since one of them may be about to end.
            while seen("mqtt_connected") <= 2:
                await asyncio.sleep(0.05)
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
