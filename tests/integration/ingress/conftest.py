"""An ingress process between a real MQTT broker and a real Kafka."""

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from ems_streams.dev.stack import EmbeddedStack
from ems_streams.kafka.admin import apply_topics
from ems_streams.mqtt.publisher import MqttPublisher
from ems_streams.settings import Settings
from tests.support.ingress import PARTITIONS, IngressProcess, TopicReader
from tests.support.stack import stack  # noqa: F401


@pytest.fixture
async def settings(stack: EmbeddedStack) -> Settings:  # noqa: F811
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    name = f"i{uuid4().hex[:8]}"
    settings = Settings.load(
        kafka_bootstrap_servers=stack.kafka_bootstrap,
        mqtt_url=stack.mqtt_url,
        partitions=PARTITIONS,
        ingress_id=name,
        mqtt_share_group=name,
        ingress_port=port,
    )
    await apply_topics(settings)
    return settings


@pytest.fixture
def ingress(settings: Settings, tmp_path: Path) -> Iterator[IngressProcess]:
    process = IngressProcess(settings, tmp_path / "ingress.log")
    yield process
    process.end()


@pytest.fixture
async def publisher(settings: Settings) -> AsyncIterator[MqttPublisher]:
    async with MqttPublisher(str(settings.mqtt_url), f"p{uuid4().hex[:8]}") as publisher:
        yield publisher


@pytest.fixture
def prefix() -> str:
    """Serial numbers of one test begin with this, since all tests share the topics."""
    return uuid4().hex[:8].upper()


@pytest.fixture
async def reader(settings: Settings) -> AsyncIterator[TopicReader]:
    reader = TopicReader(settings)
    await reader.start(
        (
            "device-telemetry",
            "device-telemetry-dlt",
            "device-status-reports",
            "device-status-reports-dlt",
            "device-command-acks",
            "device-command-acks-dlt",
            "device-registry",
        )
    )
    yield reader
    await reader.stop()
