"""The ingress from outside: MQTT in, Kafka out, nothing lost, nothing acknowledged too early."""

import asyncio
import os
import signal
import time
from collections import Counter

import orjson
import pytest

from ems_streams.dev.stack import EmbeddedStack
from ems_streams.domain.events import StatusReport, TelemetryEvent, decode
from ems_streams.mqtt.publisher import MqttPublisher
from tests.support.ingress import IngressProcess, TopicReader, until

pytestmark = pytest.mark.integration

MALFORMED: list[bytes] = [
    b"hello",
    b'{"powerKw": 45.2',
    b'{"powerKw": NaN}',
    b'{"powerKw": 1e999}',
    b'{"powerKw": "45.2"}',
    b'{"powerKw": true}',
    b'{"powerKw": null}',
    b'{"telemetryData": {"powerKw": 1}, "firmware": "1.2"}',
    b"{}",
    b"[]",
    b"null",
    b'{"a":' * 3_000 + b"1" + b"}" * 3_000,
    b'{"powerKw\xff": 1}',
    b"\x00\x01\x02\x03",
    b'{"powerKw": 45.2, "timestamp": "yesterday"}',
    b'{"powerKw": 45.2, "timestamp": "2025-10-04T10:15:00"}',
    b'{"powerKw": 45.2, "siteId": 77}',
    b'{"powerKw": 45.2, "serialNumber": "OTHER"}',
    orjson.dumps({f"m{number}": number for number in range(100)}),
    b"",
    b'{"powerKw": 45.2, "note": "' + b"x" * 2_000_000 + b'"}',
]


async def test_the_smallest_message_at_qos_0_becomes_the_full_schema(
    ingress: IngressProcess, publisher: MqttPublisher, reader: TopicReader, prefix: str
) -> None:
    await ingress.start()
    await publisher.publish(f"sites/1/devices/{prefix}/telemetry", b'{"powerKw": 45.2}', qos=0)
    records = await reader.read(lambda found: any(record.topic == "device-telemetry" for record in found))
    by_topic = {record.topic: record for record in records if record.key == prefix.encode()}
    event = decode(TelemetryEvent, by_topic["device-telemetry"].value)
    assert (event.serial_number, event.site_id, event.device_type, event.telemetry_data) == (prefix, 1, "UNKNOWN", {"powerKw": 45.2})
    assert event.device_id == orjson.loads(by_topic["device-registry"].value)["deviceId"] > 0


async def test_a_burst_at_qos_0_is_not_dropped(ingress: IngressProcess, publisher: MqttPublisher, reader: TopicReader, prefix: str) -> None:
    await ingress.start()
    await publisher.wait_connected()
    await asyncio.gather(*(publisher.publish(f"sites/1/devices/{prefix}/telemetry", b'{"n": %d}' % n, qos=0) for n in range(1000)))
    records = await reader.read(lambda found: sum(record.topic == "device-telemetry" for record in found) >= 1000)
    events = [decode(TelemetryEvent, record.value) for record in records if record.topic == "device-telemetry"]
    # The broker may deliver a burst out of order; what is claimed is that nothing is dropped or doubled.
    assert sorted(event.telemetry_data["n"] for event in events) == list(range(1000))
    assert len({event.timestamp for event in events}) == 1000


async def test_a_thousand_malformed_messages_among_good_ones(
    ingress: IngressProcess, publisher: MqttPublisher, reader: TopicReader, prefix: str
) -> None:
    await ingress.start()
    good = [
        (f"sites/1/devices/{prefix}-{n % 10}/telemetry", orjson.dumps({"powerKw": n, "messageId": f"{prefix}-{n}"})) for n in range(1000)
    ]
    bad = [(f"sites/1/devices/{prefix}-{n % 10}/telemetry", MALFORMED[n % len(MALFORMED)]) for n in range(900)]
    bad += [(f"sites/1/devices/{prefix}-{n % 10}/status", b'{"status":"%d"}' % n) for n in range(50)]
    bad += [(f"sites/x/devices/{prefix}-{n % 10}/telemetry", b'{"powerKw": 1}') for n in range(50)]
    mixed = [message for pair in zip(good, bad, strict=True) for message in pair]
    await asyncio.gather(*(publisher.publish(topic, payload) for topic, payload in mixed))

    def complete(found: list) -> bool:  # type: ignore[type-arg]
        topics = Counter(record.topic for record in found)
        return topics["device-telemetry"] >= 1000 and topics["device-telemetry-dlt"] + topics["device-status-reports-dlt"] >= 1000

    records = await reader.read(complete)
    ids = Counter(orjson.loads(record.value)["messageId"] for record in records if record.topic == "device-telemetry")
    assert ids == Counter(f"{prefix}-{n}" for n in range(1000))
    dead = [record for record in records if record.topic.endswith("-dlt")]
    assert Counter((dict(record.headers)["dlt-original-topic"].decode(), record.value) for record in dead) == Counter(bad)
    assert await ingress.ready()


