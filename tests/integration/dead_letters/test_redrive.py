"""Redrives that are killed, that meet each other, and that are told what they cannot do: each letter goes back once."""

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from confluent_kafka import Consumer, Producer, TopicPartition

from ems_streams.dead_letters.state import read_state
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from ems_streams.settings import Settings
from tests.support.dead_letters import PARTITIONS, Given, letter_of, put, telemetry_value, unique
from tests.support.processes import Deployment, eventually
from tests.support.records import consume

pytestmark = pytest.mark.integration

LETTERS_TOPIC = "device-telemetry-dlt"


def some(serial: str, count: int) -> list[Given]:
    """Letters of twenty devices, whose values are good by now."""
    return [
        letter_of(DEVICE_TELEMETRY, (key := f"{serial}-{number % 20}").encode(), telemetry_value(key, second=number), offset=number)
        for number in range(count)
    ]


def redriven(deployment: Deployment, serial: str) -> list[ConsumerRecord]:
    """What is on the topic of the letters' devices."""
    found = consume(deployment.stack.kafka_bootstrap, DEVICE_TELEMETRY)
    return [each for each in found if each.key.startswith(serial.encode())]


# Ends itself with SIGKILL at its n-th transaction, before or behind the commit: what was sent is on the brokers then.
DYING = """
import os, signal, sys
from aiokafka import AIOKafkaProducer
from ems_streams.cli.main import run

where, number = sys.argv.pop(1), int(sys.argv.pop(1))
commit, commits = AIOKafkaProducer.commit_transaction, 0

async def commit_or_die(self):
    global commits
    commits += 1
    if (commits, where) == (number, "before"):
        await self.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    await commit(self)
    if (commits, where) == (number, "behind"):
        os.kill(os.getpid(), signal.SIGKILL)

AIOKafkaProducer.commit_transaction = commit_or_die
run()
"""


def begun(deployment: Deployment, *arguments: str, program: tuple[str, ...] = ("-m", "ems_streams")) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *program, "dlt", "redrive", *arguments, "--json"],
        env=deployment.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def dlt(deployment: Deployment, *arguments: str, code: int = 0) -> Any:
    done = deployment.command("dlt", *arguments, "--json", check=False)
    assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def newest_redrive(deployment: Deployment) -> str:
    """Id of the newest redrive of the topic."""
    settings = Settings.load(kafka_bootstrap_servers=deployment.stack.kafka_bootstrap)
    found = [each.definition for each in asyncio.run(read_state(settings)).redrives.values() if each.definition.topic == LETTERS_TOPIC]
    return max(found, key=lambda each: each.created_at).redrive_id


def assert_each_once(deployment: Deployment, serial: str, letters: list[Given]) -> None:
    found = redriven(deployment, serial)
    assert Counter((each.key, each.value) for each in found) == Counter((key, value) for _, key, value, _ in letters)
    for record in found:
        headers = dict(record.headers)
        assert headers["dlt-replay-count"] == b"1"
        assert headers["dlt-redriven-from"].startswith(LETTERS_TOPIC.encode())


def test_a_redrive_that_is_killed_around_its_commits_goes_on_and_sends_each_letter_once(deployment: Deployment) -> None:
    serial = unique("KILL")
    letters = some(serial, 160)
    put(deployment.stack.kafka_bootstrap, letters)
    arguments: tuple[str, ...] = (LETTERS_TOPIC, "--rate", "40/s")
    redrive_id = ""
    for where, number in (("before", 3), ("behind", 1), ("before", 1), ("behind", 2)):
        dying = begun(deployment, *arguments, program=("-c", DYING, where, str(number)))
        _, errors = dying.communicate(timeout=60)
        assert dying.returncode == -signal.SIGKILL, errors
        redrive_id = newest_redrive(deployment)
        arguments = ("--resume", redrive_id)
    done = dlt(deployment, "redrive", *arguments)
    assert (done["finished"], done["outcomes"]["sent"]) == (True, len(letters))
    assert_each_once(deployment, serial, letters)
    # Done is done, also for another redrive, and for one that is resumed once more.
    assert dlt(deployment, "redrive", LETTERS_TOPIC)["outcomes"] == {
        "sent": 0, "failedAgain": 0, "quarantined": 0, "refused": 0, "doneBefore": len(letters),
    }  # fmt: skip
    assert dlt(deployment, "redrive", "--resume", redrive_id)["outcomes"]["sent"] == len(letters)
    assert_each_once(deployment, serial, letters)


def test_of_two_redrives_the_later_one_goes_on_and_nothing_is_sent_twice(deployment: Deployment) -> None:
    serial = unique("TWO")
    letters = some(serial, 120)
    put(deployment.stack.kafka_bootstrap, letters)
    first = begun(deployment, LETTERS_TOPIC, "--rate", "30/s")
    eventually(lambda: redriven(deployment, serial), 30, "the first has begun")
    second = dlt(deployment, "redrive", LETTERS_TOPIC)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 1
    assert "another redrive of device-telemetry-dlt has begun" in errors
    assert second["finished"]
    assert 0 < second["outcomes"]["sent"] < len(letters)
    assert_each_once(deployment, serial, letters)


