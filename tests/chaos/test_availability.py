"""How long anything stands still: workers that come and go, Kafka that is away, processes that are told to end."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import psutil
import pytest
from confluent_kafka import Producer

from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from ems_streams.kafka.partitioner import partition_for
from tests.chaos.faults import ServerKill, Terminate
from tests.chaos.harness import System, exactness, put_load, sized, strike, verdict
from tests.support.processes import get

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7200)]

LONGEST_PAUSE_S = 30.0
RED_WITHIN_S = 10.0
GROWTH_MIB = 150
EXIT_WITHIN_S = 30.0


@dataclass
class Probe:
    """A device per partition that counts up in Kafka, and the longest time that nobody could see it count, by partition."""

    system: System
    longest_s: dict[int, float] = field(default_factory=dict)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        names = (f"PROBE-{number}" for number in range(10_000))
        count = self.system.deployment.partitions
        self._serials: dict[int, str] = {}
        while len(self._serials) < count:
            serial = next(names)
            self._serials.setdefault(partition_for(serial.encode(), count), serial)
        self._url = self.system.worker_url
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)

    def take(self) -> float:
        """The longest pause since the last question; a pause that is under way counts until now."""
        longest_s = max(self.longest_s.values(), default=0.0)
        self.longest_s = {}
        return longest_s

    def _run(self) -> None:
        producer = Producer(
            {"bootstrap.servers": self.system.deployment.stack.kafka_bootstrap, "linger.ms": 0, "partitioner": "murmur2_random"}
        )
        last_value = dict[int, float]()
        changed_s = dict.fromkeys(self._serials, time.monotonic())
        number = 0
        while not self._stopping.is_set():
            number += 1
            for serial in self._serials.values():
                producer.produce(DEVICE_TELEMETRY, key=serial.encode(), value=_telemetry(serial, number))
            producer.poll(0)
            for partition, serial in self._serials.items():
                status, body = get(f"{self._url}/api/v1/devices/{serial}", timeout_s=3.0)
                value = body["latest"].get("probe") if status == 200 else None
                now_s = time.monotonic()
                self.longest_s[partition] = max(self.longest_s.get(partition, 0.0), now_s - changed_s[partition])
                if value is not None and value != last_value.get(partition):
                    last_value[partition], changed_s[partition] = value, now_s
            time.sleep(0.2)


def _telemetry(serial: str, number: int) -> bytes:
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() // 1_000_000 % 1000:03}Z"
    return (
        f'{{"deviceId":1,"serialNumber":"{serial}","siteId":1,"deviceType":"METER","telemetryData":{{"probe":{number}}},'
        f'"timestamp":"{now}","eventType":"DEVICE_TELEMETRY","messageId":"{number}"}}'
    ).encode()


def test_membership(system: System) -> None:
    """A third worker joins, leaves in order, joins, is killed, and so on."""
    system.start(ingresses=1, workers=2)
    rounds, longest = sized(15, 3), {"join": 0.0, "leave": 0.0, "kill -9": 0.0}
    load = put_load(system, devices=sized(500, 50), messages=rounds * 24 * 200, rate=200)
    start: Callable[[], object] = lambda: system.add("worker-2", lambda: system.deployment.worker(2))  # noqa: E731
    with Probe(system) as probe:
        system.run_for(5.0)
        probe.take()
        for number in range(rounds):
            start()
            system.faults["joins"] += 1
            system.wait_ready()
            system.run_for(system.random.uniform(3, 6))
            longest["join"] = max(longest["join"], probe.take())
            leave = "kill -9" if number % 2 else "leave"
            if leave == "leave":
                Terminate(system)("worker-2")
            else:
                system["worker-2"].kill()
            system.forget("worker-2")
            system.faults["leaves" if leave == "leave" else "worker kill -9"] += 1
            system.run_for(12.0)
            longest[leave] = max(longest[leave], probe.take())
    if load.running:
        strike(system, load, [])
    expected, found, _, _ = exactness(system, load.ledger)
    verdict(
        "membership",
        load=str(load),
        faults=system.tell_faults(),
        expected={**expected, f"pauses over {LONGEST_PAUSE_S:g} s": 0},
        found={**found, f"pauses over {LONGEST_PAUSE_S:g} s": sum(each > LONGEST_PAUSE_S for each in longest.values())},
        measured="longest pause of a partition: " + ", ".join(f"{what} {pause_s:.1f} s" for what, pause_s in longest.items()),
    )


def _memory_mib(system: System) -> dict[str, int]:
    return {name: psutil.Process(system[name].popen.pid).memory_info().rss >> 20 for name in system.names() if system.alive(name)}


def test_outage(system: System) -> None:
    system.start(ingresses=1, workers=2)
    away_s, rate = float(sized(120, 15)), 1000
    load = put_load(system, devices=sized(1000, 100), messages=int((away_s + 20) * rate), rate=rate)
    system.run_for(8.0)
    assert not system.wait_ready(), "nothing may be red before the outage"
    before, peak, red_after_s = _memory_mib(system), _memory_mib(system), dict[str, float]()
    outage = ServerKill(system, system.deployment.stack.kafka)
    went_s = time.monotonic()
    outage.down()
    try:
        while time.monotonic() - went_s < away_s:
            for name in system.names():
                # Red is an answer: a process that does not answer at all is something else.
                if name not in red_after_s and get(f"{system[name].url}/readyz")[0] == 503:
                    red_after_s[name] = time.monotonic() - went_s
            system.run_for(0.1)
            peak = {name: max(mib, peak.get(name, 0)) for name, mib in _memory_mib(system).items()}
    finally:
        outage.up()
    system.faults[f"Kafka outage of {away_s:g} s"] += 1
    back_s = time.monotonic()
    still_red = system.wait_ready()
    ready_s = time.monotonic() - back_s
    while load.running:
        system.run_for(0.2)
        peak = {name: max(mib, peak.get(name, 0)) for name, mib in _memory_mib(system).items()}
    load.finish()
    expected, found, _, caught_up_s = exactness(system, load.ledger)
    growth = {name: peak.get(name, 0) - mib for name, mib in before.items()}
    memory = ", ".join(f"{name} {mib} -> {peak.get(name, 0)} MiB" for name, mib in before.items())
    late = [name for name in system.names() if red_after_s.get(name, RED_WITHIN_S + 1) > RED_WITHIN_S]
    red = ", ".join(f"{name} {since_s:.1f} s" for name, since_s in red_after_s.items())
    if system.ends:
        print(f"\noutage: ends {system.ends}")
    verdict(
        "outage",
        load=str(load),
        faults=system.tell_faults(),
        expected={**expected, "not red in 10 s": [], "not ready after": [], f"grown over {GROWTH_MIB} MiB": []},
        found={
            **found,
            "not red in 10 s": late,
            "not ready after": still_red,
            f"grown over {GROWTH_MIB} MiB": [name for name, mib in growth.items() if mib > GROWTH_MIB],
        },
        measured=f"red after {red}; ready {ready_s:.1f} s after Kafka; exact {caught_up_s:.1f} s after the load's end; peak RSS {memory}",
    )


def test_sigterm(system: System) -> None:
    """Under load; each fifth exit, of all processes at once, with Kafka down."""
    system.start(ingresses=1, workers=2)
    exits, kafka = sized(50, 10), ServerKill(system, system.deployment.stack.kafka)
    load = put_load(system, devices=sized(500, 50), messages=exits * 4 * 300, rate=300)
    terminate, with_kafka_down = Terminate(system), Terminate(system)
    while len(terminate.codes) + len(with_kafka_down.codes) < exits:
        if len(with_kafka_down.codes) * 4 <= len(terminate.codes) - 4:
            kafka.down()
            try:
                system.run_for(system.random.uniform(0.5, 8.0))
                names = [name for name in system.names() if system.alive(name)]
                with_kafka_down(*names)
            finally:
                kafka.up()
            system.faults["of these with Kafka down"] += len(names)
            for name in names:
                system.restart(name)
        else:
            victim = system.random.choice([name for name in system.names() if system.alive(name)])
            terminate(victim)
            system.restart(victim)
        if system.random.random() < 0.7:  # the others are told to end while they start
            system.wait_ready()
        system.run_for(system.random.uniform(0.2, 2.0))
    strike(system, load, [])
    expected, found, _, _ = exactness(system, load.ledger)
    took_s = terminate.took_s + with_kafka_down.took_s
    late = sum(each > EXIT_WITHIN_S for each in took_s)
    codes = {code: (terminate.codes + with_kafka_down.codes).count(code) for code in sorted({*terminate.codes, *with_kafka_down.codes})}
    verdict(
        "sigterm",
        load=str(load),
        faults=system.tell_faults(),
        expected={**expected, "exits over 30 s": 0},
        found={**found, "exits over 30 s": late},
        measured=f"{len(took_s)} exits, longest {max(terminate.took_s):.1f} s, with Kafka down "
        f"{max(with_kafka_down.took_s, default=0.0):.1f} s, exit codes {codes}",
    )
