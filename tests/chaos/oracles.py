"""What must be true in the end: the ledger and what the system says, read and compared."""

import json
import time
from base64 import b64decode
from collections import Counter, defaultdict
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from datetime import datetime
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from ems_streams.dev.simulator.ledger import Totals, read_ledger, totals
from ems_streams.kafka.catalogue import (
    DEVICE_COMMAND_ACKS,
    DEVICE_NOTIFICATIONS,
    DEVICE_REGISTRY,
    DEVICE_STATUS,
    DEVICE_STATUS_REPORTS,
    DEVICE_TELEMETRY,
    dlt_of,
)
from tests.chaos.harness import Load, System
from tests.chaos.results import Finding
from tests.support.processes import get

Report = tuple[datetime, str]
NO_ANSWER = "HTTP"


class Topic:
    """All committed records of a topic, read from its beginning, a part at a time."""

    def __init__(self, system: System, name: str) -> None:
        deployment = system.deployment
        self._left = deployment.partitions
        self._consumer = Consumer(
            {
                "bootstrap.servers": deployment.stack.kafka_bootstrap,
                "group.id": f"chaos-{name}",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
                "fetch.message.max.bytes": 8_000_000,
            }
        )
        self._consumer.assign([TopicPartition(name, number, 0) for number in range(deployment.partitions)])

    def new_records(self, timeout_s: float = 5.0) -> Iterator[Message]:
        """What is there and was not read before; at its end when nothing more comes for a while."""
        at_end: set[int] = set()
        deadline_s = time.monotonic() + timeout_s
        while len(at_end) < self._left and time.monotonic() < deadline_s:
            for message in self._consumer.consume(1000, 0.3):
                error = message.error()
                if error is None:
                    at_end.discard(message.partition())
                    deadline_s = time.monotonic() + timeout_s
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    at_end.add(message.partition() or 0)
            if not at_end and time.monotonic() > deadline_s:
                return

    def close(self) -> None:
        self._consumer.close()


def message_keys(ledger: Path) -> set[tuple[str, str]]:
    """Serial number and message id of every telemetry line."""
    return {(entry["serialNumber"], entry["messageId"]) for entry in read_ledger(ledger) if "metrics" in entry}


def maybe_keys(ledger: Path) -> set[tuple[str, str]]:
    """Likewise, of messages of which nobody knows whether the broker has them."""
    path = Path(f"{ledger}.unacknowledged")
    return message_keys(path) if path.exists() else set()


def wrong_statistics(system: System, truth: dict[str, dict[str, Totals]]) -> list[str]:
    """Devices of which a count, sum, min, max or last differs from the truth, with the first difference."""
    return [f"{serial}: {problem}" for serial, metrics in truth.items() if (problem := _difference(system, serial, metrics))]


def _difference(system: System, serial: str, metrics: dict[str, Totals]) -> str:
    status, body = get(f"{system.worker_url}/api/v1/devices/{serial}/aggregates")
    if status != 200:
        return f"{NO_ANSWER} {status}"
    for name, truth in metrics.items():
        live = body["total"]["metrics"].get(name, {})
        for statistic in ("count", "sum", "min", "max", "last"):
            if live.get(statistic) != getattr(truth, statistic):
                return f"{name}.{statistic} {live.get(statistic)!r} instead of {getattr(truth, statistic)!r}"
    return ""


def exactness(system: System, *ledgers: Path, timeout_s: float = 180.0) -> Finding:
    """Whether all statistics of all devices are those of the ledgers, and how many seconds after this question they were.

    Devices that were right once are looked at again at the end: whatever was counted twice afterwards shows.
    """
    truth = {serial: metrics for ledger in ledgers for serial, metrics in totals(ledger).items()}
    started_s = time.monotonic()
    waiting = dict(truth)

    def all_right() -> bool:
        for serial in list(waiting):
            if _difference(system, serial, waiting[serial]):
                return False
            del waiting[serial]
        return True

    system.settled(all_right, timeout_s)
    took_s = time.monotonic() - started_s
    system.run_for(2.0)
    # A rebalance may be under way: who does not answer is not wrong.
    system.settled(lambda: not any(each.partition(": ")[2].startswith(NO_ANSWER) for each in wrong_statistics(system, truth)), timeout_s)
    wrong = wrong_statistics(system, truth)
    if wrong:
        print(f"\n{system.name}: wrong devices: {len(wrong)}, such as {wrong[:5]}, ends {system.ends[:5]}")
    return Finding(
        expected={"exact devices": len(truth), "counted": sum(_events(metrics) for metrics in truth.values())},
        found={"exact devices": len(truth) - len(wrong), "counted": sum(_counted(system, serial) for serial in truth)},
        measured=f"exact {took_s:.1f} s after the load's end",
    )


