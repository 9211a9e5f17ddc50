"""Broken set-ups, each with real servers: doctor finds what is wrong, and what it advises mends it."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from ems_streams.ops.doctor.findings import Finding
from ems_streams.processes.doctor import services
from ems_streams.processes.doctor.run import diagnose
from ems_streams.settings import Settings
from tests.support.mosquitto import find_mosquitto
from tests.support.processes import Deployment, eventually

pytestmark = pytest.mark.integration
MOSQUITTO = find_mosquitto()

GIB = 1024**3
ROOMY = {"disk": lambda _: (100 * GIB, 50 * GIB)}


@contextlib.contextmanager
def environment(deployment: Deployment, **more: str) -> Iterator[None]:
    """This process has the environment of the deployment's processes."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(deployment.environment(**more))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


async def look(deployment: Deployment, *only: str, context: dict[str, Any] | None = None, **settings: str) -> list[Finding]:
    with environment(deployment, **settings):
        return (await diagnose(Settings.load(), only, **{**ROOMY, **(context or {})})).findings


def codes(findings: list[Finding]) -> set[str]:
    return {each.code for each in findings}


def of_kind(findings: list[Finding], code: str) -> Finding:
    found = [each for each in findings if each.code == code]
    assert found, f"{code} is not among {findings}"
    return found[0]


def carry_out(deployment: Deployment, finding: Finding, **environment: str) -> None:
    """Run what is advised, as a person would."""
    program, *arguments = finding.command
    assert program == "ems-streams"
    before = deployment.extra
    deployment.extra = {**before, **environment}
    try:
        deployment.command(*arguments)
    finally:
        deployment.extra = before


async def test_what_does_not_run_is_found_and_starting_it_as_advised_makes_all_well(system: Deployment) -> None:
    start = {("ems-streams", "worker"): system.worker, ("ems-streams", "ingress"): system.ingress, ("ems-streams", "sink"): system.sink}
    start[("ems-streams", "gateway")] = system.gateway

    findings = await look(system)
    assert codes(findings) - {"topic-unknown"} == {"workers-none", "ingress-silent", "sink-none", "gateway-unreachable"}
    for each in findings:
        if each.command:
            start[each.command]()
    for process in system.running:
        process.wait_until_ready()

    deadline_s = time.monotonic() + 30
    while problems := codes(await look(system)) - {"topic-unknown", "state-stale"}:
        assert time.monotonic() < deadline_s, problems
        await asyncio.sleep(0.5)


@pytest.fixture
def running(system: Deployment) -> Deployment:
    """All processes run."""
    if not system.running:
        for process in (system.worker(), system.ingress(), system.sink(), system.gateway()):
            process.wait_until_ready()
    return system


async def test_as_a_command_it_says_that_all_is_well(running: Deployment) -> None:
    done = running.command(
        "doctor", "--only", "topics", "--only", "schema", "--only", "mqtt", "--only", "workers", "--only", "ingress", "--json"
    )
    found = json.loads(done.stdout)

    assert found["ok"] is True
    assert {each["check"]: each["outcome"] for each in found["checks"] if each["check"] != "topics"} == {
        "kafka": "well", "mqtt": "well", "postgres": "well", "schema": "well", "ingress": "well", "workers": "well",
    }  # fmt: skip
    facts = {each["check"]: each["facts"] for each in found["checks"]}
    assert facts["kafka"]["kafka"] == "4.0 or later"
    assert facts["postgres"]["postgres"].startswith("18")
    assert facts["workers"]["members"] == 1


@pytest.mark.parametrize(
    ("server", "code"),
    [("127.0.0.1:{free}", "kafka-refused"), ("127.0.0.1:{postgres}", "kafka-not-kafka"), ("no-such-host.invalid:9092", "dns-unknown")],
)
async def test_a_kafka_that_is_not_there(system: Deployment, unused_tcp_port: int, server: str, code: str) -> None:
    wrong = server.format(free=unused_tcp_port, postgres=system.stack.ports.postgres)

    findings = await look(system, "topics", "workers", EMS_KAFKA_BOOTSTRAP_SERVERS=wrong)

    assert codes(findings) == {code}
    assert "EMS_KAFKA_BOOTSTRAP_SERVERS" in findings[0].advice
    assert codes(await look(system, "kafka")) == set()


