"""A simulated day of a fleet, straight into Kafka, and an independent calculation of every window that has to come out of it."""

import math
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from confluent_kafka import Producer

from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from ems_streams.kafka.partitioner import partition_for

# Yesterday: what is older than the sink's retention it does not keep.
START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
DAY_S = 86_400
WINDOWS_S = {"1m": 60, "15m": 900, "1h": 3_600, "1d": DAY_S}
MAX_GAP_S = 300
REPEATED_SHARE = 0.03
LATE_SHARE = 0.01
DISORDER_S = 45.0


@dataclass(frozen=True, slots=True)
class Message:
    """At `at_s` seconds into the day, arriving at `arrives_s`."""

    device: int
    at_s: float
    arrives_s: float
    power_kw: float
    voltage: float


@dataclass
class Day:
    """Messages of so many devices, one each `interval_s`, some repeated, some out of order, a few hours late; and two hours of silence."""

    devices: int
    interval_s: int
    seed: int

    def serial(self, device: int) -> str:
        return f"DAY-{self.seed}-{device:04d}"

    def messages_of(self, device: int) -> list[Message]:
        """Each once, in the order of their times; the same on every call."""
        rnd = random.Random(f"{self.seed}/{device}")
        peak_kw = rnd.uniform(5, 50)
        silence_s = rnd.uniform(0, DAY_S - 7_200) if device % 5 == 0 else -math.inf
        found = []
        for slot in range(0, DAY_S, self.interval_s):
            at_s = slot + rnd.randrange(1000 * self.interval_s) / 1000
            sun = max(0.0, math.sin((at_s / DAY_S - 0.25) * 2 * math.pi))
            kw = round(peak_kw * sun + rnd.gauss(0, 0.5), 2)
            volts = round(rnd.gauss(230, 2), 1)
            delay_s = rnd.uniform(3_600, 10_000) if rnd.random() < LATE_SHARE else rnd.uniform(0, DISORDER_S)
            if not silence_s <= at_s < silence_s + 7_200:
                found.append(Message(device, at_s, at_s + delay_s, kw, volts))
        return found

    def publish(self, bootstrap: str, partitions: int) -> int:
        """Put it on `device-telemetry` in the order of arrival, then one message of each device that lets the day close; how many there were."""
        producer = Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 20, "queue.buffering.max.messages": 500_000}
        )
        rnd = random.Random(self.seed)
        arrivals = [message for device in range(self.devices) for message in self.messages_of(device)]
        arrivals += [repeated for repeated in arrivals if rnd.random() < REPEATED_SHARE]
        arrivals.sort(key=lambda message: message.arrives_s)
        arrivals += [Message(device, DAY_S + 3_000, math.inf, 0.0, 230.0) for device in range(self.devices)]
        for count, message in enumerate(arrivals):
            key = self.serial(message.device).encode()
            while True:
                try:
                    producer.produce(DEVICE_TELEMETRY, self._value(message), key, partition_for(key, partitions))
                    break
                except BufferError:
                    producer.poll(0.1)
            if count % 10_000 == 0:
                producer.poll(0)
        assert producer.flush(120) == 0
        return len(arrivals)

    def _value(self, message: Message) -> str:
        moment = (START + timedelta(seconds=message.at_s)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return (
            f'{{"deviceId":{message.device + 1},"serialNumber":"{self.serial(message.device)}","siteId":{message.device % 10 + 1},'
            f'"deviceType":"SOLAR_INVERTER","telemetryData":{{"powerKw":{message.power_kw},"voltage":{message.voltage}}},'
            f'"timestamp":"{moment}","eventType":"DEVICE_TELEMETRY"}}'
        )


def windows_across_gaps(messages: list[Message], least_s: float) -> Iterator[tuple[str, datetime]]:
    """Every window in which power is taken to go on between two messages that are more than so long apart."""
    by_time = sorted(messages, key=lambda message: message.at_s)
    for before, behind in pairwise(by_time):
        if least_s < behind.at_s - before.at_s <= MAX_GAP_S:
            for label, length_s in WINDOWS_S.items():
                first, last = int(before.at_s // length_s), math.ceil(behind.at_s / length_s) - 1
                yield from ((label, START + timedelta(seconds=number * length_s)) for number in range(first, last + 1))


@dataclass
class Expected:
    """What a window has to say."""

    events: int
    metrics: dict[str, dict[str, float]]
    quantiles: dict[str, dict[str, float]]
    energy_kwh: float | None


def windows_count(messages: list[Message]) -> int:
    """How many windows `windows_of` gives."""
    return sum(len({int(message.at_s // length_s) for message in messages}) for length_s in WINDOWS_S.values())


def windows_of(messages: list[Message]) -> Iterator[tuple[str, datetime, Expected]]:
    """Every window of the day of one device, calculated from its messages with nothing of what is tested."""
    # One message in a millisecond of a device is the rule; where there are two, what is last is not defined, so none is made.
    by_time = sorted(messages, key=lambda message: message.at_s)
    for label, length_s in WINDOWS_S.items():
        parts: dict[int, list[Message]] = defaultdict(list)
        for message in by_time:
            parts[int(message.at_s // length_s)].append(message)
        for number, inside in parts.items():
            start_s = number * length_s
            columns = {"powerKw": [m.power_kw for m in inside], "voltage": [m.voltage for m in inside]}
            yield (
                label,
                START + timedelta(seconds=start_s),
                Expected(
                    len(inside),
                    {name: _statistics(column) for name, column in columns.items()},
                    {name: _quantiles(column) for name, column in columns.items()},
                    _energy_kwh(by_time, start_s, start_s + length_s),
                ),
            )


def _statistics(column: list[float]) -> dict[str, float]:
    count, total = len(column), math.fsum(column)
    mean = total / count
    return {
        "count": count,
        "sum": total,
        "min": min(column),
        "max": max(column),
        "mean": mean,
        "last": column[-1],
        "stddev": math.sqrt(math.fsum((value - mean) ** 2 for value in column) / count),
    }


def _quantiles(column: list[float]) -> dict[str, float]:
    ordered = sorted(column)
    return {f"p{round(share * 100)}": ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.95, 0.99)}


def _energy_kwh(messages: list[Message], start_s: float, end_s: float) -> float | None:
    import bisect

    first = max(bisect.bisect_left(messages, start_s, key=lambda m: m.at_s) - 1, 0)
    total, covered = [], False
    for before, behind in zip(messages[first:], messages[first + 1 :], strict=False):
        if before.at_s >= end_s:
            break
        width_s = behind.at_s - before.at_s
        from_s, to_s = max(before.at_s, start_s), min(behind.at_s, end_s)
        if width_s > MAX_GAP_S or from_s >= to_s:
            continue
        covered = True
        slope = (behind.power_kw - before.power_kw) / width_s
        middle_kw = before.power_kw + slope * ((from_s + to_s) / 2 - before.at_s)
        total.append(middle_kw * (to_s - from_s) / 3_600)
    return math.fsum(total) if covered else None