async def test_status_reports(ingress: IngressProcess, publisher: MqttPublisher, reader: TopicReader, prefix: str) -> None:
    await ingress.start()
    for status in (b"OFFLINE", b"ONLINE"):
        await publisher.publish(f"sites/1/devices/{prefix}/status", b'{"status":"%b"}' % status)
    await publisher.publish(f"sites/1/devices/{prefix}/commands", b'{"commandId":"ours"}')
    records = await reader.read(lambda found: sum(record.topic == "device-status-reports" for record in found) >= 2)
    reports = [decode(StatusReport, record.value).status for record in records if record.topic == "device-status-reports"]
    assert reports == ["OFFLINE", "ONLINE"]
    assert not [record for record in records if record.topic.endswith("-dlt")]


async def test_no_message_is_lost_when_the_ingress_is_killed_under_load(
    ingress: IngressProcess, publisher: MqttPublisher, reader: TopicReader, prefix: str
) -> None:
    await ingress.start()
    count, started = 20_000, 0

    async def publish(first: int) -> None:
        nonlocal started
        for n in range(first, count, 200):
            started += 1
            await publisher.publish(f"sites/1/devices/{prefix}-{n % 20}/telemetry", orjson.dumps({"n": n, "messageId": f"{prefix}-{n}"}))

    async def kill_again_and_again() -> None:
        for reached in (2_000, 6_000, 12_000):
            while started < reached:
                await asyncio.sleep(0.005)
            ingress.kill()
            await ingress.start()

    await asyncio.gather(kill_again_and_again(), *(publish(first) for first in range(200)))
    seen: set[str] = set()

    def complete(found: list) -> bool:  # type: ignore[type-arg]
        seen.update(orjson.loads(record.value)["messageId"] for record in found if record.topic == "device-telemetry")
        found.clear()
        return len(seen) >= count

    await reader.read(complete)
    assert {f"{prefix}-{n}" for n in range(count)} - seen == set()


async def test_nothing_is_acknowledged_before_kafka_has_it(
    stack: EmbeddedStack, ingress: IngressProcess, publisher: MqttPublisher, reader: TopicReader, prefix: str
) -> None:
    await ingress.start()
    await publisher.publish(f"sites/1/devices/{prefix}/telemetry", b'{"powerKw": 0}')
    await reader.read(lambda found: any(record.topic == "device-telemetry" for record in found))
    await stack.kafka.kill()
    try:
        for n in range(100):
            await publisher.publish(f"sites/1/devices/{prefix}/telemetry", b'{"powerKw": %d}' % (n + 1))
        await asyncio.sleep(1)
        ingress.kill()
    finally:
        await stack.kafka.start()
    await ingress.start()
    wanted = {float(n + 1) for n in range(100)}
    seen: set[float] = set()

    def complete(found: list) -> bool:  # type: ignore[type-arg]
        seen.update(
            decode(TelemetryEvent, record.value).telemetry_data["powerKw"] for record in found if record.topic == "device-telemetry"
        )
        found.clear()
        return wanted <= seen

    await reader.read(complete)
    assert wanted - seen == set()


async def test_it_ends_in_time_while_kafka_does_not_answer_and_finishes_later(
    stack: EmbeddedStack, ingress: IngressProcess, publisher: MqttPublisher, reader: TopicReader, prefix: str
) -> None:
    await ingress.start()
    assert stack.kafka.pid is not None
    os.kill(stack.kafka.pid, signal.SIGSTOP)
    try:
        await publisher.publish(f"sites/1/devices/{prefix}/telemetry", b'{"powerKw": 1}')

        async def red() -> bool:
            return not (await ingress.readiness())[1].get("kafka", True)

        await until(red, lambda: "the ingress says that it is ready while Kafka does not answer")
        begin = time.monotonic()
        assert await ingress.terminate() == 0
        assert time.monotonic() - begin < 30
    finally:
        os.kill(stack.kafka.pid, signal.SIGCONT)
    await ingress.start()
    records = await reader.read(lambda found: any(record.topic == "device-telemetry" for record in found))
    assert [record.key for record in records if record.topic == "device-telemetry"] == [prefix.encode()]


async def test_the_broker_may_go_away_and_come_back(
    stack: EmbeddedStack, ingress: IngressProcess, publisher: MqttPublisher, reader: TopicReader, prefix: str
) -> None:
    await ingress.start()
    await stack.mqtt.kill()

    async def red() -> bool:
        return not (await ingress.readiness())[1].get("mqtt", True)

    await until(red, lambda: "the ingress does not notice that the broker is gone")
    sending = asyncio.create_task(publisher.publish(f"sites/1/devices/{prefix}/telemetry", b'{"powerKw": 1}'))
    await stack.mqtt.start()
    await sending
    records = await reader.read(lambda found: any(record.topic == "device-telemetry" for record in found))
    assert {record.key for record in records if record.topic == "device-telemetry"} == {prefix.encode()}
    assert await ingress.terminate() == 0
