"""Alerts about Kafka, MQTT and PostgreSQL that are away, slow or refuse: each fires, and is over by what the runbook advises."""

import asyncio
import itertools
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import mqtt5
import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from ems_streams.dev.stack import EmbeddedStack
from ems_streams.kafka.catalogue import CHANGELOG_MAX_MESSAGE_BYTES, DEVICE_AGGREGATES_TABLE
from tests.chaos.everything import everything
from tests.chaos.faults import ServerKill
from tests.chaos.harness import System
from tests.chaos.rehearsal import Rehearsal, needs_prometheus, rehearsing
from tests.chaos.test_alerts_processes import down, up
from tests.support.processes import get
from tests.support.sink import publish, record_of, site_window_of

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800), needs_prometheus]

SETTLED_S = 15.0


def test_alerts_of_servers(system: System, tmp_path: Path) -> None:
    with everything(system, tmp_path), rehearsing(system, tmp_path, "Kafka, MQTT and PostgreSQL") as rehearsal:
        system.run_for(SETTLED_S)
        rehearsal.play(
            {
                "mqtt_silent": lambda: _mqtt_silent(rehearsal),
                "mqtt_away": lambda: _mqtt_away(rehearsal),
                "postgres_away": lambda: _postgres_away(rehearsal),
                "postgres_locked": lambda: _postgres_locked(rehearsal),
                "kafka_refuses": lambda: _kafka_refuses(rehearsal),
                "kafka_slow": lambda: _kafka_slow(rehearsal),
                "kafka_away": lambda: _kafka_away(rehearsal),
            }
        )


def _mqtt_silent(rehearsal: Rehearsal) -> None:
    """A broker that takes connections and answers nothing: commands are on their way to it and stay there."""
    system = rehearsal.system
    broker = system.deployment.stack.mqtt
    serial = _some_device(rehearsal)
    pause(broker.pid)
    try:
        _ask(rehearsal, serial)
        rehearsal.fires("EmsCommandsBlocked", "MQTT broker stopped (SIGSTOP) with a command on its way to it")
    finally:
        ServerKill(system, broker)()
    rehearsal.fires("EmsCommandDeliveryUnknown", "MQTT broker killed with a command on its way to it, so that its sessions are lost")
    rehearsal.ends("EmsCommandsBlocked", "MQTT broker started again")


def _mqtt_away(rehearsal: Rehearsal) -> None:
    system = rehearsal.system
    outage = ServerKill(system, system.deployment.stack.mqtt)
    outage.down()
    try:
        for alert in ("EmsMqttDisconnected", "EmsCommandsBlocked", "EmsNotReady", "EmsHeartbeatsMissing", "EmsIngestStopped"):
            rehearsal.fires(alert, "MQTT broker killed")
    finally:
        outage.up()
    for alert in ("EmsMqttDisconnected", "EmsCommandsBlocked", "EmsNotReady", "EmsHeartbeatsMissing", "EmsIngestStopped"):
        rehearsal.ends(alert, "MQTT broker started again")


def _postgres_away(rehearsal: Rehearsal) -> None:
    system = rehearsal.system
    outage = ServerKill(system, system.deployment.stack.postgres)
    serial, numbers = _some_device(rehearsal), itertools.count()

    def ask() -> None:
        get(f"{system['gateway'].url}/api/v1/devices/{serial}/aggregates?window=1m&limit=5")

    def more() -> None:
        some = itertools.islice(numbers, 500)
        events = (site_window_of(number % 900 + 100, number % 1440, 1, eventId=f"behind-{number}") for number in some)
        publish(system.deployment.stack.kafka_bootstrap, map(record_of, events), system.deployment.partitions)

    outage.down()
    try:
        rehearsal.fires("EmsHistoryAway", "PostgreSQL killed, and the gateway asked for windows", look=ask)
        rehearsal.fires("EmsBreakerOpen", "PostgreSQL killed")
        for alert in ("EmsLagGrowing", "EmsSinkBehind"):
            rehearsal.fires(alert, "PostgreSQL away, and some hundred windows of sites a second", look=more, within_s=240)
    finally:
        outage.up()
    for alert in ("EmsBreakerOpen", "EmsSinkBehind", "EmsLagGrowing"):
        rehearsal.ends(alert, "PostgreSQL started again")
    rehearsal.ends("EmsHistoryAway", "the same, and asked again", look=ask)


def _postgres_locked(rehearsal: Rehearsal) -> None:
    """Somebody holds a lock on a table that the sink writes."""
    system, deployment = rehearsal.system, rehearsal.system.deployment
    down(system, "sink-0")
    up(system, "sink-0", lambda: deployment.sink(EMS_SINK_WRITE_TIMEOUT_S="1"))
    system.wait_ready()
    numbers = itertools.count()

    def more() -> None:
        events = [site_window_of(7, number % 1440, 2, eventId=f"locked-{number}") for number in itertools.islice(numbers, 10)]
        publish(deployment.stack.kafka_bootstrap, map(record_of, events), deployment.partitions)

    with locked_table(deployment.stack, "site_aggregates"):
        rehearsal.fires("EmsSinkTransactions", "somebody holds a lock on site_aggregates (EMS_SINK_WRITE_TIMEOUT_S=1)", look=more)
    written = system.settled(lambda: get(f"{system['sink-0'].url}/readyz")[0] == 200, 60)
    assert written, "the sink does not go on when the lock is released"
    down(system, "sink-0")
    up(system, "sink-0", deployment.sink)


