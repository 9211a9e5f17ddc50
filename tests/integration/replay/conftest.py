"""A small fleet's half day on the embedded stack, counted by a live worker that is then stopped; tests of this folder replay it."""

import asyncio
import contextlib
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from ems_streams.dev.stack import EmbeddedStack
from ems_streams.domain.events import format_time
from ems_streams.kafka.catalogue import DEVICE_AGGREGATES, DEVICE_TELEMETRY
from ems_streams.kafka.partitioner import partition_for
from tests.support.deployment import forget_records
from tests.support.processes import Deployment, eventually
from tests.support.replay import last_windows

PARTITIONS = 4
DEVICES = 20
STEP = timedelta(seconds=30)
BEGIN = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=8)
"""Of six hours; the fleet has said something before and behind them, too."""
END = BEGIN + timedelta(hours=6)
AROUND = timedelta(minutes=30)
BESIDE = timedelta(minutes=10)
GAP = (BEGIN + timedelta(hours=2, minutes=10), BEGIN + timedelta(hours=2, minutes=13))
"""Between these two messages the first device is silent, for less time than power is integrated over."""


@dataclass
class Fleet:
    """What a test needs to know."""

    deployment: Deployment
    serials: list[str]

    @property
    def range(self) -> tuple[str, ...]:
        """A little more than the six hours, so that there are windows that reach beyond it."""
        return ("--from", format_time(BEGIN - BESIDE), "--to", format_time(END + BESIDE))


def event(serial: str, number: int, moment: datetime) -> tuple[bytes, bytes, int]:
    """Key, value and time of a record."""
    second = int((moment - BEGIN).total_seconds())
    value = {
        "deviceId": number + 1,
        "serialNumber": serial,
        "siteId": number % 3 + 1,
        "deviceType": "METER",
        "telemetryData": {"powerKw": (second * 7 + number * 13) % 101 / 7, "voltage": 230 + (second + number) % 9 / 3},
        "timestamp": format_time(moment),
        "eventType": "DEVICE_TELEMETRY",
        "messageId": f"{serial}-{second}",
    }
    return serial.encode(), orjson.dumps(value), int(moment.timestamp() * 1000)


def telemetry(serials: list[str]) -> Iterator[tuple[bytes, bytes, int]]:
    moment = BEGIN - AROUND
    while moment < END + AROUND:
        for number, serial in enumerate(serials):
            if number or not GAP[0] < moment < GAP[1]:
                yield event(serial, number, moment)
        moment += STEP
    # In the middle of the range arrives what live puts aside: no telemetry, and telemetry that is too late for any window.
    arrived_ms = int((BEGIN + timedelta(hours=3)).timestamp() * 1000)
    key, late, _ = event(serials[0], 0, BEGIN - timedelta(days=3))
    yield key, late, arrived_ms
    yield key, b"not telemetry", arrived_ms


def produce(bootstrap: str, records: Iterable[tuple[bytes, bytes, int]], topic: str = DEVICE_TELEMETRY) -> None:
    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=20)
        await producer.start()
        try:
            for key, value, time_ms in records:
                await producer.send(topic, value, key=key, partition=partition_for(key, PARTITIONS), timestamp_ms=time_ms)
            await producer.flush()
        finally:
            await producer.stop()

    asyncio.run(send())


@pytest.fixture(scope="session")
def fleet(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The live system has closed every window of the range, and its worker is stopped."""
    name = f"replay-{uuid.uuid4().hex[:8]}"
    deployed = Deployment(stack, Path(tmp_path_factory.mktemp(name)), name, PARTITIONS)
    serials = [f"{name}-{number:02d}" for number in range(DEVICES)]
    with contextlib.ExitStack() as exits:
        exits.callback(deployed.stop)
        deployed.command("topics", "apply")
        forget_records(stack.kafka_bootstrap, PARTITIONS)
        produce(stack.kafka_bootstrap, telemetry(serials))
        worker = deployed.worker().wait_until_ready()
        hours = {(serial, "1h", format_time(BEGIN + timedelta(hours=hour))) for serial in serials for hour in range(6)}
        eventually(lambda: hours <= last_windows(stack.kafka_bootstrap, DEVICE_AGGREGATES).keys(), 60, "the range is closed in live")
        assert worker.terminate() == 0
        yield Fleet(deployed, serials)
