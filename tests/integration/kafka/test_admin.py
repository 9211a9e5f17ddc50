"""Topics against a real broker: create, alter, refuse, describe, tail. Each test has application id and topics of its own."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from ems_streams.errors import DependencyError, EmsError
from ems_streams.kafka import admin
from ems_streams.kafka.catalogue import Catalogue, Key, leader_topic
from ems_streams.kafka.topic_plan import Action
from ems_streams.settings import Settings

pytestmark = pytest.mark.integration

RUN = "from ems_streams.cli.main import run; run()"


@pytest.fixture
async def settings(kafka_servers: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Settings]:
    """A catalogue whose names are this test's alone, so that other tests' topics stay out of it, and are not touched."""
    prefix = f"t{uuid4().hex[:8]}"

    def isolated(settings: Settings) -> Catalogue:
        catalogue = Catalogue(settings.application_id, settings.partitions)
        topics = [replace(topic, name=f"{prefix}-{topic.name}") for topic in catalogue]
        catalogue._by_name = {topic.name: topic for topic in topics}
        return catalogue

    monkeypatch.setattr(admin, "catalogue_of", isolated)
    settings = Settings.load(kafka_bootstrap_servers=kafka_servers, application_id="app", partitions=2)
    yield settings
    names = [topic.name for topic in isolated(settings)]
    client = AdminClient({"bootstrap.servers": kafka_servers})
    present = await asyncio.to_thread(lambda: client.list_topics(timeout=10).topics.keys() & set(names))
    if present:
        for future in client.delete_topics(list(present)).values():
            await asyncio.wrap_future(future)


def named(settings: Settings, suffix: str) -> str:
    return next(topic.name for topic in admin.catalogue_of(settings) if topic.name.endswith(suffix))


async def test_apply_creates_what_is_missing_and_is_safe_to_repeat(settings: Settings) -> None:
    assert {each.action for each in await admin.plan_topics(settings)} == {Action.CREATE}

    applied = await admin.apply_topics(settings)

    assert {each.action for each in applied} == {Action.CREATE}
    assert {each.action for each in await admin.plan_topics(settings)} == {Action.NONE}
    assert {each.action for each in await admin.apply_topics(settings)} == {Action.NONE}
    assert await admin.missing_topics(settings, [each.name for each in applied]) == []


async def test_created_topics_are_as_the_catalogue_says(settings: Settings) -> None:
    await admin.apply_topics(settings)

    dead_letters = await admin.describe(settings, named(settings, "device-telemetry-dlt"))

    assert dead_letters.overrides["max.message.bytes"] == str(5 * 1024 * 1024)
    assert dead_letters.overrides["cleanup.policy"] == "delete"
    assert [each.partition for each in dead_letters.partitions] == [0, 1]
    assert all(each.leader >= 0 and each.in_sync for each in dead_letters.partitions)
    assert len((await admin.describe(settings, named(settings, leader_topic("app")))).partitions) == 1


async def test_two_at_once_do_not_disturb_each_other(settings: Settings) -> None:
    await asyncio.gather(*(admin.apply_topics(settings) for _ in range(3)))

    assert {each.action for each in await admin.plan_topics(settings)} == {Action.NONE}


async def test_apply_alters_what_differs_and_keeps_what_others_have_set(settings: Settings) -> None:
    await admin.apply_topics(settings)
    name = named(settings, "device-status")
    await set_config(settings, name, {"retention.ms": "5000", "segment.bytes": "1048576"})

    (altered,) = [each for each in await admin.apply_topics(settings) if each.action is Action.ALTER]

    assert [(each.setting, each.current) for each in altered.changes] == [("retention.ms", "5000")]
    overrides = (await admin.describe(settings, name)).overrides
    assert (overrides["retention.ms"], overrides["segment.bytes"]) == (str(30 * 86_400_000), "1048576")


async def test_apply_leaves_every_partition_count_alone(settings: Settings) -> None:
    await admin.apply_topics(settings)
    more = settings.model_copy(update={"partitions": 3})

    refused = [each for each in await admin.apply_topics(more) if each.refusals]

    assert len(refused) == sum(topic.key is not Key.NONE for topic in admin.catalogue_of(settings)) > 0
    assert {each.action for each in await admin.plan_topics(settings)} == {Action.NONE}


async def test_an_existing_topic_with_other_partitions_is_refused_while_the_rest_is_created(settings: Settings) -> None:
    name = named(settings, "device-telemetry")
    client = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    await asyncio.wrap_future(client.create_topics([NewTopic(name, 5, 1)])[name])
    async with asyncio.timeout(10):
        while await admin.missing_topics(settings, [name]):
            await asyncio.sleep(0.05)

    applied = {each.name: each for each in await admin.apply_topics(settings)}

    assert [each.setting for each in applied[name].refusals] == ["partitions"]
    assert {each.action for each in applied.values() if each.name != name} == {Action.CREATE}
    assert len((await admin.describe(settings, name)).partitions) == 5


async def test_too_many_replicas_names_the_setting(settings: Settings) -> None:
    with pytest.raises(EmsError, match="EMS_REPLICATION_FACTOR=3"):
        await admin.apply_topics(settings.model_copy(update={"replication_factor": 3}))


async def test_missing_topics_are_named(settings: Settings) -> None:
    assert await admin.missing_topics(settings, ["no-such-b", "no-such-a"]) == ["no-such-a", "no-such-b"]


async def test_an_unknown_topic_cannot_be_described(settings: Settings) -> None:
    with pytest.raises(EmsError, match="topic no-such does not exist"):
        await admin.describe(settings, "no-such")


async def test_unreachable_names_the_servers_and_the_setting_in_time(unused_tcp_port: int, capfd: pytest.CaptureFixture[str]) -> None:
    settings = Settings.load(kafka_bootstrap_servers=f"127.0.0.1:{unused_tcp_port}")

    async with asyncio.timeout(12):
        with pytest.raises(DependencyError, match=rf"127.0.0.1:{unused_tcp_port} \(EMS_KAFKA_BOOTSTRAP_SERVERS\)"):
            await admin.plan_topics(settings)

    assert capfd.readouterr().err == ""


async def test_tail_prints_what_is_there(settings: Settings) -> None:
    await admin.apply_topics(settings)
    name = named(settings, "device-telemetry")
    values = [b'{"serialNumber":"A"}', b"\xff\xfe", None, b'{"serialNumber":"B"}']
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "acks": "all"})
    for number, value in enumerate(values):
        producer.produce(name, value, key=b"A" if number < 3 else b"B", partition=1, headers={"n": str(number).encode()})
    assert await asyncio.to_thread(producer.flush, 20) == 0

    everything = await tail(settings, name, "--from-beginning", "--limit", "4")
    of_b = await tail(settings, name, "--from-beginning", "--limit", "1", "--device", "B")

    assert [(each["partition"], each["offset"], each["key"], each["headers"]) for each in everything] == [
        (1, 0, "A", {"n": "0"}),
        (1, 1, "A", {"n": "1"}),
        (1, 2, "A", {"n": "2"}),
        (1, 3, "B", {"n": "3"}),
    ]
    assert [each["value"] for each in everything] == [{"serialNumber": "A"}, {"base64": "//4="}, None, {"serialNumber": "B"}]
    assert of_b == everything[3:]


async def test_a_retention_that_would_delete_records_is_left_alone_until_that_is_allowed(settings: Settings) -> None:
    await admin.apply_topics(settings)
    name = named(settings, "device-status")
    await set_config(settings, name, {"retention.ms": "-1", "compression.type": "zstd"})

    (careful,) = [each for each in await admin.apply_topics(settings) if each.differences]
    kept = (await admin.describe(settings, name)).overrides
    await admin.apply_topics(settings, allow_record_loss=True)

    assert [each.setting for each in careful.changes] == ["compression.type"]
    assert [(each.setting, each.current) for each in careful.refusals] == [("retention.ms", "-1")]
    assert (kept["retention.ms"], kept["compression.type"]) == ("-1", "producer")
    assert (await admin.describe(settings, name)).overrides["retention.ms"] == str(30 * 86_400_000)


async def test_topics_that_look_like_ours_are_found(settings: Settings) -> None:
    await admin.apply_topics(settings)
    name = f"{named(settings, 'device-telemetry')}-copy"
    client = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    await asyncio.wrap_future(client.create_topics([NewTopic(name, 1, 1)])[name])
    try:
        async with asyncio.timeout(10):
            while await admin.missing_topics(settings, [name]):
                await asyncio.sleep(0.05)
        assert [each.name for each in await admin.find_unknown_topics(settings) if each.name.startswith(name[:9])] == [name]
    finally:
        await asyncio.wrap_future(client.delete_topics([name])[name])


async def test_tail_finds_records_by_place_time_and_content(settings: Settings) -> None:
    await admin.apply_topics(settings)
    name = named(settings, "device-status")
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "acks": "all"})
    # Kafka removes what is older than the retention of the topic.
    base_ms = (time.time_ns() // 1_000_000) - 1_000_000
    for number in range(200):
        value = {"serialNumber": f"D-{number % 4}", "n": number, "data": {"even": number % 2 == 0}}
        producer.produce(name, json.dumps(value), key=f"D-{number % 4}", partition=number % 2, timestamp=base_ms + number * 1000)
    assert await asyncio.to_thread(producer.flush, 20) == 0
    since = datetime.fromtimestamp((base_ms + 190_000) / 1000, UTC).isoformat()

    last, rare, late, everything = await asyncio.gather(
        tail(settings, name, "--no-follow", "-n", "3"),
        tail(settings, name, "--no-follow", "-n", "2", "--where", "n<10", "--where", "data.even=true"),
        tail(settings, name, "--no-follow", "--since", since, "--key", "D-3"),
        tail(settings, name, "--no-follow", "--grep", '"n": 1[0-9]5,'),
    )

    assert [each["value"]["n"] for each in last] == [197, 198, 199]
    assert [each["value"]["n"] for each in rare] == [6, 8]
    assert [each["value"]["n"] for each in late] == [191, 195, 199]
    assert sorted(each["value"]["n"] for each in everything) == [105, 115, 125, 135, 145, 155, 165, 175, 185, 195]


async def test_tail_follows_until_it_is_interrupted_and_leaves_no_traceback(settings: Settings) -> None:
    await admin.apply_topics(settings)
    name = named(settings, "device-status")
    process = await asyncio.create_subprocess_exec(
        # Whoever runs the tests in the background may have them ignore the signal, which is inherited.
        *(sys.executable, "-c", f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {RUN}"),
        *("topics", "tail", name, "--json", "-n", "1"),
        env={"EMS_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "acks": "all"})
    seen = asyncio.create_task(process.stdout.readline())
    try:
        async with asyncio.timeout(30):
            # It may take a moment until the reader is there; nothing before that counts as missed.
            while not seen.done():
                producer.produce(name, b"1", partition=0)
                await asyncio.to_thread(producer.flush, 20)
                await asyncio.wait((seen,), timeout=0.3)
            assert seen.result(), f"it has ended by itself: {(await process.stderr.read()).decode()}"
            process.send_signal(signal.SIGINT)
            _, errors = await process.communicate()
    finally:
        seen.cancel()
        await asyncio.gather(seen, return_exceptions=True)
        if process.returncode is None:
            process.kill()
            await process.communicate()

    assert json.loads(seen.result())["value"] == 1
    assert (process.returncode, errors) == (130, b"")


async def test_a_topic_that_is_not_there_is_named_with_those_that_are_like_it(settings: Settings) -> None:
    await admin.apply_topics(settings)
    name = named(settings, "device-status")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ems_streams", "topics", "tail", f"{name}x", "--no-follow"),
        env={"EMS_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers},
        stderr=subprocess.PIPE,
    )
    _, errors = await process.communicate()

    assert process.returncode == 1
    assert f"topic {name}x does not exist; there is {name}" in errors.decode()
    assert f"{name}x" in await admin.missing_topics(settings, [f"{name}x"]), "reading must not create it"


async def tail(settings: Settings, topic: str, *options: str) -> list[dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ems_streams", "topics", "tail", topic, "--json", *options),
        env={"EMS_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers},
        stdout=subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        printed, _ = await process.communicate()
    assert process.returncode == 0
    return [json.loads(line) for line in printed.splitlines()]


async def set_config(settings: Settings, topic: str, config: dict[str, str]) -> None:
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    client = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    await asyncio.wrap_future(client.incremental_alter_configs([resource])[resource])
    async with asyncio.timeout(10):
        while not config.items() <= (await admin.describe(settings, topic)).overrides.items():
            await asyncio.sleep(0.05)
