"""Devices as the command line names them: `site/serial`."""

from collections.abc import Iterable

from ems_streams.dev.artemis_security import Device
from ems_streams.domain.device_topic import parse_topic
from ems_streams.errors import MalformedError, UsageError


def parse_devices(texts: Iterable[str]) -> tuple[Device, ...]:
    """Devices that are bound to their sites, each once; raises `UsageError`."""
    found: dict[str, Device] = {}
    for text in texts:
        site, _, serial = text.partition("/")
        try:
            topic = parse_topic(f"sites/{site}/devices/{serial}/telemetry")
        except MalformedError:
            raise UsageError(f"--device {text!r}: expected SITE/SERIAL, such as 1/INV-001") from None
        found[topic.serial_number] = Device(topic.serial_number, topic.site_id)
    return tuple(found.values())
