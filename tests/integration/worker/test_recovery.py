"""Recovery of a worker that finds what it should not: unreadable changelog records, damaged, outdated and locked local state."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ems_streams.kafka.catalogue import DEVICE_AGGREGATES_TABLE
from ems_streams.kafka.partitioner import partition_for
from tests.integration.worker.test_worker import PARTITIONS, produce, telemetry, total
from tests.support.processes import Deployment, Running, eventually, get
from tests.support.records import consume

pytestmark = pytest.mark.integration

JUNK = b"\x01not what a state looks like"

HOLDER = """
import sys
from rocksdict import Options, Rdict

database = Rdict(sys.argv[1], Options(raw_mode=True))
print("open", flush=True)
sys.stdin.read()
"""

BROKEN_RECOVERY = """
import sys
from ems_streams.cli.main import run
from ems_streams.kafka import engine

async def restore(*_):
    raise LookupError("nothing that Kafka could be blamed for")

engine.restore = restore
sys.argv = ["ems-streams", "worker"]
run()
"""


def changelog_of(deployment: Deployment) -> str:
    return f"{deployment.application_id}-{DEVICE_AGGREGATES_TABLE}-changelog"


def put(deployment: Deployment, key: bytes, value: bytes | None) -> int:
    """Write a record into the changelog as no worker would; its offset."""

    async def send() -> int:
        producer = AIOKafkaProducer(bootstrap_servers=deployment.stack.kafka_bootstrap, acks="all")
        await producer.start()
        try:
            sent = await producer.send_and_wait(changelog_of(deployment), value, key=key, partition=partition_for(key, PARTITIONS))
            return int(sent.offset)
        finally:
            await producer.stop()

    return asyncio.run(send())


def counted(deployment: Deployment, worker: Running, serial: str, count: int = 10) -> None:
    """Send so many records of a device, and wait until the worker has counted them."""
    produce(deployment.stack.kafka_bootstrap, [telemetry(serial, 1.5, second) for second in range(count)])
    eventually(lambda: total(worker, serial).get("count") == count, 30, "counted")


def databases(deployment: Deployment, serial: str) -> Path:
    """Directory of the database with the device's statistics."""
    partition = partition_for(serial.encode(), PARTITIONS)
    (found,) = (deployment.directory / "worker-0").rglob(f"{DEVICE_AGGREGATES_TABLE}-{partition}.db")
    return found


def log_of(worker: Running) -> str:
    return worker.log_file.read_text()


@contextmanager
def held_by_another_process(path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        yield holder


def ends_unready_and_says(worker: Running, *texts: str) -> None:
    """Exit code 1, never ready until then, with a message that names what is wrong."""
    deadline_s = time.monotonic() + 60
    while worker.popen.poll() is None:
        assert time.monotonic() < deadline_s, worker.log_tail()
        assert get(f"{worker.url}/readyz")[0] != 200
        time.sleep(0.05)
    assert worker.popen.returncode == 1, worker.log_tail()
    last = next(line for line in reversed(log_of(worker).splitlines()) if "worker_failed" in line)
    for text in texts:
        assert text in last


def test_a_record_that_holds_no_state_stops_the_worker_until_it_is_replaced(deployment: Deployment) -> None:
    serial, other = f"{deployment.application_id}-A", f"{deployment.application_id}-B"
    worker = deployment.worker().wait_until_ready()
    counted(deployment, worker, serial)
    counted(deployment, worker, other)
    assert worker.terminate() == 0

    offset = put(deployment, serial.encode(), JUNK)
    partition = partition_for(serial.encode(), PARTITIONS)
    where = f"{changelog_of(deployment)} partition {partition} offset {offset} key b'{serial}'"
    for _ in range(2):  # also when it is started again: the local copy must not have swallowed it
        ends_unready_and_says(deployment.worker(), "changelog records that cannot be read: 1", where)
    assert "changelog_record_unreadable" in log_of(worker)

    put(deployment, serial.encode(), None)
    worker = deployment.worker().wait_until_ready()
    assert total(worker, other)["count"] == 10
    assert total(worker, serial) == {}, "begun anew"


def test_a_standby_that_meets_such_a_record_stops(deployment: Deployment) -> None:
    deployment.extra["EMS_STANDBY_REPLICAS"] = "1"
    workers = {}
    for index in range(2):
        worker = deployment.worker(index)
        workers[worker.url] = worker
    for worker in workers.values():
        worker.wait_until_ready()
    eventually(lambda: len(get(f"{worker.url}/internal/v1/topology")[1]["workers"]) == 2, 30, "two workers")
    serial = f"{deployment.application_id}-A"
    counted(deployment, worker, serial)
    time.sleep(2.5)  # two commit intervals: nothing follows that would replace the record
    owners = get(f"{worker.url}/internal/v1/topology")[1]["workers"]
    partition = partition_for(serial.encode(), PARTITIONS)
    owner, standby = (workers[url] for url in sorted(owners, key=lambda url: partition not in owners[url]))

    offset = put(deployment, serial.encode(), JUNK)
    assert standby.popen.wait(20) == 1, standby.log_tail()
    assert f"partition {partition} offset {offset} key b'{serial}'" in standby.log_tail()
    assert owner.popen.poll() is None, "it does not read what it has written itself"


def test_a_store_that_is_ahead_of_its_changelog_is_wiped(deployment: Deployment) -> None:
    """The changelog was made anew: everything is folded again from the sources."""
    serial = f"{deployment.application_id}-A"
    worker = deployment.worker().wait_until_ready()
    counted(deployment, worker, serial)
    assert worker.terminate() == 0
    asyncio.run(_make_anew(deployment, changelog_of(deployment)))

    worker = deployment.worker().wait_until_ready()
    eventually(lambda: total(worker, serial).get("count") == 10, 30, "counted anew")
    lines = [line for line in log_of(worker).splitlines() if "store_wiped" in line and str(databases(deployment, serial)) in line]
    assert len(lines) == 1, lines
    assert "it is ahead" in lines[0]


async def _make_anew(deployment: Deployment, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=deployment.stack.kafka_bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic])
        while topic in await admin.list_topics():
            await asyncio.sleep(0.1)
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs={"cleanup.policy": "compact"})])
    finally:
        await admin.close()