def test_a_rate_is_kept(deployment: Deployment) -> None:
    serial = unique("RATE")
    put(deployment.stack.kafka_bootstrap, some(serial, 30))
    dlt(deployment, "redrive", LETTERS_TOPIC, "--rate", "20/s")
    times_ms = [each.timestamp for each in redriven(deployment, serial)]
    assert len(times_ms) == 30
    # At most a second's letters are sent at once, and before the last of them the others have had their time.
    assert max(times_ms) - min(times_ms) >= (30 - 20) / 20 * 1000


def spring(topic: str, partition: int, key: bytes, value: bytes) -> Given:
    headers = [
        ("kafka_dlt-original-topic", topic.encode()),
        ("kafka_dlt-original-partition", partition.to_bytes(4, "big")),
        ("kafka_dlt-original-offset", (7).to_bytes(8, "big")),
        ("kafka_dlt-original-timestamp", (1_767_000_000_000).to_bytes(8, "big")),
        ("kafka_dlt-exception-fqcn", b"com.example.BadMessage"),
        ("kafka_dlt-exception-message", b"no such thing"),
        ("kafka_dlt-exception-stacktrace", b"at com.example.Reader"),
        ("kafka_dlt-original-consumer-group", b"billing"),
    ]
    return LETTERS_TOPIC, key, value, headers


def test_a_letter_of_spring_is_shown_and_goes_back_to_where_it_came_from(deployment: Deployment) -> None:
    serial = unique("SPRING")
    value = telemetry_value(serial)
    put(deployment.stack.kafka_bootstrap, [spring(DEVICE_TELEMETRY, 2, serial.encode(), value)])
    (found,) = dlt(deployment, "list", LETTERS_TOPIC, "--where", "stage=billing,error-class=com.example.BadMessage")["letters"]
    assert found["original"] == {"topic": DEVICE_TELEMETRY, "partition": 2, "offset": 7, "timestamp": "2025-12-29T09:20:00Z"}
    shown = dlt(deployment, "show", found["topic"], str(found["partition"]), str(found["offset"]))
    assert (shown["stackTrace"], shown["valueText"]) == ("at com.example.Reader", value.decode())
    assert dlt(deployment, "redrive", LETTERS_TOPIC, "--id", f"{found['partition']}/{found['offset']}")["outcomes"]["sent"] == 1
    (record,) = redriven(deployment, serial)
    assert (record.partition, record.value) == (2, value)


@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
def test_letters_that_others_have_compressed_are_read_as_any_other(deployment: Deployment, codec: str) -> None:
    serial = unique(codec.upper())
    producer = Producer({"bootstrap.servers": deployment.stack.kafka_bootstrap, "compression.type": codec, "linger.ms": 200})
    values = [telemetry_value(serial) + b" " * each for each in range(20)]
    for value in values:
        topic, key, content, headers = spring(DEVICE_TELEMETRY, 2, serial.encode(), value)
        producer.produce(topic, content, key, headers=headers)
    assert producer.flush(20) == 0
    assert dlt(deployment, "redrive", LETTERS_TOPIC, "--where", f"serial={serial}")["outcomes"]["sent"] == len(values)
    assert sorted(record.value for record in redriven(deployment, serial)) == sorted(values)


def test_purging_says_what_it_deletes_asks_and_deletes_that(deployment: Deployment) -> None:
    serial = unique("PURGE")
    put(deployment.stack.kafka_bootstrap, some(serial, 40))
    before = starts(deployment)
    asked = deployment.command("dlt", "purge", LETTERS_TOPIC, "--before", "2099-01-01T00:00:00Z", check=False)
    assert asked.returncode == 2
    assert "40 letters of device-telemetry-dlt, 40 of them open" in asked.stderr
    assert "--yes" in asked.stderr
    assert starts(deployment) == before
    partition = next(number for number, (first, end) in before.items() if end - first > 3)
    first = before[partition][0]
    planned = dlt(deployment, "purge", LETTERS_TOPIC, "--before", str(first + 2), "--partition", str(partition), "--dry-run")
    assert (planned["letters"], planned["deleted"]) == (2, False)
    dlt(deployment, "purge", LETTERS_TOPIC, "--before", str(first + 2), "--partition", str(partition), "--yes")
    assert starts(deployment) == {**before, partition: (first + 2, before[partition][1])}
    assert dlt(deployment, "purge", LETTERS_TOPIC, "--before", "2099-01-01T00:00:00Z", "--yes")["letters"] == 38
    assert dlt(deployment, "list", LETTERS_TOPIC)["letters"] == []


def starts(deployment: Deployment) -> dict[int, tuple[int, int]]:
    consumer = Consumer({"bootstrap.servers": deployment.stack.kafka_bootstrap, "group.id": "nobody"})
    try:
        return {number: consumer.get_watermark_offsets(TopicPartition(LETTERS_TOPIC, number), timeout=10) for number in range(PARTITIONS)}
    finally:
        consumer.close()


MISTAKES = [
    (("list", "nothing-dlt"), 1, "does not exist"),
    (("show", "device-telemetry-dlt/0/999999999"), 1, "there is no dead letter device-telemetry-dlt/0/999999999"),
    (("redrive", "--resume", "rd-none"), 1, "there is no redrive 'rd-none'"),
    (("purge", "device-telemetry-dlt", "--before", "5"), 2, "--partition is expected"),
]


def test_what_is_not_there_is_said_in_one_line(deployment: Deployment) -> None:
    for arguments, code, said in MISTAKES:
        done = deployment.command("dlt", *arguments, check=False)
        assert (done.returncode, said in done.stderr, done.stderr.count("\n")) == (code, True, 1), (arguments, done.stderr)
