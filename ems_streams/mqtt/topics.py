"""The MQTT topics of the devices, and what the ingress subscribes to."""

from ems_streams.domain.device_topic import (
    DeviceTopic,
    TopicKind,
    parse_topic,
    serial_number_in,
)

ALL_SITES = "sites/#"
"""Everything below `sites/`, so that messages on wrong topics are seen as well and go to the dead letters."""

__all__ = ["ALL_SITES", "DeviceTopic", "TopicKind", "parse_topic", "serial_number_in"]
