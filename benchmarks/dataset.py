"""The events of the benchmark: generated from a seed, loaded into Kafka once, and known well enough to check every result.

Values have one decimal and are kept as tenths, so that sums of the truth are exact.
"""

import random
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from ems_streams.kafka.partitioner import partition_for

METRICS = ("powerKw", "voltage", "current", "temperature", "efficiency")
TELEMETRY_TOPIC = "device-telemetry"
CHECK_TOPIC = "check-telemetry"
FIRST_EVENT = datetime(2025, 10, 4, 10, 15, tzinfo=UTC)
REPORT_INTERVAL_S = 10
WINDOW_MS = 60_000
SITES = 50

_RANGES_TENTHS = ((200, 600), (4600, 400), (600, 600), (150, 400), (900, 99))
_TYPES = ("SOLAR_INVERTER", "BATTERY", "METER")
_REPORT_EVERY = 20_000


@dataclass(frozen=True, slots=True)
class Shape:
    """How much of which data."""

    events: int
    devices: int = 10_000
    partitions: int = 4
    seed: int = 7


@dataclass(slots=True)
class PartitionEvents:
    """All events of one partition, by offset."""

    devices: array = field(default_factory=lambda: array("L"))
    seconds: array = field(default_factory=lambda: array("L"))
    tenths: tuple[array, ...] = field(default_factory=lambda: tuple(array("h") for _ in METRICS))

    def __len__(self) -> int:
        return len(self.devices)


@dataclass(slots=True)
class Statistics:
    """Of one metric; sums of tenths are whole numbers."""

    count: int
    total: int
    least: int
    greatest: int
    last: int

    @classmethod
    def of(cls, value: int) -> "Statistics":
        return cls(1, value, value, value, value)

    def add(self, value: int) -> None:
        self.count += 1
        self.total += value
        self.last = value
        if value < self.least:
            self.least = value
        if value > self.greatest:
            self.greatest = value


Expected = dict[str, list[Statistics]]
ExpectedWindows = dict[tuple[str, int], list[Statistics]]


class Dataset:
    """Events of a shape, and what every correct peer has to make of any prefix of them."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.partitions = [PartitionEvents() for _ in range(shape.partitions)]
        self._serials = [f"INV-{device:05d}" for device in range(shape.devices)]
        self._keys = [serial.encode() for serial in self._serials]
        self._homes = [partition_for(key, shape.partitions) for key in self._keys]

    def generate(self) -> Iterator[tuple[int, bytes, str]]:
        """Yield (partition, key, value) of every event in order, and remember it."""
        rnd = random.Random(self.shape.seed)
        order = list(range(self.shape.devices))
        for start in range(0, self.shape.events, self.shape.devices):
            rnd.shuffle(order)
            second = start // self.shape.devices * REPORT_INTERVAL_S
            times = [_iso(second + step) for step in range(REPORT_INTERVAL_S)]
            for place, device in enumerate(order[: self.shape.events - start]):
                step = place * REPORT_INTERVAL_S // self.shape.devices
                tenths = [least + int(rnd.random() * width) for least, width in _RANGES_TENTHS]
                self._remember(device, second + step, tenths)
                yield self._homes[device], self._keys[device], self._value(device, times[step], tenths)

    def _remember(self, device: int, second: int, tenths: list[int]) -> None:
        events = self.partitions[self._homes[device]]
        events.devices.append(device)
        events.seconds.append(second)
        for kept, value in zip(events.tenths, tenths, strict=True):
            kept.append(value)

    def _value(self, device: int, timestamp: str, tenths: list[int]) -> str:
        metrics = ",".join(f'"{name}":{value // 10}.{value % 10}' for name, value in zip(METRICS, tenths, strict=True))
        return (
            f'{{"deviceId":{device},"serialNumber":"{self._serials[device]}","siteId":{device % SITES},"deviceType":"{_TYPES[device % 3]}",'
            f'"telemetryData":{{{metrics}}},"timestamp":"{timestamp}","eventType":"DEVICE_TELEMETRY"}}'
        )

    def totals(self, ends: Mapping[int, int]) -> Expected:
        """Statistics of every device over the events before `ends`, by partition."""
        found: dict[int, list[Statistics]] = {}
        for device, _, tenths in self._events(ends):
            _fold(found, device, tenths)
        return {self._serials[device]: statistics for device, statistics in found.items()}

    def windows(self, ends: Mapping[int, int], every: int = 1) -> ExpectedWindows:
        """The same by window start in epoch milliseconds, for every n-th device."""
        found: dict[tuple[int, int], list[Statistics]] = {}
        for device, second, tenths in self._events(ends):
            if device % every == 0:
                _fold(found, (device, second // 60), tenths)
        first_ms = int(FIRST_EVENT.timestamp() * 1000)
        return {(self._serials[device], first_ms + minute * WINDOW_MS): statistics for (device, minute), statistics in found.items()}

    def sampled(self, every: int) -> frozenset[str]:
        """Serial numbers of every n-th device."""
        return frozenset(self._serials[::every])

    def _events(self, ends: Mapping[int, int]) -> Iterator[tuple[int, int, tuple[int, ...]]]:
        for partition, end in ends.items():
            events = self.partitions[partition]
            columns = [column[:end] for column in events.tenths]
            yield from zip(events.devices[:end], events.seconds[:end], zip(*columns, strict=True), strict=True)


def _fold(found: dict, key: object, tenths: tuple[int, ...]) -> None:
    statistics = found.get(key)
    if statistics is None:
        found[key] = [Statistics.of(value) for value in tenths]
        return
    for each, value in zip(statistics, tenths, strict=True):
        each.add(value)


def _iso(second: int) -> str:
    return (FIRST_EVENT + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ")


def load(dataset: Dataset, broker: str, topic: str, on_progress: Callable[[int], None] = lambda _: None) -> float:
    """Create the topic and fill it; returns the seconds it took.

    Raises `RuntimeError` unless every event is at the offset that the checks count on.
    """
    started_s = time.monotonic()
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 2})
    created = admin.create_topics([NewTopic(topic, dataset.shape.partitions, 1, config={"retention.ms": "-1"})])
    for future in created.values():
        future.result()
    producer = Producer(
        {
            "bootstrap.servers": broker,
            # Its warnings would be about a broker that has just begun to start, or is just stopping.
            "log_level": 2,
            "enable.idempotence": True,
            "linger.ms": 20,
            "batch.size": 256 * 1024,
            "queue.buffering.max.messages": 200_000,
        }
    )
    for index, (partition, key, value) in enumerate(dataset.generate(), 1):
        _produce(producer, topic, partition, key, value)
        if index % _REPORT_EVERY == 0:
            producer.poll(0)
            on_progress(index)
    if producer.flush(120) > 0:
        raise RuntimeError(f"the broker did not take all of {topic}")
    on_progress(dataset.shape.events)
    _check_offsets(dataset, broker, topic)
    return time.monotonic() - started_s


def _produce(producer: Producer, topic: str, partition: int, key: bytes, value: str) -> None:
    while True:
        try:
            producer.produce(topic, value, key, partition)
            return
        except BufferError:
            producer.poll(0.05)


def _check_offsets(dataset: Dataset, broker: str, topic: str) -> None:
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "bench-loader", "log_level": 2})
    try:
        for partition, events in enumerate(dataset.partitions):
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
            if end != len(events):
                raise RuntimeError(f"{topic} partition {partition} has {end} records instead of {len(events)}")
    except KafkaException as error:
        raise RuntimeError(f"cannot read the offsets of {topic}: {error}") from error
    finally:
        consumer.close()
