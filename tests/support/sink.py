"""Events as workers publish them, and what tests of the sink ask of Kafka and PostgreSQL."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from ems_streams.domain.events import format_time
from ems_streams.kafka.catalogue import DEVICE_AGGREGATES, DEVICE_NOTIFICATIONS, DEVICE_STATUS, SITE_AGGREGATES
from ems_streams.kafka.partitioner import partition_for

METRIC = {
    "count": 6, "sum": 30.5, "min": 1.25, "max": 9.0, "mean": 5.083333333333333, "last": 4.5, "stddev": 2.5, "p50": 5.0, "p95": 8.9, "p99": 9.0,
}  # fmt: skip
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

Event = dict[str, Any]
Record = tuple[str, bytes, bytes]
"""Topic, key and value."""


def window_of(serial: str, minute: int = 0, revision: int = 1, *, day: datetime = TODAY, **changes: Any) -> Event:
    """A one-minute window of a device."""
    start = day + timedelta(minutes=minute)
    return {
        "eventId": f"{serial}:1m:{format_time(start)}:{revision}",
        "eventType": "DEVICE_AGGREGATE",
        "deviceId": 1,
        "serialNumber": serial,
        "siteId": 7,
        "deviceType": "SOLAR_INVERTER",
        "window": "1m",
        "windowStart": format_time(start),
        "windowEnd": format_time(start + timedelta(minutes=1)),
        "revision": revision,
        "eventCount": 6,
        "metrics": {"powerKw": METRIC},
        "energyKwh": 0.75,
        "energyQuality": "MEASURED",
        "energyCoveredShare": 0.98,
    } | changes


def site_window_of(site_id: int, minute: int = 0, revision: int = 1, **changes: Any) -> Event:
    """A one-minute window of a site."""
    event = window_of("ignored", minute, revision) | {
        "eventId": f"{site_id}:1m:{minute}:{revision}", "eventType": "SITE_AGGREGATE", "siteId": site_id, "devicesReported": 2, "devicesTotal": 3,
    }  # fmt: skip
    for name in ("serialNumber", "deviceId", "deviceType"):
        event.pop(name)
    return event | changes


def transition_of(serial: str, sequence: int = 1, **changes: Any) -> Event:
    """A status transition."""
    return {
        "eventId": f"{serial}-{sequence}",
        "sequence": sequence,
        "deviceId": 1,
        "serialNumber": serial,
        "siteId": 7,
        "previousStatus": "ONLINE",
        "newStatus": "OFFLINE",
        "timestamp": format_time(TODAY + timedelta(seconds=sequence)),
        "eventType": "DEVICE_STATUS_CHANGE",
        "reason": "night",
    } | changes


def notification_of(serial: str, number: int = 1, **changes: Any) -> Event:
    """A notification."""
    return {
        "notificationId": f"{serial}-{number}",
        "kind": "STATUS_CHANGE",
        "severity": "WARNING",
        "serialNumber": serial,
        "siteId": 7,
        "deviceId": 1,
        "title": f"{serial} is offline",
        "message": "It was online before.",
        "timestamp": format_time(TODAY + timedelta(seconds=number)),
        "data": {"previousStatus": "ONLINE"},
    } | changes


_TOPICS = {"DEVICE_AGGREGATE": DEVICE_AGGREGATES, "SITE_AGGREGATE": SITE_AGGREGATES, "DEVICE_STATUS_CHANGE": DEVICE_STATUS}


def record_of(event: Event) -> Record:
    """Where an event goes."""
    topic = _TOPICS.get(event.get("eventType", ""), DEVICE_NOTIFICATIONS)
    key = event["siteId"] if topic == SITE_AGGREGATES else event["serialNumber"]
    return topic, str(key).encode(), orjson.dumps(event)


def publish(bootstrap: str, records: Iterable[Record], partitions: int, *, abort: bool = False) -> None:
    """Write records in one transaction, as a worker does, and commit it or not."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"test-{uuid4().hex}", "linger.ms": 5})
    producer.init_transactions(30)
    producer.begin_transaction()
    for topic, key, value in records:
        while True:
            try:
                producer.produce(topic, value, key, partition_for(key, partitions))
                break
            except BufferError:
                producer.poll(0.1)
    if abort:
        producer.flush(30)
        producer.abort_transaction(30)
    else:
        producer.commit_transaction(60)


def fetch(database_url: str, query: str, *arguments: object) -> list[asyncpg.Record]:
    """Rows of a query, on a connection of its own."""

    async def fetched() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(database_url, timeout=10)
        try:
            return list(await connection.fetch(query, *arguments))
        finally:
            await connection.close()

    return asyncio.run(fetched())


def windows_by_key(database_url: str, prefix: str) -> Mapping[tuple[str, datetime], int]:
    """Revision of every window of devices whose serial number begins with the prefix."""
    query = "SELECT serial_number, window_start, revision FROM device_aggregates WHERE starts_with(serial_number, $1)"
    return {(row["serial_number"], row["window_start"]): row["revision"] for row in fetch(database_url, query, prefix)}


def dead_letters(bootstrap: str, topic: str, partitions: int) -> list[tuple[bytes | None, bytes | None, dict[str, bytes]]]:
    """Key, value and headers of all that is on a topic now."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": uuid4().hex, "enable.partition.eof": False})
    found: list[tuple[bytes | None, bytes | None, dict[str, bytes]]] = []
    try:
        for number in range(partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=20)
            consumer.assign([TopicPartition(topic, number, low)])
            position = low
            while position < high:
                message = consumer.poll(10)
                if message is None:
                    raise AssertionError(f"{topic}[{number}] ends at {position}, not at {high}")
                position = (message.offset() or 0) + 1
                found.append((message.key(), message.value(), dict(message.headers() or [])))  # type: ignore[arg-type]
    finally:
        consumer.close()
    return found
