"""Windows of a worker process on real Kafka: published once with their revisions, and given up when nothing can correct them any more."""

import asyncio
import json
import shutil
from collections.abc import Iterable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from ems_streams.domain.timestamps import format_epoch_ms
from ems_streams.domain.windows import HOUR_MS
from ems_streams.kafka.catalogue import DEVICE_AGGREGATES, DEVICE_AGGREGATES_TABLE
from ems_streams.kafka.partitioner import partition_for
from tables.device_aggregates import QUARTER_MARK
from tests.integration.worker.test_worker import PARTITIONS, KeyValue, produce, total
from tests.support.processes import Deployment, Running, eventually, get
from tests.support.records import consume

pytestmark = pytest.mark.integration

MONDAY_MS = 1_767_571_200_000
"""2026-01-05T00:00:00Z."""
SETTINGS = {"EMS_CORRECTION_HORIZON_S": "3600", "EMS_AGGREGATES_COMMIT_INTERVAL_S": "0.2"}


def telemetry(serial: str, hour: float, power_kw: float = 6.0) -> KeyValue:
    """A record of `device-telemetry`, so many hours after Monday's midnight."""
    value = {
        "deviceId": 7,
        "serialNumber": serial,
        "siteId": 1,
        "deviceType": "METER",
        "telemetryData": {"powerKw": power_kw, "energyTotalKwh": 1_000 + 6 * hour},
        "timestamp": format_epoch_ms(MONDAY_MS + round(hour * HOUR_MS)),
        "eventType": "DEVICE_TELEMETRY",
        "messageId": f"{serial}-{hour}-{power_kw}",
    }
    return serial.encode(), json.dumps(value).encode()


def published(deployment: Deployment, serial: str) -> list[dict[str, Any]]:
    """Windows of a device in the order in which they were published."""
    found = [json.loads(record.value or b"{}") for record in consume(deployment.stack.kafka_bootstrap, DEVICE_AGGREGATES)]
    return [event for event in found if event.get("serialNumber") == serial]


def changes(deployment: Deployment, serial: str) -> list[tuple[bytes, bool]]:
    """Keys of the quarters of a device in the changelog, and whether there is a value."""
    topic = f"{deployment.application_id}-{DEVICE_AGGREGATES_TABLE}-changelog"

    async def read() -> list[tuple[bytes, bool]]:
        tp = TopicPartition(topic, partition_for(serial.encode(), PARTITIONS))
        consumer = AIOKafkaConsumer(bootstrap_servers=deployment.stack.kafka_bootstrap, isolation_level="read_committed")
        await consumer.start()
        try:
            consumer.assign([tp])
            await consumer.seek_to_beginning(tp)
            end = (await consumer.end_offsets([tp]))[tp]
            found = []
            while await consumer.position(tp) < end:
                for batch in (await consumer.getmany(timeout_ms=100)).values():
                    found += [(record.key or b"", record.value is not None) for record in batch]
            return found
        finally:
            await consumer.stop()

    prefix = QUARTER_MARK + serial.encode() + b"\x00"
    return [(key, is_there) for key, is_there in asyncio.run(read()) if key.startswith(prefix)]


def counted(worker: Running, deployment: Deployment, serial: str, records: Iterable[KeyValue], count: int) -> None:
    produce(deployment.stack.kafka_bootstrap, records)
    eventually(lambda: total(worker, serial).get("count") == count, 30, "counted")


def hours(worker: Running, serial: str) -> list[dict[str, Any]]:
    return list(get(f"{worker.url}/api/v1/devices/{serial}/aggregates?window=1h&limit=20")[1]["windows"])


def days_of(deployment: Deployment, serial: str) -> list[dict[str, Any]]:
    return [event for event in published(deployment, serial) if event["window"] == "1d"]


def test_a_correction_is_a_next_revision_also_after_a_kill(deployment: Deployment) -> None:
    serial = f"{deployment.application_id}-A"
    worker = deployment.worker(**SETTINGS).wait_until_ready()
    counted(worker, deployment, serial, [telemetry(serial, hour / 4) for hour in range(10)], 10)
    first = "2026-01-05T00:00:00Z"

    def revisions(window: str) -> list[tuple[int, int]]:
        return [
            (event["revision"], event["eventCount"])
            for event in published(deployment, serial)
            if (event["window"], event["windowStart"]) == (window, first)
        ]

    eventually(lambda: revisions("1h") == [(1, 4)], 20, "the first hour published")
    worker.kill()
    worker = deployment.worker(**SETTINGS).wait_until_ready()
    assert revisions("1h") == [(1, 4)], "a window that was published is not published again"
    counted(worker, deployment, serial, [telemetry(serial, 1.3, 5.0), telemetry(serial, 1.3, 5.0)], 11)
    eventually(
        lambda: len(published(deployment, serial)) > 0 and hours(worker, serial)[1]["revision"] == 2, 20, "the second hour corrected"
    )
    # The live table has it before it is committed.
    eventually(lambda: any(event["revision"] == 2 and event["window"] == "1h" for event in published(deployment, serial)), 20, "published")
    hour = next(event for event in reversed(published(deployment, serial)) if event["window"] == "1h")
    assert (hour["windowStart"], hour["revision"], hour["eventCount"]) == ("2026-01-05T01:00:00Z", 2, 5)
    assert hour["energyKwh"] == pytest.approx(6.0)
    assert revisions("1h") == [(1, 4)], "the hour before says what it said"


def test_quarters_that_no_window_needs_are_deleted_and_stay_so_after_a_recovery(deployment: Deployment) -> None:
    serial = f"{deployment.application_id}-A"
    worker = deployment.worker(**SETTINGS).wait_until_ready()
    counted(worker, deployment, serial, [telemetry(serial, float(hour)) for hour in range(24)], 24)
    eventually(lambda: changes(deployment, serial), 20, "quarters written")
    counted(worker, deployment, serial, [telemetry(serial, float(hour)) for hour in range(24, 72)], 72)

    def of_monday() -> list[bool]:
        """Of each quarter of Monday, whether there is a value still."""
        last = dict(changes(deployment, serial))
        return [is_there for key, is_there in last.items() if int.from_bytes(key[-8:], "big") < MONDAY_MS + 24 * HOUR_MS]

    eventually(lambda: len(of_monday()) > 60 and not any(of_monday()), 20, "Monday's quarters are deleted")
    eventually(lambda: len(days_of(deployment, serial)) == 2, 20, "Monday and Tuesday published")
    before = hours(worker, serial)
    assert before
    assert worker.terminate() == 0

    shutil.rmtree(deployment.directory / "worker-0")
    worker = deployment.worker(**SETTINGS).wait_until_ready()
    assert hours(worker, serial) == before
    assert total(worker, serial)["count"] == 72
    assert [(day["windowStart"][:10], day["revision"], day["energyKwh"]) for day in days_of(deployment, serial)] == [
        ("2026-01-05", 1, pytest.approx(144.0)),
        ("2026-01-06", 1, pytest.approx(144.0)),
    ]
