"""A subscriber whose session is taken from it as soon as it has it."""

import asyncio
import time

import mqtt5
from structlog.testing import capture_logs

from ems_streams.mqtt.adapter import MqttSubscriber
from ems_streams.mqtt.reconnecting import SHORT_LIFE_S
from ems_streams.settings import Settings

TIMES = 4


async def test_it_rests_before_it_takes_the_session_back() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read(4096)
        writer.write(mqtt5.ConnAckPacket(session_present=True).write())
        if connections == 1:
            # The one that subscribes.
            packet, _ = mqtt5.read(memoryview(await reader.read(4096)))
            assert isinstance(packet, mqtt5.SubscribePacket)
            writer.write(mqtt5.SubAckPacket(packet.packet_id, [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]).write())
        else:
            writer.write(mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER).write())
        await reader.read()
        writer.close()

    connections = 0
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    settings = Settings.load(mqtt_url=f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    with capture_logs() as lines:
        async with asyncio.timeout(30), server, MqttSubscriber(settings):
            began_s = time.monotonic()
            while sum(line["event"] == "mqtt_connected" for line in lines) < TIMES:
                await asyncio.sleep(0.01)
            took_s = time.monotonic() - began_s
    assert took_s >= (TIMES - 1) * SHORT_LIFE_S
