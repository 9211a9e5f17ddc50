"""What devices publish over MQTT, through the same translation as in the ingress: a message becomes a record or a dead letter, never nothing."""

from collections.abc import Iterator
from typing import Final

from agents.ingress import Translator
from ems_streams.domain.device_topic import parse_topic
from ems_streams.domain.events import CommandAck, StatusReport, decode
from ems_streams.domain.registry import Directory, RegistryEntry
from ems_streams.domain.telemetry_record import decode_telemetry_record, decode_uncompiled
from ems_streams.errors import MalformedError
from ems_streams.kafka.catalogue import DEVICE_COMMAND_ACKS, DEVICE_REGISTRY, DEVICE_STATUS_REPORTS, DEVICE_TELEMETRY
from ems_streams.mqtt.inbox import MqttMessage
from tests.fuzz.target import Target, split
from tests.unit.domain.builders import NOON_MS, SERIAL

_BASE: Final = f"sites/1/devices/{SERIAL}"
_DECODE: Final = {
    DEVICE_TELEMETRY: decode_telemetry_record,
    DEVICE_STATUS_REPORTS: lambda value: decode(StatusReport, value),
    DEVICE_COMMAND_ACKS: lambda value: decode(CommandAck, value),
}
_SEEDS: Final = {
    "telemetry": (
        b'{"powerKw":45.2}',
        b'{"telemetryData":{"powerKw":1,"a":2.5e3},"timestamp":"2025-10-04T12:00:00Z","messageId":"m1","deviceId":7,"deviceType":"METER"}',
    ),
    "status": (b'{"status":"OFFLINE","reason":"night","timestamp":"2025-10-04T12:00:00+02:00","errorCode":7}',),
    "commands/ack": (b'{"commandId":"INV-001~0123456789abcdef","result":"COMPLETED","detail":"done"}',),
}


class _Memory:
    """The registry of one device, as the view of the topic keeps it."""

    def __init__(self) -> None:
        self._entries: dict[str, RegistryEntry] = {}

    def get(self, serial_number: str) -> RegistryEntry | None:
        return self._entries.get(serial_number)

    def learn(self, entry: RegistryEntry) -> None:
        if len(self._entries) > 1000:
            self._entries.clear()
        self._entries[entry.serial_number] = entry


def message_targets() -> Iterator[Target]:
    """A target for each kind of topic, and one for topics."""
    for ending, payloads in _SEEDS.items():
        seeds = [f"{_BASE}/{ending}".encode() + b"\n" + payload for payload in payloads]
        yield Target(f"mqtt-{ending.replace('/', '-')}", f"messages on .../{ending}, as the ingress takes them", translate, seeds)
    yield Target(
        "mqtt-topic", "names of MQTT topics", lambda data: parse_topic(data.decode(errors="replace")), [f"{_BASE}/status".encode()]
    )
    yield Target("telemetry-decoders", "the compiled and the careful decoder say the same", both_decoders, [_SEEDS_OF_DECODERS])


_SEEDS_OF_DECODERS: Final = (
    b'{"deviceId":7,"serialNumber":"INV-001","siteId":1,"deviceType":"METER","telemetryData":{"powerKw":45.2},'
    b'"timestamp":"2025-10-04T12:00:00Z","eventType":"DEVICE_TELEMETRY","messageId":"m1"}'
)
_translators: Final[list[Translator]] = []


def translate(data: bytes) -> object:
    """One message; every record that comes of it must be what the workers can read."""
    if not _translators:
        _translators.append(Translator(Directory(_Memory(), provision_unknown=True), lambda: NOON_MS * 1000))
    topic, payload = split(data)
    message = MqttMessage(topic.decode(errors="replace"), payload, None, False)
    found = _translators[0].translate([message])
    kept = [record for record in found if record.topic != DEVICE_REGISTRY]
    assert len(kept) <= 1, "a message becomes one record"
    for record in kept:
        if record.topic.endswith("-dlt"):
            assert record.value == payload[: len(record.value or b"")], "a dead letter has the bytes as they came"
            return False
        # What the ingress lets through, the workers read.
        _DECODE[record.topic](record.value)
    return True


def both_decoders(data: bytes) -> object:
    """Raises `AssertionError` when one decoder refuses what the other takes, or reads it otherwise."""
    careful, quick = _outcome(decode_uncompiled, data), _outcome(decode_telemetry_record, data)
    assert careful == quick, (careful, quick)
    return careful is not None


def _outcome(decoder: object, data: bytes) -> object:
    try:
        record = decoder(data)  # type: ignore[operator]
    except MalformedError:
        return None
    return (
        record.serial_number,
        record.device_id,
        record.site_id,
        record.device_type,
        record.metrics,
        record.timestamp_ms,
        record.message_id,
    )
