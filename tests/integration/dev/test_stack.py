"""The embedded servers: what they promise, what survives, and that nothing of them is left."""

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import aiomqtt
import asyncpg
import psutil
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from ems_streams.dev.errors import PortBusyError
from ems_streams.dev.ports import LOOPBACK, Ports
from ems_streams.dev.stack import EmbeddedStack

# A start takes seconds on a free machine, and much longer beside others.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

BIG = 5 * 1024 * 1024


@pytest.fixture
def data_dir() -> Iterator[Path]:
    # Not below pytest's own temporary directory: each run of pytest closes that for others again, and PostgreSQL may run as another user.
    directory = Path(tempfile.mkdtemp(prefix="ems-stack-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@contextlib.asynccontextmanager
async def mqtt_client(stack: EmbeddedStack, identifier: str, **options: object) -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client(hostname=LOOPBACK, port=stack.ports.mqtt, identifier=identifier, **options) as client:  # type: ignore[arg-type]
        yield client


async def receive(client: aiomqtt.Client, count: int) -> list[aiomqtt.PublishPacket]:
    """That many messages, each acknowledged."""
    found: list[aiomqtt.PublishPacket] = []
    async with asyncio.timeout(30):
        async for packet in client.messages():
            assert isinstance(packet, aiomqtt.PublishPacket)
            if packet.packet_id is not None:
                await client.puback(packet.packet_id)
            found.append(packet)
            if len(found) == count:
                return found
    raise AssertionError("the connection ended")


async def publish(client: aiomqtt.Client, topic: str, payload: bytes, *, retain: bool = False) -> None:
    async with asyncio.timeout(30):
        await client.publish(topic, payload, qos=aiomqtt.QoS.AT_LEAST_ONCE, packet_id=next(client.packet_ids), retain=retain)


def create_topic(stack: EmbeddedStack, name: str, **config: str) -> None:
    admin = AdminClient({"bootstrap.servers": stack.kafka_bootstrap})
    for future in admin.create_topics([NewTopic(name, 1, 1, config=config)]).values():
        future.result(30)


def produce(stack: EmbeddedStack, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": stack.kafka_bootstrap, "acks": "all", "message.max.bytes": 6_000_000})
    producer.produce(topic, value)
    assert producer.flush(60) == 0


def consume(stack: EmbeddedStack, topic: str, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": stack.kafka_bootstrap, "group.id": uuid4().hex, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found: list[bytes] = []
    deadline_s = time.monotonic() + 60
    try:
        while len(found) < count and time.monotonic() < deadline_s:
            message = consumer.poll(1.0)
            if message is not None and not message.error():
                found.append(message.value() or b"")
    finally:
        consumer.close()
    return found


def gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


def family(stack: EmbeddedStack) -> list[int]:
    """All processes of the stack: the servers' and their helpers'."""
    pids = [server.pid for server in stack.servers if server.pid is not None]
    return pids + [child.pid for pid in pids for child in psutil.Process(pid).children(recursive=True)]


async def test_everything_survives_a_second_start_and_stop_leaves_no_process(data_dir: Path) -> None:
    ports = Ports.free()
    async with EmbeddedStack(data_dir, ports) as stack:
        create_topic(stack, "kept")
        produce(stack, "kept", b"one")
        async with mqtt_client(stack, "publisher") as client:
            await publish(client, "sites/1/devices/A/status", b"retained", retain=True)
        database = await asyncpg.connect(stack.database_url)
        await database.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
        await database.close()
        first = family(stack)
        assert len(first) > 3
    assert gone(first)
    assert list((data_dir / "run").iterdir()) == []

    async with EmbeddedStack(data_dir, ports) as stack:
        assert consume(stack, "kept", 1) == [b"one"]
        async with mqtt_client(stack, "subscriber") as client:
            await client.subscribe("sites/+/devices/+/status", max_qos=aiomqtt.QoS.AT_LEAST_ONCE)
            assert [packet.payload for packet in await receive(client, 1)] == [b"retained"]
        database = await asyncpg.connect(stack.database_url)
        assert await database.fetchval("SELECT n FROM kept") == 7
        await database.close()
        second = family(stack)
    assert gone(second)


async def test_kafka_killed_and_started_again_has_what_it_acknowledged(stack: EmbeddedStack) -> None:
    topic = f"killed-{uuid4().hex}"
    create_topic(stack, topic)
    produce(stack, topic, b"before")
    before = stack.kafka.pid
    await stack.kafka.kill()
    assert stack.kafka.pid is None
    assert not stack.kafka.running
    await stack.kafka.start()
    assert stack.kafka.pid not in {None, before}
    produce(stack, topic, b"after")
    assert consume(stack, topic, 2) == [b"before", b"after"]


async def test_the_mqtt_broker_killed_keeps_the_session_of_a_client_that_is_away(stack: EmbeddedStack) -> None:
    name = uuid4().hex
    topic = f"sites/1/devices/{name}/telemetry"
    session = {"clean_start": False, "session_expiry_interval": 3600}
    async with mqtt_client(stack, name, **session) as client:
        await client.subscribe(f"$share/group-{name}/sites/+/devices/{name}/telemetry", max_qos=aiomqtt.QoS.AT_LEAST_ONCE)
    async with mqtt_client(stack, f"{name}-publisher") as client:
        for number in range(20):
            await publish(client, topic, b"%d" % number)
    await stack.mqtt.kill()
    await stack.mqtt.start()
    async with mqtt_client(stack, name, **session) as client:
        found = await receive(client, 20)
    assert [int(packet.payload or b"") for packet in found] == list(range(20))


async def test_postgres_killed_has_what_was_committed(stack: EmbeddedStack) -> None:
    table = f"t{uuid4().hex}"
    database = await asyncpg.connect(stack.database_url)
    await database.execute(f"CREATE TABLE {table} (n int); INSERT INTO {table} VALUES (3)")
    await stack.postgres.kill()
    with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await database.close(timeout=2)
    await stack.postgres.start()
    database = await asyncpg.connect(stack.database_url)
    assert await database.fetchval(f"SELECT n FROM {table}") == 3
    await database.close()


async def test_messages_of_several_mebibytes_pass(stack: EmbeddedStack) -> None:
    payload = bytes(range(256)) * (BIG // 256)
    name = uuid4().hex
    create_topic(stack, name, **{"max.message.bytes": str(BIG + 1024)})
    produce(stack, name, payload)
    assert consume(stack, name, 1) == [payload]
    async with mqtt_client(stack, f"{name}-s") as subscriber, mqtt_client(stack, f"{name}-p") as publisher:
        await subscriber.subscribe(f"big/{name}", max_qos=aiomqtt.QoS.AT_LEAST_ONCE)
        received = asyncio.create_task(receive(subscriber, 1))
        await publish(publisher, f"big/{name}", payload)
        assert (await received)[0].payload == payload


@pytest.mark.parametrize("credentials", [{}, {"username": "ems_mqtt", "password": b"ems_mqtt_password"}])
async def test_the_broker_takes_anonymous_clients_and_the_documented_user(stack: EmbeddedStack, credentials: dict[str, object]) -> None:
    async with mqtt_client(stack, uuid4().hex, **credentials) as client:
        await publish(client, f"hello/{uuid4().hex}", b"x")


async def test_a_password_that_is_wrong_does_not_get_into_the_database(stack: EmbeddedStack) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(stack.database_url.replace("ems:ems@", "ems:wrong@"))


async def test_the_servers_listen_on_loopback_only(stack: EmbeddedStack) -> None:
    addresses = {
        connection.laddr.ip
        for pid in family(stack)
        for connection in psutil.Process(pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses <= {LOOPBACK, f"::ffff:{LOOPBACK}"}


async def test_a_busy_port_stops_the_start_and_leaves_nothing_running(data_dir: Path) -> None:
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen()
        busy = replace(Ports.free(), mqtt=listener.getsockname()[1])
        stack = EmbeddedStack(data_dir, busy)
        with pytest.raises(PortBusyError, match="EMS_DEV_MQTT_PORT"):
            await stack.start()
    assert [server.pid for server in stack.servers] == [None, None, None]


async def test_a_start_that_is_cancelled_leaves_no_process(data_dir: Path) -> None:
    stack = EmbeddedStack(data_dir, Ports.free())
    await stack.prepare()
    starting = asyncio.create_task(stack.start())
    async with asyncio.timeout(60):
        while len([server for server in stack.servers if server.pid is not None]) < 2:
            assert not starting.done()
            await asyncio.sleep(0.01)
    pids = family(stack)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert gone(pids)
    ours = [process for process in psutil.process_iter(["cmdline"]) if str(data_dir) in " ".join(process.info["cmdline"] or [])]
    assert ours == []


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux alone ends the children of a process that is killed")
async def test_nothing_outlives_a_parent_that_is_killed_and_the_data_are_usable_afterwards(data_dir: Path) -> None:
    ports = Ports.free()
    code = (
        "import asyncio, time; from pathlib import Path; from ems_streams.dev.ports import Ports; from ems_streams.dev.stack import EmbeddedStack\n"
        f"stack = EmbeddedStack(Path({str(data_dir)!r}), {ports!r})\n"
        "asyncio.run(stack.start()); print('up', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        pids = [child.pid for child in psutil.Process(parent.pid).children(recursive=True)]
        assert len(pids) > 3
        parent.kill()
    async with asyncio.timeout(20):
        while not gone(pids):
            await asyncio.sleep(0.05)
    async with EmbeddedStack(data_dir, ports) as stack:
        assert all(server.running for server in stack.servers)
