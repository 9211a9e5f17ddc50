"""The MQTT topics of the devices: `sites/{siteId}/devices/{serialNumber}/telemetry|status|commands|commands/ack`."""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Self

from ems_streams.errors import MalformedError

MAX_NUMBER = 2**63 - 1
_SITE_ID = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_SERIAL_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}", re.ASCII)
_CACHED_TOPICS = 262_144


class TopicKind(StrEnum):
    """What a topic is for; the value is how the topic ends."""

    TELEMETRY = "telemetry"
    STATUS = "status"
    COMMANDS = "commands"
    ACK = "commands/ack"


@dataclass(frozen=True, slots=True)
class DeviceTopic:
    """A topic of one device.

    Attributes:
        site_id: Number of the site; without leading zeros on the wire, so that a site has one name.
        serial_number: Serial number of the device, 1 to 64 letters, digits and `_.:-`.
        kind: What the topic is for.
    """

    site_id: int
    serial_number: str
    kind: TopicKind

    @classmethod
    def parse(cls, topic: str) -> Self:
        """Parse an MQTT topic; raises `MalformedError` with the reason `invalid_topic` that names the wrong level."""
        levels = topic.split("/", 4)
        if len(levels) != 5 or levels[0] != "sites" or levels[2] != "devices":
            raise _invalid(
                topic,
                "expected sites/{siteId}/devices/{serialNumber}/{telemetry,status,commands/ack}",
            )
        _, site, _, serial_number, ending = levels
        if not _SITE_ID.fullmatch(site) or int(site) > MAX_NUMBER:
            raise _invalid(
                topic,
                f"site id {site!r:.80}: expected a decimal number of 0 to {MAX_NUMBER} without leading zeros",
            )
        if not _SERIAL_NUMBER.fullmatch(serial_number):
            raise _invalid(
                topic,
                f"serial number {serial_number!r:.80}: expected 1 to 64 of A-Z a-z 0-9 _ . : - that start with a letter or digit",
            )
        try:
            kind = TopicKind(ending)
        except ValueError:
            raise _invalid(topic, f"ending {ending!r:.80}: expected one of {', '.join(TopicKind)}") from None
        return cls(int(site), serial_number, kind)

    def format(self) -> str:
        """The topic as MQTT has it; the inverse of `parse`."""
        return f"sites/{self.site_id}/devices/{self.serial_number}/{self.kind.value}"


@lru_cache(maxsize=_CACHED_TOPICS)
def parse_topic(topic: str) -> DeviceTopic:
    """`DeviceTopic.parse`, remembered: a device uses the same two or three topics for ever."""
    return DeviceTopic.parse(topic)


def serial_number_in(topic: str) -> str | None:
    """The serial number at its place in a topic that may be wrong elsewhere, so that a dead letter has a key."""
    levels = topic.split("/", 4)
    if len(levels) >= 4 and levels[2] == "devices" and _SERIAL_NUMBER.fullmatch(levels[3]):
        return levels[3]
    return None


def _invalid(topic: str, detail: str) -> MalformedError:
    return MalformedError("invalid_topic", f"{topic[:160]!r}: {detail}")
