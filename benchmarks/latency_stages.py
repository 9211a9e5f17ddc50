"""Where the time of a probe went, read from Kafka when all is over: every record carries the time at which its producer wrote it."""

import bisect
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from benchmarks.latency_probes import Seen
from ems_streams.kafka.catalogue import DEVICE_NOTIFICATIONS, DEVICE_STATUS, DEVICE_STATUS_REPORTS, DEVICE_TELEMETRY

PARTITIONS = 4
TABLE_STAGES = ((DEVICE_TELEMETRY, "MQTT broker and ingress"), (None, "Kafka and worker, until a request sees it"))
SOCKET_STAGES = (
    (DEVICE_STATUS_REPORTS, "MQTT broker and ingress"),
    (DEVICE_STATUS, "Kafka and the status agent"),
    (DEVICE_NOTIFICATIONS, "its commit and the notifications agent"),
    (None, "its commit, gateway, and WebSocket"),
)
TOPICS = (DEVICE_TELEMETRY, DEVICE_STATUS_REPORTS, DEVICE_STATUS, DEVICE_NOTIFICATIONS)
_CLOCK_TOLERANCE_S = 0.002
_READ_AT_ONCE = 10_000

Times = Mapping[str, Sequence[float]]
"""By serial number, when records were written, in seconds since 1970, ascending."""


class Log:
    """Kafka's side of the run: how much there is, how much of it the worker has made durable, and when records were written."""

    def __init__(self, broker: str, group: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": broker,
                "group.id": group,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "log_level": 2,
            }
        )

    def close(self) -> None:
        self._consumer.close()

    def ends(self, topic: str) -> list[int]:
        """End offset of each partition."""
        return [self._consumer.get_watermark_offsets(TopicPartition(topic, each), timeout=10)[1] for each in range(PARTITIONS)]

    def committed(self, topic: str) -> int:
        """Records that the worker's group is durably done with."""
        wanted = [TopicPartition(topic, each) for each in range(PARTITIONS)]
        return sum(max(tp.offset, 0) for tp in self._consumer.committed(wanted, timeout=10))

    def times(self, topic: str, begins: Sequence[int], prefix: str) -> Times:
        """When the records behind `begins` were written whose keys begin so."""
        found: dict[str, list[float]] = {}
        wanted = prefix.encode()
        for key, timestamp_ms in self._read(topic, begins):
            if key.startswith(wanted):
                found.setdefault(key.decode(), []).append(timestamp_ms / 1000)
        return {serial_number: sorted(times) for serial_number, times in found.items()}

    def _read(self, topic: str, begins: Sequence[int]) -> Iterator[tuple[bytes, int]]:
        self._consumer.assign([TopicPartition(topic, partition, offset) for partition, offset in enumerate(begins)])
        left = set(range(len(begins)))
        while left:
            for message in self._consumer.consume(_READ_AT_ONCE, 1.0):
                error = message.error()
                if error is None:
                    yield message.key() or b"", message.timestamp()[1]
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition() or 0)
                else:
                    raise KafkaException(error)
        self._consumer.unassign()


@dataclass(frozen=True, slots=True)
class Stage:
    """How long the probes of one kind took for a part of their way, in milliseconds."""

    name: str
    p50_ms: float
    p99_ms: float
    samples: int


def stages(probes: Sequence[Seen], way: Sequence[tuple[str | None, str]], times: Mapping[str, Times]) -> list[Stage]:
    """The parts of the way; a probe whose record is not found at some point counts in none of them."""
    parts: list[list[float]] = [[] for _ in way]
    for probe in probes:
        points = [probe.published_at]
        for topic, _ in way:
            point = probe.seen_at if topic is None else _first(times[topic].get(probe.serial_number, ()), points[-1], probe.seen_at)
            if point is None:
                break
            points.append(point)
        else:
            for part, (before, after) in zip(parts, itertools.pairwise(points), strict=True):
                part.append(max(after - before, 0.0) * 1000)
    return [Stage(name, percentile(part, 50), percentile(part, 99), len(part)) for (_, name), part in zip(way, parts, strict=True) if part]


def _first(times: Sequence[float], after: float, before: float) -> float | None:
    """The first time of a stretch; records carry whole milliseconds."""
    at = bisect.bisect_left(times, after - _CLOCK_TOLERANCE_S)
    return times[at] if at < len(times) and times[at] <= before + _CLOCK_TOLERANCE_S else None


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(round(len(ordered) * percent / 100, 6)), 1) - 1]