def _events(metrics: dict[str, Totals]) -> int:
    return sum(each.count for each in metrics.values())


def _counted(system: System, serial: str) -> int:
    status, body = get(f"{system.worker_url}/api/v1/devices/{serial}/aggregates")
    return sum(each["count"] for each in body["total"]["metrics"].values()) if status == 200 else 0


def arrivals(system: System, load: Load, junk: AbstractSet[bytes] = frozenset(), others: str = "", timeout_s: float = 180.0) -> Finding:
    """Whether every acknowledged message is on device-telemetry after all, and nothing else is, save `junk`.

    Devices whose serial number begins with `others` are not of this load.
    """
    acknowledged, maybe = message_keys(load.ledger), maybe_keys(load.ledger)
    missing, seen = set(acknowledged), Counter[tuple[str, str]]()
    topic = Topic(system, DEVICE_TELEMETRY)

    def nothing_missing() -> bool:
        for record in topic.new_records():
            value = record.value() or b""
            if value not in junk:
                key = _message_key(value)
                seen[key] += 1
                missing.discard(key)
        return not missing

    try:
        system.settled(nothing_missing, timeout_s)
    finally:
        topic.close()
    foreign = {key for key in seen.keys() - acknowledged - maybe if not others or not key[0].startswith(others)}
    if missing or foreign:
        print(f"\n{system.name}: missing {sorted(missing)[:5]}, foreign {sorted(foreign)[:5]}, ends {system.ends[:5]}")
    return Finding(
        expected={"in Kafka": len(acknowledged), "missing": 0, "foreign": 0},
        found={"in Kafka": len(acknowledged - missing), "missing": len(missing), "foreign": len(foreign)},
        measured=f"{seen.total() - len(seen)} delivered again",
    )


def _message_key(value: bytes) -> tuple[str, str]:
    try:
        event = json.loads(value)
        return event["serialNumber"], event.get("messageId", "")
    except (ValueError, KeyError, TypeError):
        return "not telemetry", repr(value)


def poison_of(load: Load) -> Counter[bytes]:
    """The acknowledged poison messages of a load."""
    return Counter(b64decode(entry["payload"]) for entry in read_ledger(Path(f"{load.ledger}.poison")))


def dead_letters(system: System, poison: Counter[bytes], junk: AbstractSet[bytes], timeout_s: float = 60.0) -> Finding:
    """Whether all poison is in the dead letters, and each record of `junk` exactly once: it came into Kafka exactly once."""
    names = (DEVICE_TELEMETRY, DEVICE_STATUS_REPORTS, DEVICE_REGISTRY, DEVICE_COMMAND_ACKS)
    topics = [Topic(system, dlt_of(name)) for name in names]
    dead, awaited = Counter[bytes](), poison + Counter(junk)

    def all_there() -> bool:
        dead.update(record.value() or b"" for topic in topics for record in topic.new_records())
        return dead >= awaited

    try:
        system.settled(all_there, timeout_s)
    finally:
        for topic in topics:
            topic.close()
    lost = poison - dead
    twice_or_never = {payload: dead[payload] for payload in junk if dead[payload] != 1}
    if lost or twice_or_never:
        print(f"\n{system.name}: lost {list(lost.items())[:5]}, junk {list(twice_or_never.items())[:5]}, ends {system.ends[:5]}")
    return Finding(
        expected={"poison not dead": 0, "junk not dead exactly once": 0},
        found={"poison not dead": lost.total(), "junk not dead exactly once": len(twice_or_never)},
    )


