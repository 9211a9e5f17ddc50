"""Two ingresses with one client id: the broker gives the session to who came last, and they must not fight as fast as they can."""

import asyncio
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from ems_streams.dev.stack import EmbeddedStack
from ems_streams.mqtt.adapter import MqttSubscriber
from ems_streams.mqtt.connection import SHORT_LIFE_S
from ems_streams.settings import Settings

pytestmark = pytest.mark.integration

WATCHED_S = 4.0


async def test_they_take_the_session_from_each_other_at_a_walking_pace(stack: EmbeddedStack) -> None:
    name = f"twins-{uuid4().hex[:8]}"
    settings = Settings.load(mqtt_url=stack.mqtt_url, ingress_id=name, mqtt_share_group=name, mqtt_session_expiry_s=60)
    with capture_logs() as lines:
        async with MqttSubscriber(settings), MqttSubscriber(settings):
            await asyncio.sleep(WATCHED_S)
            connected = [line for line in lines if line["event"] == "mqtt_connected"]
            lost = {line["reason"] for line in lines if line["event"] == "mqtt_connection_lost"}
        # Both go on trying, since one of them may be about to end.
        assert len(connected) > 2
        assert len(connected) <= 2 * (WATCHED_S / SHORT_LIFE_S + 1)
        assert lost == {"closed by the broker: session taken over"}
        lines.clear()
        async with MqttSubscriber(settings):
            await asyncio.sleep(WATCHED_S)
            assert [line["event"] for line in lines] == ["mqtt_connected"]
