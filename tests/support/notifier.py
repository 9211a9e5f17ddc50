"""What tests of the notifier need: files of channels, notifications on Kafka, and the records that the notifier keeps of its attempts."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from aiokafka import ConsumerRecord

from ems_streams.kafka.catalogue import DEVICE_NOTIFICATIONS
from ems_streams.kafka.range_reader import positioned_consumer, read_ranges, whole
from ems_streams.settings import Settings
from tests.support.processes import Deployment
from tests.support.receivers import SECRET
from tests.support.sink import notification_of, publish

QUICK = {"attempts": 4, "initial_s": 0.1, "max_s": 0.3}
PATIENT = {"attempts": 100, "initial_s": 0.05, "max_s": 0.5}
SOFT_BREAKER = {"failures": 3, "open_s": 0.2, "open_max_s": 0.4}


def hook(url: str, **more: Any) -> dict[str, Any]:
    """A webhook channel of the file."""
    return {
        "type": "webhook",
        "url": url,
        "secret_env": "TEST_SECRET",
        "start": "beginning",
        "retry": QUICK,
        "breaker": SOFT_BREAKER,
    } | more


def mail(port: int, **more: Any) -> dict[str, Any]:
    """An e-mail channel of the file."""
    return {
        "type": "email", "host": "127.0.0.1", "port": port, "security": "none", "from": "EMS <ems@example.com>", "to": ["ops@example.com"],
        "start": "beginning", "retry": QUICK, "breaker": SOFT_BREAKER, "rate": None,
    } | more  # fmt: skip


def channels_file(directory: Path, channels: Mapping[str, Any], routes: list[dict[str, Any]] | None = None) -> Path:
    """A file of these channels, all of them told everything unless routes say otherwise."""
    path = directory / "channels.yaml"
    path.write_text(yaml.safe_dump({"channels": dict(channels), "routes": routes or [{"channels": list(channels)}]}))
    return path


def notify(deployment: Deployment, ids: Iterable[str], devices: int = 20, **changes: Any) -> dict[str, bytes]:
    """Publish notifications of some devices in one transaction, as workers do; the id is also in the title. Gives the bytes of each."""
    events = {
        each: notification_of(f"NTF-{number % devices}", number, **({"notificationId": each, "title": f"about {each}"} | changes))
        for number, each in enumerate(ids)
    }
    # With blanks that nobody who decodes and encodes it would keep.
    values = {each: json.dumps(event).encode() for each, event in events.items()}
    records = [(DEVICE_NOTIFICATIONS, event["serialNumber"].encode(), values[each]) for each, event in events.items()]
    publish(deployment.stack.kafka_bootstrap, records, deployment.partitions)
    return values


def secrets() -> dict[str, str]:
    return {"TEST_SECRET": SECRET}


def read_all(deployment: Deployment, topic: str) -> list[ConsumerRecord]:
    """All committed records of a topic, which may end with a marker of a transaction."""

    async def reading() -> list[ConsumerRecord]:
        settings = Settings.load(kafka_bootstrap_servers=deployment.stack.kafka_bootstrap)
        async with positioned_consumer(settings) as consumer:
            return [each async for _, records in read_ranges(consumer, await whole(consumer, topic)) for each in records]

    return asyncio.run(reading())


def journal(deployment: Deployment, channel: str) -> dict[str, list[dict[str, Any]]]:
    """Of each notification id all that was recorded of it, oldest first; the topic is too young to be compacted."""
    prefix = channel.encode() + b"\0c"
    found: dict[str, list[dict[str, Any]]] = {}
    for record in read_all(deployment, f"{deployment.application_id}-deliveries-changelog"):
        if record.key.startswith(prefix) and record.value is not None:
            found.setdefault(record.key[len(prefix) :].decode(), []).append(json.loads(record.value))
    return found


def put_aside(deployment: Deployment) -> list[tuple[bytes | None, bytes | None, dict[str, str]]]:
    """Key, value and headers of the dead letters of notifications."""
    found = read_all(deployment, "device-notifications-dlt")
    return [(each.key, each.value, {name: text.decode() for name, text in each.headers}) for each in found]


def assert_one_chain_each(deployment: Deployment, channel: str, ids: Iterable[str]) -> None:
    """Every notification has attempts 1, 2, 3, ..., each begun once and on record, and one end after all of them."""
    recorded = journal(deployment, channel)
    assert set(recorded) == set(ids)
    for notification_id, records in recorded.items():
        begun = [each["attempts"] for each in records if each["state"] == "open" and each["sending"]]
        assert begun == list(range(1, len(begun) + 1)), (notification_id, begun)
        ends = [index for index, each in enumerate(records) if each["state"] != "open"]
        assert ends == [len(records) - 1], (notification_id, records)
        assert records[-1]["attempts"] == len(begun), (notification_id, records)