def test_a_store_with_overwritten_bytes_is_wiped_once(deployment: Deployment) -> None:
    serial = f"{deployment.application_id}-A"
    worker = deployment.worker().wait_until_ready()
    counted(deployment, worker, serial)
    assert worker.terminate() == 0
    worker = deployment.worker().wait_until_ready()  # reading the log back makes tables of it
    assert worker.terminate() == 0

    tables = list(databases(deployment, serial).glob("*.sst"))
    assert tables
    for table in tables:
        table.write_bytes(b"\xaa" * 40 + table.read_bytes()[40:])
    for _ in range(2):
        worker = deployment.worker().wait_until_ready()
        assert total(worker, serial)["count"] == 10
        assert worker.terminate() == 0
    lines = [line for line in log_of(worker).splitlines() if "store_wiped" in line]
    assert len(lines) == 1, lines
    assert str(databases(deployment, serial)) in lines[0]
    assert "Corruption" in lines[0]


def test_a_store_that_another_process_has_is_waited_for_but_not_wiped(deployment: Deployment) -> None:
    serial = f"{deployment.application_id}-A"
    worker = deployment.worker().wait_until_ready()
    counted(deployment, worker, serial)
    assert worker.terminate() == 0
    database = databases(deployment, serial)
    before = {path.name for path in database.glob("*.sst")}

    with held_by_another_process(database):
        ends_unready_and_says(deployment.worker(), str(database), "in use by another process")
    assert before <= {path.name for path in database.glob("*.sst")}

    with held_by_another_process(database) as holder:
        worker = deployment.worker()
        eventually(lambda: "store_locked" in log_of(worker).split("worker_failed")[-1], 30, "waiting for the lock")
        assert holder.stdin is not None
        holder.stdin.close()
        worker.wait_until_ready()
    assert total(worker, serial)["count"] == 10
    assert "store_wiped" not in log_of(worker)


def test_an_error_in_recovery_that_is_not_kafkas_ends_the_worker(deployment: Deployment) -> None:
    port = deployment.ports.worker
    worker = deployment.start("worker-0", [], port, {"EMS_WORKER_PORT": str(port)}, program=("-c", BROKEN_RECOVERY))
    ends_unready_and_says(worker, "nothing that Kafka could be blamed for")
    assert "recovery_failed" in log_of(worker)


def test_nothing_but_states_and_positions_is_in_a_changelog(deployment: Deployment) -> None:
    """What recovery would refuse is never written by a worker itself."""
    serial = f"{deployment.application_id}-A"
    worker = deployment.worker().wait_until_ready()
    counted(deployment, worker, serial)
    assert worker.terminate() == 0
    keys = {record.key for record in consume(deployment.stack.kafka_bootstrap, changelog_of(deployment))}
    assert keys == {serial.encode(), b"\x00position"}
