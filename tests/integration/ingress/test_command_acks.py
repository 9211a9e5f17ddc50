"""Answers to commands, from MQTT to `device-command-acks`: what is an answer arrives whole, what is none is kept with its bytes."""

import asyncio
from collections import Counter

import orjson
import pytest

from ems_streams.domain.events import CommandAck, decode
from ems_streams.mqtt.publisher import MqttPublisher
from tests.support.ingress import IngressProcess, TopicReader

pytestmark = pytest.mark.integration

RESULTS = ("ACCEPTED", "REJECTED", "COMPLETED", "FAILED")
NO_ANSWERS: list[tuple[bytes, bytes]] = [
    (b"invalid_json", b"COMPLETED"),
    (b"empty", b""),
    (b"not_an_object", b'["c-1","COMPLETED"]'),
    (b"missing_field", b'{"result":"COMPLETED"}'),
    (b"missing_field", b'{"commandId":"c-1"}'),
    (b"invalid_field", b'{"commandId":"two words","result":"COMPLETED"}'),
    (b"invalid_field", b'{"commandId":"c-1","result":"DONE"}'),
    (b"serial_mismatch", b'{"commandId":"c-1","result":"COMPLETED","serialNumber":"SOMEBODY-ELSE"}'),
    (b"site_mismatch", b'{"commandId":"c-1","result":"COMPLETED","siteId":999}'),
    (b"unknown_field", b'{"commandId":"c-1","result":"COMPLETED","powerKw":45.2}'),
    (b"invalid_json", b'\xff\xfe{"commandId":"c-1","result":"COMPLETED"}'),
    (b"too_large", b'{"commandId":"c-1","result":"COMPLETED","detail":"' + b"x" * 2_000_000 + b'"}'),
]


async def test_answers_arrive_and_what_is_none_goes_to_the_dead_letters_with_its_bytes(
    ingress: IngressProcess, publisher: MqttPublisher, reader: TopicReader, prefix: str
) -> None:
    await ingress.start()
    answers = [
        (f"{prefix}-{number % 5}", f"command-{number}", RESULTS[number % 4], {"detail": "hot"} if number % 3 else {})
        for number in range(40)
    ]
    good = [
        publisher.publish(
            f"sites/3/devices/{serial}/commands/ack",
            orjson.dumps({"commandId": command_id, "result": result, "timestamp": "2025-10-04T10:15:00Z", **more}),
            qos=index % 2,
        )
        for index, (serial, command_id, result, more) in enumerate(answers)
    ]
    topic = f"sites/3/devices/{prefix}-0/commands/ack"
    bad = [publisher.publish(topic, payload) for _, payload in NO_ANSWERS]
    await publisher.wait_connected()
    await asyncio.gather(*good, *bad)

    def complete(found: list) -> bool:  # type: ignore[type-arg]
        topics = Counter(record.topic for record in found)
        return topics["device-command-acks"] >= len(answers) and topics["device-command-acks-dlt"] >= len(NO_ANSWERS)

    records = [record for record in await reader.read(complete) if (record.key or b"").startswith(prefix.encode())]
    acks = [decode(CommandAck, record.value) for record in records if record.topic == "device-command-acks"]
    assert Counter((ack.serial_number, ack.command_id, ack.result, ack.detail) for ack in acks) == Counter(
        (serial, command_id, result, more.get("detail")) for serial, command_id, result, more in answers
    )
    assert {(ack.site_id, ack.device_type) for ack in acks} == {(3, "UNKNOWN")}
    assert all(record.key == decode(CommandAck, record.value).serial_number.encode() for record in records if record.topic.endswith("acks"))
    dead = [record for record in records if record.topic == "device-command-acks-dlt"]
    assert Counter((dict(record.headers)["dlt-error-class"], record.value) for record in dead) == Counter(NO_ANSWERS)
    assert {dict(record.headers)["dlt-original-topic"] for record in dead} == {topic.encode()}
    assert await ingress.ready()
