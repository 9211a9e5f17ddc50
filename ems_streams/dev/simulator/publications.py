"""What goes over the wire: a message, when it is due, and what the ledger has to know of it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from ems_streams.dev.simulator.fleet import Identity, Reading
from ems_streams.dev.simulator.wire import status_record, status_topic, telemetry_payload, telemetry_topic


class Kind(StrEnum):
    """What a publication is; a duplicate is the second copy of a telemetry message, and a turn is no message at all: only its time counts."""

    TELEMETRY = "telemetry"
    DUPLICATE = "duplicate"
    STATUS = "status"
    POISON = "poison"
    TURN = "turn"


@dataclass(frozen=True, slots=True)
class Publication:
    """One MQTT message to publish at QoS 1.

    Attributes:
        kind: What it is.
        due_s: When, in seconds since the start of the run.
        lane: Publications with the same number keep their order.
        topic: MQTT topic.
        payload: Exact bytes.
        reading: What the ledger says of it, for telemetry and duplicates.
        label: Kind of defect of a poison message.
        status: What the ledger says of it, for status reports.
    """

    kind: Kind
    due_s: float
    lane: int
    topic: str
    payload: bytes
    reading: Reading | None = None
    label: str = ""
    status: dict[str, Any] | None = None


def turn(due_s: float) -> Publication:
    """Nothing to publish: what follows is made when this is due, and not before."""
    return Publication(Kind.TURN, due_s, 0, "", b"")


def telemetry(reading: Reading) -> Publication:
    """A reading as a message."""
    device = reading.device
    return Publication(Kind.TELEMETRY, reading.due_s, device.index, telemetry_topic(device), telemetry_payload(reading), reading)


def duplicate(original: Publication) -> Publication:
    """The same bytes on the same topic once more."""
    return Publication(Kind.DUPLICATE, original.due_s, original.lane, original.topic, original.payload, original.reading)


def status_report(device: Identity, due_s: float, status: str, reason: str, timestamp_ms: int) -> Publication:
    """What a device says of itself, or the broker of it, as a message."""
    record = status_record(status, reason, timestamp_ms)
    entry = {"serialNumber": device.serial_number, "siteId": device.site_id, **record}
    return Publication(Kind.STATUS, due_s, device.index, status_topic(device), orjson.dumps(record), status=entry)