async def test_a_kafka_that_hangs_is_not_taken_for_something_else(system: Deployment) -> None:
    # The kernel takes connections, and nobody reads what comes.
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        addresses = ",".join([f"127.0.0.1:{hanging.getsockname()[1]}"] * 3)
        findings = await look(system, "kafka", EMS_KAFKA_BOOTSTRAP_SERVERS=addresses)

    assert codes(findings) == {"kafka-silent"}, findings


async def test_one_bootstrap_server_of_two_is_enough_and_the_other_is_named(system: Deployment, unused_tcp_port: int) -> None:
    servers = f"127.0.0.1:{unused_tcp_port},{system.stack.kafka_bootstrap}"

    findings = await look(system, "topics", EMS_KAFKA_BOOTSTRAP_SERVERS=servers)

    assert codes(findings) - {"topic-unknown"} == {"kafka-refused"}
    assert str(unused_tcp_port) in findings[0].what


async def test_a_missing_topic_is_made_by_what_is_advised(system: Deployment) -> None:
    name = f"{system.application_id}-deliveries-changelog"
    client = AdminClient({"bootstrap.servers": system.stack.kafka_bootstrap})
    await asyncio.wrap_future(client.delete_topics([name])[name])
    await asyncio.to_thread(eventually, lambda: name not in client.list_topics(timeout=10).topics, 20, "the topic is gone")

    findings = await look(system, "topics")
    missing = of_kind(findings, "topics-missing")
    carry_out(system, missing)

    assert missing.found == f"1 missing: {name}"
    assert codes(await look(system, "topics")) <= {"topic-unknown"}


@pytest.mark.parametrize(
    ("setting", "value", "wanted", "code"),
    [("retention.ms", "60000", "2592000000", "topic-settings"), ("cleanup.policy", "compact", "delete", "topic-loses-records")],
)
async def test_a_topic_that_is_set_up_wrongly_is_mended_by_what_is_advised(
    system: Deployment, setting: str, value: str, wanted: str, code: str
) -> None:
    client = AdminClient({"bootstrap.servers": system.stack.kafka_bootstrap})
    entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, "device-commands-dlt", incremental_configs=[entry])
    await asyncio.wrap_future(client.incremental_alter_configs([resource])[resource])
    wrong: list[Finding] = []
    deadline_s = time.monotonic() + 10
    while not (wrong := [each for each in await look(system, "topics") if each.code == code]):
        assert time.monotonic() < deadline_s
    carry_out(system, wrong[0])

    assert f"device-commands-dlt: {setting}={value} instead of {wanted}" in wrong[0].found
    assert codes(await look(system, "topics")) <= {"topic-unknown"}


async def test_a_wrong_partition_count_names_the_one_that_the_cluster_has(system: Deployment) -> None:
    found = of_kind(await look(system, "topics", EMS_PARTITIONS="5"), "topic-partitions")
    advised = found.advice.partition("EMS_PARTITIONS=")[2].partition(" ")[0]

    assert codes(await look(system, "topics", EMS_PARTITIONS=advised)) <= {"topic-unknown"}


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("postgresql://ems:ems@127.0.0.1:{free}/ems", "postgres-unreachable"),
        ("postgresql://ems:ems@127.0.0.1:{postgres}/nowhere", "postgres-database"),
        ("postgresql://ems:ems@no-such-host.invalid:5432/ems", "dns-unknown"),
        ("postgresql://ems:wrong@127.0.0.1:{postgres}/ems", "postgres-login"),
        ("postgresql://ems:ems@127.0.0.1:{postgres}/ems?sslmode=require", "postgres-tls"),
        ("postgresql://ems:ems@127.0.0.1:{kafka}/ems", "postgres-unreachable"),
    ],
)
async def test_a_postgres_that_is_not_there(system: Deployment, unused_tcp_port: int, url: str, code: str) -> None:
    ports = system.stack.ports
    wrong = url.format(free=unused_tcp_port, postgres=ports.postgres, kafka=ports.kafka)

    findings = await look(system, "schema", EMS_DATABASE_URL=wrong)

    assert codes(findings) == {code}
    assert "wrong" not in str(findings)


async def test_a_user_without_rights_or_without_a_connection_left(system: Deployment) -> None:
    role = f"doctor_{uuid.uuid4().hex[:8]}"
    url = f"postgresql://{role}:secret@{system.stack.database_url.rpartition('@')[2]}"
    connection = await asyncpg.connect(system.stack.database_url)
    try:
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
        assert codes(await look(system, "schema", EMS_DATABASE_URL=url)) == {"postgres-rights"}
        await connection.execute(f"ALTER ROLE {role} CONNECTION LIMIT 0")
        assert codes(await look(system, "schema", EMS_DATABASE_URL=url)) == {"postgres-full"}
    finally:
        await connection.execute(f"DROP ROLE {role}")
        await connection.close()


