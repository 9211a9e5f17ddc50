"""Well-formed messages at which our processes fail, the kill of whoever tries them again, and what must have become of each of them."""

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle

from ems_streams.dev.simulator.ledger import Totals
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY, dlt_of
from ems_streams.mqtt.publisher import MqttPublisher
from tests.chaos.harness import System
from tests.chaos.oracles import Topic, wrong_statistics
from tests.chaos.results import Finding
from tests.support.failing_processes import FOLD_LATER_KW, FOLD_NEVER_KW, TRANSLATE_LATER_KW, TRANSLATE_NEVER_KW
from tests.support.processes import Running

GOOD_KW = (1.0, 2.0)
NEVER_KW = (FOLD_NEVER_KW, TRANSLATE_NEVER_KW)
FAILING_KW = {"worker": (FOLD_LATER_KW, FOLD_NEVER_KW), "ingress": (TRANSLATE_LATER_KW, TRANSLATE_NEVER_KW)}
RETRY = "stamina.retry_scheduled"

Sent = tuple[str, float]


class KillInRetry:
    """Publish messages at which a worker or the ingress fails, among some that are well, and SIGKILL the first process that tries one again.

    Workers and ingress in turn. Each call has devices of its own, since what fails for a while fails anew for each.
    """

    def __init__(self, system: System, devices: int, wait_s: float = 8.0) -> None:
        self._system = system
        self._devices = devices
        self._wait_s = wait_s
        self._kinds = cycle(FAILING_KW)
        self.sent: list[Sent] = []

    def __call__(self) -> None:
        system, kind = self._system, next(self._kinds)
        serials = [f"X-{len(self.sent)}-{number}" for number in range(self._devices)]
        watched = {name: _Log(system[name]) for name in system.names(kind) if system.alive(name)}
        asyncio.run(self._publish(list(_messages(serials, [GOOD_KW[0], *FAILING_KW[kind], GOOD_KW[1]]))))
        deadline_s = time.monotonic() + self._wait_s
        while time.monotonic() < deadline_s:
            retrying = [name for name, log in watched.items() if log.says(RETRY) and system.alive(name)]
            if retrying:
                victim = system.random.choice(retrying)
                time.sleep(system.random.uniform(0.0, 0.2))
                system[victim].kill()
                system.faults[f"{kind} kill -9 while it tries again"] += 1
                system.restart(victim)
                return
            system.run_for(0.05)

    async def _publish(self, messages: list[tuple[Sent, bytes]]) -> None:
        async with MqttPublisher(self._system.deployment.stack.mqtt_url, f"{self._system.deployment.application_id}-failing") as publisher:
            await publisher.wait_connected()
            for (serial, power_kw), payload in messages:
                await publisher.publish(f"sites/1/devices/{serial}/telemetry", payload)
                self.sent.append((serial, power_kw))


def _messages(serials: list[str], powers_kw: list[float]) -> Iterator[tuple[Sent, bytes]]:
    now = datetime.now(UTC)
    for number, power_kw in enumerate(powers_kw):
        timestamp = (now + timedelta(milliseconds=100 * number)).isoformat(timespec="milliseconds")
        for serial in serials:
            yield (serial, power_kw), json.dumps({"powerKw": power_kw, "timestamp": timestamp}).encode()


class _Log:
    """What a process says from now on."""

    def __init__(self, process: Running) -> None:
        self._path = process.log_file
        self._from = self._path.stat().st_size

    def says(self, words: str) -> bool:
        with self._path.open("rb") as file:
            file.seek(self._from)
            return words.encode() in file.read()


def counted_or_dead(system: System, failing: KillInRetry, timeout_s: float = 120.0) -> Finding:
    """Whether each message is in the statistics or in the dead letters, according to what was wrong with it, and never in both."""
    counted = _totals([each for each in failing.sent if each[1] not in NEVER_KW])
    doomed = {each for each in failing.sent if each[1] in NEVER_KW}
    dead = Counter[Sent]()
    topic = Topic(system, dlt_of(DEVICE_TELEMETRY))

    def all_there() -> bool:
        dead.update(_sent(record.key() or b"", record.value() or b"") for record in topic.new_records())
        return dead.keys() >= doomed and not wrong_statistics(system, counted)

    try:
        system.settled(all_there, timeout_s)
        system.run_for(3.0)
        all_there()
    finally:
        topic.close()
    wrong = wrong_statistics(system, counted)
    never, spared = doomed - dead.keys(), dead.keys() - doomed
    if wrong or never or spared:
        print(f"\n{system.name}: {wrong[:5]}, not dead {sorted(never)[:5]}, dead and well {sorted(spared)[:5]}, ends {system.ends[:5]}")
    return Finding(
        expected={"devices that count what does not fail": len(counted), "doomed not dead": 0, "dead and not doomed": 0},
        found={
            "devices that count what does not fail": len(counted) - len(wrong),
            "doomed not dead": len(never),
            "dead and not doomed": len(spared),
        },
        measured=f"{dead.total() - len(dead)} dead letters twice",
    )


def _sent(key: bytes, value: bytes) -> Sent:
    fields = json.loads(value)
    return key.decode(), (fields.get("telemetryData") or fields)["powerKw"]


def _totals(sent: list[Sent]) -> dict[str, dict[str, Totals]]:
    by_serial: dict[str, list[float]] = defaultdict(list)
    for serial, power_kw in sent:
        by_serial[serial].append(power_kw)
    return {
        serial: {"powerKw": Totals(len(values), sum(values), min(values), max(values), values[-1])} for serial, values in by_serial.items()
    }
