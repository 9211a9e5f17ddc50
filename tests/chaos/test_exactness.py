"""Aggregates, transitions and notifications equal the truth of the ledger, whatever is done to the workers."""

import json
from collections import Counter, defaultdict
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from ems_streams.dev.simulator.ledger import read_ledger
from ems_streams.kafka.catalogue import DEVICE_NOTIFICATIONS, DEVICE_STATUS
from tests.chaos.faults import Kill, Pause, RollingRestart, WipeDataDirs
from tests.chaos.harness import System, Topic, exactness, put_load, sized, strike, verdict

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7200)]


def test_aggregates(system: System) -> None:
    system.start(ingresses=1, workers=3)
    first = put_load(system, devices=sized(1000, 60), messages=sized(300_000, 10_000), rate=1000, prefix="A")
    strike(system, first, [Kill(system, "worker")] * sized(50, 6))
    _judge(system, "aggregates after kills", str(first), first.ledger)

    WipeDataDirs(system)()
    _judge(system, "aggregates after wiping", str(first), first.ledger)

    second = put_load(system, devices=sized(1000, 60), messages=sized(1_000_000, 20_000), rate=1000, prefix="B")
    strike(system, second, [Pause(system, "worker")] * sized(10, 2) + [RollingRestart(system, "worker")])
    _judge(system, "aggregates after pauses", f"{first} and {second}", first.ledger, second.ledger)


def _judge(system: System, name: str, load: str, *ledgers: Path) -> None:
    expected, found, wrong, took_s = exactness(system, *ledgers)
    if wrong:
        print(f"\n{name}: ends {system.ends}")
    verdict(name, load=load, faults=system.tell_faults(), expected=expected, found=found, measured=f"after {took_s:.1f} s")


def test_transitions(system: System) -> None:
    system.start(ingresses=1, workers=3)
    # Devices flap every 10 to 40 s of their own time, which passes faster here.
    options = ("--faults", "flapping=1", "--ledger-status", "--speed", "5")
    load = put_load(system, *options, devices=sized(1000, 50), messages=sized(100_000, 12_000), rate=400)
    strike(system, load, [Kill(system, "worker")] * sized(50, 6) + [Pause(system, "worker")])
    truth = _true_statuses(load.ledger)
    count = sum(len(statuses) for statuses in truth.values())
    transitions = _until_there(system, DEVICE_STATUS, count)
    notifications = Counter(each["data"]["eventId"] for each in _until_there(system, DEVICE_NOTIFICATIONS, count))
    event_ids = Counter(each["eventId"] for each in transitions)
    by_device: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for transition in transitions:
        by_device[transition["serialNumber"]].append(transition)
    other = {serial for serial in truth | by_device if [each["newStatus"] for each in by_device.get(serial, [])] != truth.get(serial)}
    if other:
        serial = min(other)
        print(f"\ntransitions: {serial} {[each['newStatus'] for each in by_device.get(serial, [])]}, truth {truth.get(serial)}")
    verdict(
        "transitions",
        load=f"{load}, {count} true transitions",
        faults=system.tell_faults(),
        expected={
            "transitions": count, "event ids": count, "broken chains": 0, "devices with other statuses": 0,
            "notifications": count, "events not notified exactly once": 0,
        },
        found={
            "transitions": len(transitions),
            "event ids": len(event_ids),
            "broken chains": sum(not _is_chain(chain) for chain in by_device.values()),
            "devices with other statuses": len(other),
            "notifications": notifications.total(),
            "events not notified exactly once": sum(notifications[each] != 1 for each in event_ids | notifications),
        },
    )  # fmt: skip


def _true_statuses(ledger: Path) -> dict[str, list[str]]:
    """What each device's statuses were one after the other; what it reports again without a change is none."""
    reports: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for entry in read_ledger(ledger):
        if entry.get("kind") == "status":
            reports[entry["serialNumber"]].append((entry["timestamp"], entry["status"]))
    return {serial: [status for status, _ in groupby(status for _, status in sorted(each))] for serial, each in reports.items()}


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
