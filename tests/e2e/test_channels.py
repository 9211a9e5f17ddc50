"""From a device on MQTT to a webhook and a mailbox; a device in maintenance is not told of."""

import asyncio
import json
import time
import uuid
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from ems_streams.kafka.catalogue import MAINTENANCE_WINDOWS
from ems_streams.mqtt.publisher import MqttPublisher
from tests.support.notifier import channels_file, hook, mail, secrets
from tests.support.processes import Deployment, eventually
from tests.support.receivers import mailbox, webhook

pytestmark = pytest.mark.e2e


async def report(deployment: Deployment, *statuses: tuple[str, str]) -> None:
    async with MqttPublisher(deployment.stack.mqtt_url, f"chan-{uuid.uuid4().hex[:6]}") as device:
        for serial, status in statuses:
            payload = {"status": status, "reason": "Grid fault"}
            await device.publish(f"sites/3/devices/{serial}/status", json.dumps(payload).encode(), qos=1)


def has_read(deployment: Deployment, topic: str) -> bool:
    """Whether the worker is durably done with all that transactions have written to a topic."""
    consumer = Consumer({"bootstrap.servers": deployment.stack.kafka_bootstrap, "group.id": deployment.application_id})
    try:
        tps = [TopicPartition(topic, number) for number in range(deployment.partitions)]
        # The last offset is that of the marker which ends the transaction.
        return all(tp.offset >= consumer.get_watermark_offsets(tp, timeout=10)[1] - 1 for tp in consumer.committed(tps, timeout=10))
    finally:
        consumer.close()


def test_what_a_device_reports_reaches_a_webhook_and_a_mailbox(deployment: Deployment, tmp_path: Path) -> None:
    serial, maintained = (f"{name}-{uuid.uuid4().hex[:6]}" for name in ("CHAN", "MNT"))
    with webhook() as receiver, mailbox() as box:
        channels = {"ops": hook(receiver.url, start="now"), "on-call": mail(box.port, start="now")}
        routes = [{"channels": ["ops"]}, {"channels": ["on-call"], "severity_at_least": "CRITICAL", "sites": [3]}]
        processes = [
            deployment.ingress(),
            deployment.worker(),
            deployment.notifier(channels_file(tmp_path, channels, routes), **secrets()),
        ]
        for process in processes:
            process.wait_until_ready()
        deployment.command("maintenance", "set", "--device", maintained, "--for", "1h")
        eventually(lambda: has_read(deployment, MAINTENANCE_WINDOWS), 30, "the worker knows of the maintenance")
        asyncio.run(report(deployment, (serial, "ONLINE"), (maintained, "ERROR")))
        eventually(lambda: receiver.delivered, 20, "the webhook is told that it is online")
        sent_s = time.time()
        asyncio.run(report(deployment, (serial, "ERROR"), (maintained, "OFFLINE")))
        eventually(lambda: len(receiver.delivered) >= 2 and box.mails, 20, "both are told of the error")
        time.sleep(2.0)

    told = [json.loads(request.body)["data"] for request in receiver.requests]
    assert [(each["serialNumber"], each["severity"], each["data"]["newStatus"]) for each in told] == [
        (serial, "INFO", "ONLINE"),
        (serial, "CRITICAL", "ERROR"),
    ]
    (sent,) = box.mails
    assert str(sent["Subject"]) == f"[CRITICAL] site 3 {serial}: {serial} reports an error"
    print(
        f"webhook {receiver.requests[1].at_s - sent_s:.3f} s and e-mail {box.at_s[0] - sent_s:.3f} s after the device was asked to report"
    )