def transitions(system: System, load: Load) -> Finding:
    """Whether each device's transitions are those that it reported, numbered without gap, and each was notified exactly once.

    All reports of the ledger must be in Kafka. On their way there they may overtake each other: redelivered ones do, and the embedded
    broker lets those that follow within milliseconds do so (ARTEMIS-6191; Mosquitto keeps the order). Of the reports in the order in
    which they got there, one that is older than another before it is none.
    """
    arrived = _arrived_reports(system)
    acknowledged = _reports_of(load.ledger)
    overtaken = sum(report < before for each in arrived.values() for before, report in pairwise(each))
    missing = sum(len(set(each) - set(arrived.get(serial, []))) for serial, each in acknowledged.items())
    truth = {serial: _statuses_in_order_of_arrival(each) for serial, each in arrived.items()}
    reports = Finding(
        {"reports missing": 0}, {"reports missing": missing}, f"{overtaken} of {sum(map(len, arrived.values()))} reports overtaken"
    )
    count = sum(len(statuses) for statuses in truth.values())
    events = _until_there(system, DEVICE_STATUS, count)
    notified = Counter(each["data"]["eventId"] for each in _until_there(system, DEVICE_NOTIFICATIONS, count))
    event_ids = {each["eventId"] for each in events}
    by_device: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        by_device[event["serialNumber"]].append(event)
    statuses = {serial: [each["newStatus"] for each in chain] for serial, chain in by_device.items()}
    other = {serial for serial in truth | statuses if statuses.get(serial, []) != truth.get(serial, [])}
    if other:
        serial = min(other)
        print(f"\n{system.name}: {serial} {statuses.get(serial)}, truth {truth.get(serial)}, ends {system.ends[:5]}")
    finding = Finding(
        expected={
            "transitions": count, "event ids": count, "broken chains": 0, "devices with other statuses": 0,
            "notifications": count, "events not notified exactly once": 0,
        },
        found={
            "transitions": len(events),
            "event ids": len(event_ids),
            "broken chains": sum(not _is_chain(chain) for chain in by_device.values()),
            "devices with other statuses": len(other),
            "notifications": notified.total(),
            "events not notified exactly once": sum(notified[each] != 1 for each in event_ids | notified.keys()),
        },
    )  # fmt: skip
    return reports + finding


def readiness(system: System) -> Finding:
    """Whether every process is ready in the end."""
    return Finding(expected={"not ready": []}, found={"not ready": system.wait_ready()})


def _reports_of(ledger: Path) -> dict[str, list[Report]]:
    """Device time and status of each acknowledged report, by device."""
    reports: dict[str, list[Report]] = defaultdict(list)
    for entry in read_ledger(ledger):
        if entry.get("kind") == "status":
            reports[entry["serialNumber"]].append((datetime.fromisoformat(entry["timestamp"]), entry["status"]))
    return reports


def _arrived_reports(system: System) -> dict[str, list[Report]]:
    """Likewise, of each report in Kafka, in the order in which they got there; all that the broker had are there by now."""
    reports: dict[str, list[Report]] = defaultdict(list)
    topic = Topic(system, DEVICE_STATUS_REPORTS)
    for record in topic.new_records():
        event = json.loads(record.value() or b"{}")
        reports[event["serialNumber"]].append((datetime.fromisoformat(event["timestamp"]), event["status"]))
    topic.close()
    return reports


def _statuses_in_order_of_arrival(reports: list[Report]) -> list[str]:
    """What a device's statuses were for whoever ignores a report that is not newer than those before it."""
    statuses: list[str] = []
    newest: datetime | None = None
    for timestamp, status in reports:
        if newest is None or timestamp > newest:
            newest = timestamp
            statuses.append(status)
    return [status for status, _ in groupby(statuses)]


def _until_there(system: System, name: str, count: int) -> list[dict[str, Any]]:
    """The records of a topic, once there are as many as expected, and what came in the two seconds after that."""
    topic = Topic(system, name)
    records: list[dict[str, Any]] = []

    def enough() -> bool:
        records.extend(json.loads(record.value() or b"{}") for record in topic.new_records())
        return len(records) >= count

    try:
        system.settled(enough, 120.0)
        system.run_for(2.0)
        enough()
    finally:
        topic.close()
    return records


def _is_chain(transitions: list[dict[str, Any]]) -> bool:
    """Whether they number from 1 without gap or repetition, and each begins where the one before ended."""
    sequences = [each["sequence"] for each in transitions]
    before = ["UNKNOWN", *(each["newStatus"] for each in transitions)]
    return sequences == list(range(1, len(sequences) + 1)) and all(
        each["previousStatus"] == status for each, status in zip(transitions, before, strict=False)
    )
