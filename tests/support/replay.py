"""What tests of replays ask of Kafka."""

import asyncio
import subprocess
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.support.processes import Deployment
from tests.support.records import consume

WindowKey = tuple[str, str, str]
"""Serial number, kind of window, start."""


def last_windows(bootstrap: str, topic: str) -> dict[WindowKey, dict[str, Any]]:
    """The last revision of every window on a topic."""
    found: dict[WindowKey, dict[str, Any]] = {}
    for record in consume(bootstrap, topic):
        window = orjson.loads(record.value)
        key = window["serialNumber"], window["window"], window["windowStart"]
        if key not in found or found[key]["revision"] <= window["revision"]:
            found[key] = window
    return found


def json_of(done: "subprocess.CompletedProcess[str]") -> Any:
    """What a command printed."""
    return orjson.loads(done.stdout)


def counts(deployment: Deployment, *topics: str) -> dict[str, int]:
    """Records ever written to topics: their end offsets, markers included."""

    async def ask() -> dict[str, int]:
        consumer = AIOKafkaConsumer(bootstrap_servers=deployment.stack.kafka_bootstrap)
        await consumer.start()
        try:
            metadata = await consumer._client.fetch_all_metadata()
            tps = [TopicPartition(topic, number) for topic in topics for number in metadata.partitions_for_topic(topic) or ()]
            ends = await consumer.end_offsets(tps)
            return {topic: sum(end for tp, end in ends.items() if tp.topic == topic) for topic in topics}
        finally:
            await consumer.stop()

    return asyncio.run(ask())