def _kafka_refuses(rehearsal: Rehearsal) -> None:
    """A changelog that takes no record of the size that states have, but the markers of transactions, of 78 bytes: without these Kafka ends none for good."""
    deployment = rehearsal.system.deployment
    changelog = f"{deployment.application_id}-{DEVICE_AGGREGATES_TABLE}-changelog"
    limit(deployment.stack, changelog, 150)
    try:
        rehearsal.fires("EmsCommitsFail", f"max.message.bytes of {changelog} set to 150")
    finally:
        limit(deployment.stack, changelog, CHANGELOG_MAX_MESSAGE_BYTES)
    rehearsal.ends("EmsNotReady", "setting taken back: workers go on by themselves")


def _kafka_slow(rehearsal: Rehearsal) -> None:
    """Kafka stands still, and devices send with QoS 0 more than the buffer holds."""
    system, deployment = rehearsal.system, rehearsal.system.deployment
    kafka = deployment.stack.kafka
    pause(kafka.pid)
    try:
        flood = threading.Thread(target=lambda: asyncio.run(_flood(deployment.stack.mqtt_url)), daemon=True)
        flood.start()
        rehearsal.fires("EmsMessagesDropped", "Kafka stopped (SIGSTOP), and 400,000 messages of QoS 0")
        flood.join(120)
    finally:
        resume(kafka.pid)
    system.wait_ready()


def _kafka_away(rehearsal: Rehearsal) -> None:
    system = rehearsal.system
    outage = ServerKill(system, system.deployment.stack.kafka)
    outage.down()
    try:
        for alert in ("EmsBreakerOpen", "EmsNotReady", "EmsRecoveryTooLong", "EmsCommandsBlocked"):
            rehearsal.fires(alert, "Kafka killed")
    finally:
        outage.up()
    for alert in ("EmsBreakerOpen", "EmsNotReady", "EmsRecoveryTooLong", "EmsCommandsBlocked"):
        rehearsal.ends(alert, "Kafka started again")


def pause(pid: int | None) -> None:
    _signal(pid, signal.SIGSTOP)


def resume(pid: int | None) -> None:
    _signal(pid, signal.SIGCONT)


def _signal(pid: int | None, number: signal.Signals) -> None:
    assert pid is not None
    os.kill(pid, number)


def _some_device(rehearsal: Rehearsal) -> str:
    """Of the load."""
    status, body = get(f"{rehearsal.system['gateway'].url}/api/v1/devices?limit=1")
    assert status == 200, body
    return str(body["devices"][0]["serialNumber"])


def _ask(rehearsal: Rehearsal, serial: str) -> None:
    done = rehearsal.system.deployment.command(
        "command", "send", serial, "SET_POWER_LIMIT", "--param", "powerLimitKw=1", "--gateway", rehearsal.system["gateway"].url, check=False
    )
    assert done.returncode == 0, done.stderr


def limit(stack: EmbeddedStack, topic: str, size_bytes: int) -> None:
    """Set the greatest size of a record batch."""
    entry = ConfigEntry("max.message.bytes", str(size_bytes), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    # Held until there is an answer: without it the request ends.
    admin = AdminClient({"bootstrap.servers": stack.kafka_bootstrap})
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(20)


@contextmanager
def locked_table(stack: EmbeddedStack, table: str) -> Iterator[None]:
    """For as long as the context lasts, nobody else can write it."""
    release, held = threading.Event(), threading.Event()

    async def hold() -> None:
        connection = await asyncpg.connect(stack.database_url)
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            held.set()
            await asyncio.to_thread(release.wait)
        await connection.close()

    holder = threading.Thread(target=lambda: asyncio.run(hold()), daemon=True)
    holder.start()
    assert held.wait(20)
    try:
        yield
    finally:
        release.set()
        holder.join(20)


async def _flood(url: str) -> None:
    """Messages of QoS 0, as fast as the broker takes them."""
    host, _, port = url.removeprefix("mqtt://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(mqtt5.ConnectPacket(client_id=f"flood-{uuid.uuid4().hex[:6]}", clean_start=True).write())
    packet = mqtt5.PublishPacket("sites/3/devices/FLOOD-1/telemetry", b'{"powerKw": 1}', qos=mqtt5.QoS.AT_MOST_ONCE).write()
    for _ in range(400):
        writer.write(packet * 1000)
        await writer.drain()
    writer.close()
