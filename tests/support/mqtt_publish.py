"""What `mosquitto_pub` does, for machines that have none."""

import aiomqtt

from ems_streams.mqtt.endpoint import parse_url


async def publish(mqtt_url: str, topic: str, payload: bytes, qos: int = 1) -> None:
    """Publish a message and return when the broker has it."""
    endpoint, _ = parse_url(mqtt_url)
    async with aiomqtt.Client(hostname=endpoint.host, port=endpoint.port) as client:
        if qos == 0:
            await client.publish(topic, payload, qos=aiomqtt.QoS.AT_MOST_ONCE)
        else:
            await client.publish(topic, payload, qos=aiomqtt.QoS.AT_LEAST_ONCE, packet_id=next(client.packet_ids))
