"""From MQTT messages to Kafka records."""

import hashlib

import orjson
import pytest

from agents.ingress import Translator
from ems_streams.domain.registry import Directory, RegistryEntry
from ems_streams.kafka.outbox import Record
from ems_streams.mqtt.inbox import MqttMessage

NOW_US = 1_760_000_000_123_456


class Entries(dict[str, RegistryEntry]):
    def learn(self, entry: RegistryEntry) -> None:
        self[entry.serial_number] = entry


def translate(*messages: MqttMessage) -> list[Record]:
    """Everything but the registry's records, at a clock that stands still."""
    translator = Translator(Directory(Entries(), provision_unknown=True), now_us=lambda: NOW_US)
    return [record for record in translator.translate(messages) if record.topic != "device-registry"]


def message(topic: str, payload: bytes, *, retain: bool = False) -> MqttMessage:
    return MqttMessage(topic, payload, 1, retain)


@pytest.mark.parametrize(
    ("ending", "payload", "target"),
    [
        ("telemetry", b'{"powerKw": 45.2}', "device-telemetry"),
        ("telemetry", b"{}", "device-telemetry-dlt"),
        ("status", b'{"status": "ONLINE"}', "device-status-reports"),
        ("status", b"ONLINE", "device-status-reports-dlt"),
        ("commands/ack", b'{"commandId": "c", "result": "ACCEPTED"}', "device-command-acks"),
        ("commands/ack", b"{}", "device-command-acks-dlt"),
        ("commands/ack", b'{"commandId": "c", "result": "ACCEPTED", "serialNumber": "INV-002"}', "device-command-acks-dlt"),
        ("commands/ack", b'{"commandId": "a b", "result": "ACCEPTED"}', "device-command-acks-dlt"),
        ("nonsense", b'{"powerKw": 45.2}', "device-telemetry-dlt"),
    ],
)
def test_every_message_becomes_one_record_keyed_by_the_serial_number(ending: str, payload: bytes, target: str) -> None:
    [record] = translate(message(f"sites/1/devices/INV-001/{ending}", payload))
    assert (record.topic, record.key) == (target, b"INV-001")
    if target.endswith("-dlt"):
        assert record.value == payload
        assert dict(record.headers)["dlt-original-topic"] == f"sites/1/devices/INV-001/{ending}".encode()


def test_commands_are_our_own_and_deleting_a_retained_message_says_nothing() -> None:
    assert translate(message("sites/1/devices/INV-001/commands", b"{}"), message("sites/1/devices/INV-001/status", b"", retain=True)) == []
    [record] = translate(message("sites/1/devices/INV-001/status", b""))
    assert dict(record.headers)["dlt-error-class"] == b"empty"


def test_a_topic_without_a_serial_number_gives_a_dead_letter_without_a_key() -> None:
    [record] = translate(message("sites/1", b"x"))
    assert (record.topic, record.key, record.value) == ("device-telemetry-dlt", None, b"x")


def test_equal_payloads_without_a_timestamp_are_two_events() -> None:
    records = translate(*[message("sites/1/devices/INV-001/telemetry", b'{"powerKw": 45.2}')] * 3)
    assert len({orjson.loads(record.value)["timestamp"] for record in records}) == 3


def test_a_new_device_is_registered_before_its_first_record() -> None:
    translator = Translator(Directory(Entries(), provision_unknown=True), now_us=lambda: NOW_US)
    records = translator.translate([message("sites/1/devices/INV-001/telemetry", b'{"powerKw": 45.2}')] * 2)
    assert [record.topic for record in records] == ["device-registry", "device-telemetry", "device-telemetry"]


def test_of_an_enormous_payload_the_beginning_is_kept_with_size_and_hash() -> None:
    payload = b"x" * (5 * 1024 * 1024)
    [record] = translate(message("sites/1/devices/INV-001/telemetry", payload))
    headers = dict(record.headers)
    assert record.value == payload[: 64 * 1024]
    assert headers["dlt-payload-size"] == b"5242880"
    assert headers["dlt-payload-sha256"] == hashlib.sha256(payload).hexdigest().encode()


class Stumbling(Entries):
    """A registry that cannot be asked for INV-666, and for INV-555 not at the first two times."""

    left = 2

    def get(self, serial_number: str, default: RegistryEntry | None = None) -> RegistryEntry | None:  # type: ignore[override]
        if serial_number == "INV-666":
            raise RuntimeError("no answer")
        if serial_number == "INV-555" and self.left:
            self.left -= 1
            raise RuntimeError("not yet")
        return super().get(serial_number, default)


async def test_a_message_that_cannot_be_translated_is_tried_again_and_then_put_aside() -> None:
    translator = Translator(Directory(Stumbling(), provision_unknown=True), now_us=lambda: NOW_US)
    batch = [message(f"sites/1/devices/INV-{number}/telemetry", b'{"powerKw": 45.2}') for number in ("001", "555", "666", "002")]
    records = [record for record in await translator.translate_patiently(batch) if record.topic != "device-registry"]
    assert [(record.topic, record.key) for record in records] == [
        ("device-telemetry", b"INV-001"),
        ("device-telemetry", b"INV-555"),
        ("device-telemetry-dlt", b"INV-666"),
        ("device-telemetry", b"INV-002"),
    ]
    headers = dict(records[2].headers)
    assert records[2].value == b'{"powerKw": 45.2}'
    assert (headers["dlt-attempts"], headers["dlt-error-class"], headers["dlt-stage"]) == (b"4", b"RuntimeError", b"ingress")
