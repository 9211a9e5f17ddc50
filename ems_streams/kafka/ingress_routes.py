"""What becomes of what devices publish: the Kafka topic of each kind of MQTT topic, and the function that makes its value."""

from collections.abc import Callable
from typing import Final

from ems_streams.domain.device_topic import DeviceTopic, TopicKind, parse_topic
from ems_streams.domain.mqtt_payload import encode_command_ack, encode_status_report, encode_telemetry
from ems_streams.domain.registry import Directory
from ems_streams.errors import MalformedError
from ems_streams.kafka.catalogue import DEVICE_COMMAND_ACKS, DEVICE_STATUS_REPORTS, DEVICE_TELEMETRY

Encode = Callable[[bytes, DeviceTopic, int, Directory], bytes]
"""Payload, topic, time of receipt in microseconds since 1970, and registry; raises `MalformedError`."""

ROUTES: Final[dict[TopicKind, tuple[str, Encode]]] = {
    TopicKind.TELEMETRY: (DEVICE_TELEMETRY, encode_telemetry),
    TopicKind.STATUS: (DEVICE_STATUS_REPORTS, encode_status_report),
    TopicKind.ACK: (DEVICE_COMMAND_ACKS, encode_command_ack),
}
"""Commands are our own, and have none."""

STAGE: Final = "ingress"
"""In the dead letters of what was malformed on MQTT."""


def target_of(mqtt_topic: str) -> str:
    """The Kafka topic whose dead letters take what is malformed: of an MQTT topic that says nothing, those of telemetry."""
    try:
        return ROUTES[parse_topic(mqtt_topic).kind][0]
    except (MalformedError, KeyError):
        return DEVICE_TELEMETRY
