"""No message that the broker acknowledged is missing in Kafka, whoever is killed."""

import json
from base64 import b64decode
from collections import Counter

import pytest
from confluent_kafka import Producer

from ems_streams.dev.simulator.ledger import read_ledger
from ems_streams.kafka.catalogue import DEVICE_REGISTRY, DEVICE_STATUS_REPORTS, DEVICE_TELEMETRY, dlt_of
from tests.chaos.faults import Kill, ServerKill
from tests.chaos.harness import Load, System, Topic, exactness, maybe_keys, message_keys, put_load, sized, strike, verdict

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7200)]


def arrivals(system: System, load: Load, timeout_s: float = 180.0) -> tuple[set[tuple[str, str]], Counter[tuple[str, str]]]:
    """Acknowledged messages that are missing on device-telemetry after all, and how often each other one is there."""
    missing, seen = message_keys(load.ledger), Counter[tuple[str, str]]()
    topic = Topic(system, DEVICE_TELEMETRY)

    def nothing_missing() -> bool:
        for record in topic.new_records():
            event = json.loads(record.value() or b"{}")
            key = (event.get("serialNumber", ""), event.get("messageId", ""))
            seen[key] += 1
            missing.discard(key)
        return not missing

    try:
        system.settled(nothing_missing, timeout_s)
    finally:
        topic.close()
    return missing, seen


def judge(system: System, load: Load) -> None:
    missing, seen = arrivals(system, load)
    acknowledged, maybe = message_keys(load.ledger), maybe_keys(load.ledger)
    foreign = seen.keys() - acknowledged - maybe
    if missing or foreign:
        print(f"\n{system.name}: missing {sorted(missing)[:5]}, foreign {sorted(foreign)[:5]}, ends {system.ends[:5]}")
    verdict(
        system.name,
        load=str(load),
        faults=system.tell_faults(),
        expected={"in Kafka": len(acknowledged), "missing": 0, "foreign": 0},
        found={"in Kafka": len(acknowledged - missing), "missing": len(missing), "foreign": len(foreign)},
        measured=f"{seen.total() - len(seen)} delivered again",
    )


def test_ingress(system: System) -> None:
    kafka = system.deployment.stack.kafka
    system.start(ingresses=2)
    load = put_load(system, devices=sized(1000, 100), messages=sized(500_000, 20_000), rate=1200)
    outage = ServerKill(system, kafka, away_s=float(sized(120, 8)))
    faults = [Kill(system, "ingress")] * sized(30, 6) + [ServerKill(system, kafka)] * sized(5, 1) + [outage]
    strike(system, load, faults)
    judge(system, load)


def test_mqtt(system: System) -> None:
    system.start(ingresses=1)
    load = put_load(system, devices=sized(1000, 100), messages=sized(300_000, 20_000), rate=1000)
    strike(system, load, [ServerKill(system, system.deployment.stack.mqtt)] * sized(10, 3))
    judge(system, load)


def test_poison(system: System) -> None:
    """Through MQTT from the devices, and straight into Kafka from strangers; ingress and workers are killed meanwhile."""
    system.start(ingresses=1, workers=2)
    load = put_load(system, "--faults", "poison=0.01", devices=sized(1000, 100), messages=sized(200_000, 20_000), rate=700)
    junk = {f"junk-{number}".encode() for number in range(sized(2000, 60))}
    producer = Producer({"bootstrap.servers": system.deployment.stack.kafka_bootstrap, "acks": "all", "enable.idempotence": True})
    waiting = sorted(junk)

    def throw_junk(count: int) -> None:
        for _ in range(min(count, len(waiting))):
            producer.produce(DEVICE_TELEMETRY, key=f"junk-{len(waiting) % 50}".encode(), value=waiting.pop())
        assert producer.flush(30) == 0

    kills = [Kill(system, "ingress")] * sized(20, 4) + [Kill(system, "worker")] * sized(20, 4)
    portion = len(junk) // 10
    strike(system, load, [*kills, *[lambda: throw_junk(portion)] * 9])
    throw_junk(len(junk))
    expected, found, _, _ = exactness(system, load.ledger)

    poison = Counter(b64decode(entry["payload"]) for entry in read_ledger(load.ledger.with_name(load.ledger.name + ".poison")))
    dead = dead_letters(system, poison + Counter(junk))
    lost = poison - dead
    junk_twice_or_never = {payload: dead[payload] for payload in junk if dead[payload] != 1}
    missing, seen = arrivals_without_junk(system, load)
    if lost or junk_twice_or_never:
        print(f"\npoison: lost {list(lost.items())[:5]}, junk {list(junk_twice_or_never.items())[:5]}, ends {system.ends[:5]}")
    verdict(
        "poison",
        load=f"{load}, {poison.total()} poison, {len(junk)} junk records in Kafka",
        faults=system.tell_faults(),
        expected={**expected, "good missing": 0, "poison among the good": 0, "poison not dead": 0, "junk not dead exactly once": 0},
        found={
            **found,
            "good missing": len(missing),
            "poison among the good": len(seen - message_keys(load.ledger) - maybe_keys(load.ledger)),
            "poison not dead": lost.total(),
            "junk not dead exactly once": len(junk_twice_or_never),
        },
    )


def dead_letters(system: System, awaited: Counter[bytes], timeout_s: float = 60.0) -> Counter[bytes]:
    """How often each payload is in the dead letters, once all that is awaited is there."""
    topics = [Topic(system, dlt_of(name)) for name in (DEVICE_TELEMETRY, DEVICE_STATUS_REPORTS, DEVICE_REGISTRY, "device-command-acks")]
    dead = Counter[bytes]()

    def all_there() -> bool:
        dead.update(record.value() or b"" for topic in topics for record in topic.new_records())
        return dead >= awaited

    try:
        system.settled(all_there, timeout_s)
    finally:
        for topic in topics:
            topic.close()
    return dead


def arrivals_without_junk(system: System, load: Load) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """As `arrivals`, for a topic that has junk too."""
    good = set[tuple[str, str]]()
    topic = Topic(system, DEVICE_TELEMETRY)
    for record in topic.new_records():
        value = record.value() or b""
        if not value.startswith(b"junk-"):
            event = json.loads(value)
            good.add((event["serialNumber"], event.get("messageId", "")))
    topic.close()
    return message_keys(load.ledger) - good, good
