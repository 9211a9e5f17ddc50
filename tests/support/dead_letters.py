"""Dead letters for tests: put onto their topics as our stages and as Spring do."""

import asyncio
import json
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaProducer

from ems_streams.domain.dead_letter import Headers, Origin, dead_letter_headers
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.kafka.partitioner import partition_for

PARTITIONS = 4
Given = tuple[str, bytes | None, bytes | None, Headers]
"""Topic, key, value and headers."""


def telemetry_value(serial: str, power_kw: Any = 1.5, *, second: int = 1, **more: Any) -> bytes:
    """A record of `device-telemetry`."""
    event = {
        "deviceId": 7, "serialNumber": serial, "siteId": 1, "deviceType": "METER", "telemetryData": {"powerKw": power_kw},
        "timestamp": f"2026-01-05T10:{second // 60 % 60:02d}:{second % 60:02d}Z", "eventType": "DEVICE_TELEMETRY", "messageId": f"{serial}-{second}",
    } | more  # fmt: skip
    return json.dumps(event).encode()


def letter_of(
    topic: str,
    key: bytes,
    value: bytes,
    *,
    error_class: str = "invalid_field",
    stage: str = "aggregates",
    offset: int = 0,
    replays: int = 0,
) -> Given:
    """A dead letter of a topic, as a stage writes it."""
    now = datetime.now(UTC)
    origin = Origin(topic, to_epoch_ms(now), partition_for(key, PARTITIONS), offset)
    headers = dead_letter_headers(origin, error_class, "put there by a test", stage=stage, failed_at=now, replay_count=replays)
    return f"{topic}-dlt", key, value, headers


def put(bootstrap: str, letters: Iterable[Given]) -> None:
    """Write them; each goes to the partition of its key."""

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_request_size=6 << 20) as producer:
            for topic, key, value, headers in letters:
                await producer.send(topic, value, key=key, partition=partition_for(key or b"", PARTITIONS), headers=headers)

    asyncio.run(send())


def unique(name: str) -> str:
    """A serial number that no other test has."""
    return f"{name}-{uuid.uuid4().hex[:8]}"
