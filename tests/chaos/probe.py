"""How long live data stand still, as whoever asks for them sees it."""

import threading
import time
from dataclasses import dataclass, field
from typing import Self

from confluent_kafka import Producer

from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from ems_streams.kafka.partitioner import partition_for
from tests.chaos.harness import System
from tests.support.processes import get

_INTERVAL_S = 0.2
_ANSWER_TIMEOUT_S = 3.0


@dataclass
class Probe:
    """A device per partition that counts up in Kafka, and the longest time that nobody could see it count, by partition.

    Whoever asks goes on to the next worker when one has no answer. Use as a context manager.
    """

    system: System
    longest_s: dict[int, float] = field(default_factory=dict)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        names = (f"PROBE-{number}" for number in range(10_000))
        count = self.system.deployment.partitions
        serials: dict[int, str] = {}
        while len(serials) < count:
            serial = next(names)
            serials.setdefault(partition_for(serial.encode(), count), serial)
        servers = self.system.deployment.stack.kafka_bootstrap
        self._producer = Producer({"bootstrap.servers": servers, "linger.ms": 0, "partitioner": "murmur2_random"})
        self._threads = [threading.Thread(target=self._run, args=each, daemon=True) for each in serials.items()]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)

    def take(self) -> float:
        """The longest pause since the last question; a pause that is under way counts until now."""
        longest_s = max(self.longest_s.values(), default=0.0)
        self.longest_s = {}
        return longest_s

    def _run(self, partition: int, serial: str) -> None:
        last_value, changed_s, number = None, time.monotonic(), 0
        while not self._stopping.wait(_INTERVAL_S):
            number += 1
            self._producer.produce(DEVICE_TELEMETRY, key=serial.encode(), value=_telemetry(serial, number))
            self._producer.poll(0)
            value = self._ask(serial)
            now_s = time.monotonic()
            self.longest_s[partition] = max(self.longest_s.get(partition, 0.0), now_s - changed_s)
            if value is not None and value != last_value:
                last_value, changed_s = value, now_s

    def _ask(self, serial: str) -> float | None:
        for url in self.system.worker_urls:
            status, body = get(f"{url}/api/v1/devices/{serial}", _ANSWER_TIMEOUT_S)
            if status == 200:
                value: float | None = body["latest"].get("probe")
                return value
        return None


def _telemetry(serial: str, number: int) -> bytes:
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() // 1_000_000 % 1000:03}Z"
    return (
        f'{{"deviceId":1,"serialNumber":"{serial}","siteId":1,"deviceType":"METER","telemetryData":{{"probe":{number}}},'
        f'"timestamp":"{now}","eventType":"DEVICE_TELEMETRY","messageId":"{number}"}}'
    ).encode()