@pytest.fixture
async def empty_database(system: Deployment) -> AsyncIterator[str]:
    """A database with nothing in it; its URL."""
    name = f"doctor_{uuid.uuid4().hex[:8]}"
    connection = await asyncpg.connect(system.stack.database_url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        yield system.stack.database_url.rpartition("/")[0] + f"/{name}"
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


async def test_a_schema_that_is_missing_or_of_another_release(system: Deployment, empty_database: str) -> None:
    missing = of_kind(await look(system, "schema", EMS_DATABASE_URL=empty_database), "schema-missing")
    carry_out(system, missing, EMS_DATABASE_URL=empty_database)
    assert codes(await look(system, "schema", EMS_DATABASE_URL=empty_database)) == set()

    connection = await asyncpg.connect(empty_database)
    try:
        for revision, code in (("9999", "schema-newer"), ("0000", "schema-old")):
            await connection.execute("UPDATE alembic_version SET version_num = $1", revision)
            assert codes(await look(system, "schema", EMS_DATABASE_URL=empty_database)) == {code}
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"EMS_MQTT_URL": "mqtt://127.0.0.1:{free}"}, "mqtt-unreachable"),
        ({"EMS_MQTT_URL": "mqtt://no-such-host.invalid"}, "dns-unknown"),
        ({"EMS_MQTT_URL": "mqtt://127.0.0.1:{kafka}"}, "mqtt-protocol"),
        ({"EMS_MQTT_URL": "mqtts://127.0.0.1:{mqtt}"}, "mqtt-protocol"),
    ],
)
async def test_an_mqtt_broker_that_cannot_be_used(system: Deployment, unused_tcp_port: int, settings: dict[str, str], code: str) -> None:
    ports = system.stack.ports
    filled = {name: value.format(free=unused_tcp_port, kafka=ports.kafka, mqtt=ports.mqtt) for name, value in settings.items()}

    findings = await look(system, "mqtt", **filled)

    assert codes(findings) == {code}
    assert codes(await look(system, "mqtt")) == set()


