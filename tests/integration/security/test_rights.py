"""Every role does its own work with exactly the rights that are generated for it, and no work of others."""

import asyncio
import json
import time
import uuid

import pytest
from aiokafka import AIOKafkaProducer

from ems_streams.dev.stack import EmbeddedStack
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from ems_streams.kafka.client import producer_options
from ems_streams.kafka.partitioner import partition_for
from ems_streams.processes.rights import Role
from tests.support.processes import Deployment, eventually, get
from tests.support.secure_kafka import APPLICATION_ID, PARTITIONS, SUPER, SecureKafka, user_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def secured(stack: EmbeddedStack, secure_kafka: SecureKafka, tmp_path_factory: pytest.TempPathFactory):
    """Processes of ours on the secured Kafka; MQTT broker and database are those of all tests."""
    made = Deployment(stack, tmp_path_factory.mktemp("secured"), APPLICATION_ID, PARTITIONS)
    made.extra = secure_kafka.environment(user_of(Role.ADMIN)) | {"EMS_MQTT_SHARE_GROUP": f"secure-{uuid.uuid4().hex[:8]}"}
    yield made
    made.stop()


def telemetry(serial: str, second: int) -> tuple[bytes, bytes]:
    value = {
        "deviceId": 7, "serialNumber": serial, "siteId": 1, "deviceType": "METER", "telemetryData": {"powerKw": 1.5},
        "timestamp": f"2026-01-05T10:15:{second:02d}Z", "eventType": "DEVICE_TELEMETRY", "messageId": f"{serial}-{second}",
    }  # fmt: skip
    return serial.encode(), json.dumps(value).encode()


async def produce(kafka: SecureKafka, serial: str, seconds: range) -> None:
    async with AIOKafkaProducer(**producer_options(kafka.settings(SUPER))) as producer:
        for key, value in (telemetry(serial, second) for second in seconds):
            await producer.send_and_wait(DEVICE_TELEMETRY, value, key=key, partition=partition_for(key, PARTITIONS))


def test_processes_work(secured: Deployment, secure_kafka: SecureKafka) -> None:
    environment = secure_kafka.environment
    worker = secured.worker(**environment(user_of(Role.WORKER)))
    ingress = secured.ingress(**environment(user_of(Role.INGRESS)))
    sink = secured.sink(**environment(user_of(Role.SINK)))
    for each in (worker, ingress, sink):
        each.wait_until_ready()
    serial = uuid.uuid4().hex
    asyncio.run(produce(secure_kafka, serial, range(10)))
    eventually(
        lambda: (
            (get(f"{worker.url}/api/v1/devices/{serial}/aggregates")[1] or {})
            .get("total", {})
            .get("metrics", {})
            .get("powerKw", {})
            .get("count")
            == 10
        ),
        30,
        "counted",
    )
    time.sleep(5)
    for each in (worker, ingress, sink):
        print(each.name, each.log_tail())
