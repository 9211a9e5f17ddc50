"""A worker process on real Kafka: what it does with bad records, with damaged local state, and with a topic that was made anew."""

import asyncio
import json
import shutil
from collections.abc import Iterable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ems_streams.kafka.catalogue import DEVICE_TELEMETRY, dlt_of
from ems_streams.kafka.partitioner import partition_for
from tests.support.processes import Deployment, Running, eventually, get
from tests.support.records import consume

pytestmark = pytest.mark.integration

PARTITIONS = 4
KeyValue = tuple[bytes | None, bytes]


def telemetry(serial: str, power_kw: float, second: int) -> KeyValue:
    """A record of `device-telemetry`."""
    value = {
        "deviceId": 7,
        "serialNumber": serial,
        "siteId": 1,
        "deviceType": "METER",
        "telemetryData": {"powerKw": power_kw},
        "timestamp": f"2026-01-05T10:15:{second:02d}Z",
        "eventType": "DEVICE_TELEMETRY",
        "messageId": f"{serial}-{second}",
    }
    return serial.encode(), json.dumps(value).encode()


def produce(bootstrap: str, records: Iterable[KeyValue]) -> None:
    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
        await producer.start()
        try:
            for key, value in records:
                await producer.send_and_wait(DEVICE_TELEMETRY, value, key=key, partition=partition_for(key or b"", PARTITIONS))
        finally:
            await producer.stop()

    asyncio.run(send())


def total(worker: Running, serial: str) -> dict[str, Any]:
    """Live statistics of powerKw; empty while there are none."""
    status, body = get(f"{worker.url}/api/v1/devices/{serial}/aggregates")
    return body["total"]["metrics"]["powerKw"] if status == 200 else {}


def test_bad_records_go_to_the_dead_letters_once_and_whole(deployment: Deployment) -> None:
    """Even when the worker is killed in between; the good ones around them are counted."""
    name = deployment.application_id
    good = [telemetry(f"{name}-A", float(second), second) for second in range(20)]
    foreign_key, foreign_value = telemetry(f"{name}-B", 1.0, 1)
    bad: list[KeyValue] = [
        (b"k1", b"not json"),
        (b"k2", b"\xff\xfe\x00broken utf-8"),
        (b"k3", b'{"deviceId": 7}'),
        (b"k4", foreign_value.replace(b"1.0", b"NaN")),
        (b"k5", foreign_value.replace(b"2026-01-05T10:15:01Z", b"yesterday")),
        (b"another-key", foreign_value),
        (b"k6", b""),
    ]
    worker = deployment.worker().wait_until_ready()
    produce(deployment.stack.kafka_bootstrap, [*good[:10], *bad[:4]])
    worker.kill()
    worker = deployment.worker().wait_until_ready()
    produce(deployment.stack.kafka_bootstrap, [*bad[4:], *good[10:]])
    eventually(lambda: total(worker, f"{name}-A").get("count") == 20, 30, "good records counted")
    assert total(worker, f"{name}-A")["sum"] == sum(range(20))
    assert foreign_key not in {key for key, _ in bad}
    assert get(f"{worker.url}/api/v1/devices/{name}-B")[0] == 404

    def letters() -> list[ConsumerRecord]:
        mine = {value for _, value in bad}
        return [record for record in consume(deployment.stack.kafka_bootstrap, dlt_of(DEVICE_TELEMETRY)) if record.value in mine]

    eventually(lambda: len(letters()) >= len(bad), 20, "dead letters published")
    found = letters()
    assert sorted((record.key, record.value) for record in found) == sorted(bad)
    for record in found:
        headers = dict(record.headers)
        assert headers["dlt-original-topic"] == DEVICE_TELEMETRY.encode()
        assert headers["dlt-original-partition"] == str(partition_for(record.key, PARTITIONS)).encode()
        assert int(headers["dlt-original-offset"]) >= 0
        assert headers["dlt-error-class"] in {b"invalid_json", b"invalid_field", b"key_mismatch", b"empty"}
        assert headers["dlt-error-message"]


def test_local_state_is_only_a_cache(deployment: Deployment) -> None:
    """Wiped or damaged, it comes back from the changelog, and the sums stay exact."""
    serial = f"{deployment.application_id}-A"
    worker = deployment.worker().wait_until_ready()
    produce(deployment.stack.kafka_bootstrap, [telemetry(serial, 1.5, second) for second in range(10)])
    eventually(lambda: total(worker, serial).get("count") == 10, 30, "counted")
    assert worker.terminate() == 0

    state = deployment.directory / "worker-0"
    shutil.rmtree(state)
    worker = deployment.worker().wait_until_ready()
    assert total(worker, serial)["count"] == 10
    produce(deployment.stack.kafka_bootstrap, [telemetry(serial, 1.5, second) for second in range(10, 15)])
    eventually(lambda: total(worker, serial).get("count") == 15, 30, "counted on")
    assert worker.terminate() == 0

    damaged = list(state.rglob("MANIFEST-*"))
    assert damaged
    for path in damaged:
        path.write_bytes(b"\x00garbage" * 10)
    worker = deployment.worker().wait_until_ready()
    assert total(worker, serial)["count"] == 15
    assert total(worker, serial)["sum"] == 22.5
    assert "store_wiped" in worker.log_file.read_text()


def test_a_topic_made_anew_stops_the_worker_instead_of_being_skipped(deployment: Deployment) -> None:
    """Its offsets begin again below what the state has folded."""
    serial = f"{deployment.application_id}-A"
    worker = deployment.worker().wait_until_ready()
    produce(deployment.stack.kafka_bootstrap, [telemetry(serial, 1.5, second) for second in range(10)])
    eventually(lambda: total(worker, serial).get("count") == 10, 30, "counted")
    assert worker.terminate() == 0

    asyncio.run(_make_anew(deployment.stack.kafka_bootstrap))
    worker = deployment.worker()
    assert worker.popen.wait(60) == 1
    assert "was deleted and made anew" in worker.log_tail()


async def _make_anew(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([DEVICE_TELEMETRY])
        while DEVICE_TELEMETRY in await admin.list_topics():
            await asyncio.sleep(0.1)
        await admin.create_topics([NewTopic(DEVICE_TELEMETRY, PARTITIONS, 1)])
    finally:
        await admin.close()


def test_a_worker_without_topics_says_which_and_ends(deployment: Deployment) -> None:
    """It creates none by itself."""
    stranger = Deployment(deployment.stack, deployment.directory, f"{deployment.application_id}-x")
    worker = stranger.worker()
    assert worker.popen.wait(60) == 1
    assert "topics missing" in worker.log_tail()
    assert f"{stranger.application_id}-device-aggregates-changelog" in worker.log_tail()