@pytest.fixture
async def strict_broker(tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[str]:
    """An MQTT broker that wants a password; its URL."""
    assert MOSQUITTO is not None
    passwords = tmp_path / "passwords"
    subprocess.run([MOSQUITTO.passwd, "-b", "-c", str(passwords), "ems", "right"], check=True, capture_output=True)
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {unused_tcp_port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\nuser root\n")
    broker = await asyncio.create_subprocess_exec(MOSQUITTO.broker, "-c", str(config), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield f"mqtt://127.0.0.1:{unused_tcp_port}"
    broker.terminate()
    await broker.wait()


@pytest.mark.skipif(MOSQUITTO is None, reason="the embedded broker takes every login")
async def test_a_wrong_password_of_mqtt(system: Deployment, strict_broker: str) -> None:
    wrong = {"EMS_MQTT_URL": strict_broker, "EMS_MQTT_USERNAME": "ems", "EMS_MQTT_PASSWORD": "wrong-one"}
    deadline_s = time.monotonic() + 10
    while (findings := await look(system, "mqtt", **wrong)) and findings[0].code == "mqtt-unreachable":
        assert time.monotonic() < deadline_s, "the broker starts"

    assert codes(findings) == {"mqtt-login"}
    assert "wrong-one" not in str(findings)
    assert codes(await look(system, "mqtt", EMS_MQTT_URL=strict_broker)) == {"mqtt-login"}
    assert codes(await look(system, "mqtt", **{**wrong, "EMS_MQTT_PASSWORD": "right"})) == set()


async def test_a_clock_that_differs_is_found_at_every_server(running: Deployment) -> None:
    ahead = {"now_s": lambda: time.time() + 120}

    findings = [each for each in await look(running, "postgres", "ingress", "workers-http", context=ahead) if each.code == "clock-differs"]

    assert {each.what.partition(" at ")[0] for each in findings} == {
        "the clock of PostgreSQL differs",
        "the clock of the Kafka broker differs",
        "the clock of the worker",
    }
    assert all(each.found.startswith(("120", "119", "121")) and "behind" in each.found for each in findings)


async def test_lag_is_found_and_a_worker_takes_it_away(running: Deployment) -> None:
    producer = Producer({"bootstrap.servers": running.stack.kafka_bootstrap, "acks": "all"})
    worker = next(each for each in running.running if each.name == "worker-0")
    assert worker.terminate() == 0
    running.running.remove(worker)
    value = {
        "deviceId": 1,
        "serialNumber": "LAG-1",
        "siteId": 1,
        "deviceType": "METER",
        "telemetryData": {"powerKw": 1.0},
        "eventType": "DEVICE_TELEMETRY",
    }
    for number in range(100):
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 300 + number))
        stored_ms = int((time.time() - 300 + number) * 1000)
        producer.produce("device-telemetry", json.dumps({**value, "timestamp": moment}), key="LAG-1", partition=0, timestamp=stored_ms)
    assert await asyncio.to_thread(producer.flush, 20) == 0

    deadline_s = time.monotonic() + 30
    # Its membership is a static one: it ends with its session.
    while codes(behind := await look(running, "workers")) != {"workers-none", "group-behind"}:
        assert time.monotonic() < deadline_s, behind
        await asyncio.sleep(0.5)
    assert "device-telemetry" in of_kind(behind, "group-behind").found
    running.worker().wait_until_ready()

    deadline_s = time.monotonic() + 30
    while problems := codes(await look(running, "workers")):
        assert time.monotonic() < deadline_s, problems
        await asyncio.sleep(0.5)


async def test_a_disk_that_fills_and_state_that_nobody_uses(running: Deployment) -> None:
    (running.directory / "worker-9" / "v1" / "tables").mkdir(parents=True, exist_ok=True)

    low = await look(running, "disk", "state", context={"disk": lambda _: (100 * GIB, GIB)})
    stale = of_kind(low, "state-stale")
    Path(stale.found.partition(" with ")[0]).joinpath("v1/tables").rmdir()

    assert codes(low) == {"disk-full", "state-stale"}
    assert stale.what == "no worker 'worker-9' runs"
    assert codes(await look(running, "disk", "state")) == set()


async def test_an_address_of_a_worker_that_does_not_answer_and_a_release_that_differs(
    running: Deployment, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = f"http://127.0.0.1:{unused_tcp_port}"
    urls = f"{stale},http://127.0.0.1:{running.ports.worker}"

    (found,) = await look(running, "workers-http", EMS_WORKER_URLS=urls)
    assert (found.code, stale in found.what) == ("worker-url-stale", True)
    monkeypatch.setattr(services, "__version__", "9.9.9")
    (found,) = await look(running, "workers-http")
    assert (found.code, found.expected) == ("version-differs", "9.9.9")


def test_wrong_settings_are_told_all_at_once(system: Deployment) -> None:
    system_extra = {
        **system.extra,
        "EMS_PARTITIONS": "many",
        "EMS_WORKER_PORT": "0",
        "EMS_MQTT_PASSWORD": "secret",
        "EMS_LOG_LEVEL": "loud",
    }
    before, system.extra = system.extra, system_extra
    try:
        done = system.command("doctor", "--json", check=False)
        said = system.command("doctor", check=False)
    finally:
        system.extra = before

    found = json.loads(done.stdout)["findings"]
    assert (done.returncode, said.returncode) == (1, 1)
    assert [(each["code"], each["found"], each["what"].split()[0]) for each in found] == [
        ("setting-invalid", "'many'", "EMS_PARTITIONS"),
        ("setting-invalid", "'0'", "EMS_WORKER_PORT"),
        ("setting-invalid", "'loud'", "EMS_LOG_LEVEL"),
    ]
    assert "secret" not in done.stdout + said.stdout


def test_when_nothing_is_reached_the_exit_code_says_so(system: Deployment, unused_tcp_port: int) -> None:
    nowhere = f"127.0.0.1:{unused_tcp_port}"
    before = system.extra
    system.extra = {
        **before,
        "EMS_KAFKA_BOOTSTRAP_SERVERS": nowhere,
        "EMS_MQTT_URL": f"mqtt://{nowhere}",
        "EMS_DATABASE_URL": f"postgresql://ems:hidden@{nowhere}/ems",
        "EMS_PARTITONS": "4",
    }
    try:
        done = system.command("doctor", check=False)
    finally:
        system.extra = before

    assert done.returncode == 3, done.stdout
    assert {"kafka-refused", "mqtt-unreachable", "postgres-unreachable", "setting-misspelt"} <= set(done.stdout.replace(":", " ").split())
    assert "skipped  topics" in done.stdout
    assert "hidden" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
