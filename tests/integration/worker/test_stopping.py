"""How a worker ends: at once when it failed, soon when there is nothing to save, and with everything durable otherwise."""

import asyncio
import json
import signal
import socket
import time
from pathlib import Path

import pytest

from ems_streams.kafka.catalogue import DEVICE_AGGREGATES_TABLE, DEVICE_TELEMETRY
from tests.integration.worker.test_worker import produce, telemetry, total
from tests.support.processes import Deployment, eventually, get
from tests.support.records import consume

pytestmark = pytest.mark.integration

FAILING_WORKER = """
import os
import sys
from ems_streams.cli.main import run
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.kafka.partition_state import PartitionState

get = PartitionState.get

def fail_for_b(self, key):
    if key == os.environb[b"EMS_APPLICATION_ID"] + b"-B":
        raise StateCodecError("state", "damaged for the test")
    return get(self, key)

PartitionState.get = fail_for_b
sys.argv = ["ems-streams", "worker"]
run()
"""


def test_a_failed_worker_is_gone_at_once(deployment: Deployment) -> None:
    port, name = deployment.ports.worker, deployment.application_id
    worker = deployment.start("worker-0", [], port, {"EMS_WORKER_PORT": str(port)}, program=("-c", FAILING_WORKER))
    worker.wait_until_ready()
    produce(deployment.stack.kafka_bootstrap, [telemetry(f"{name}-A", 1.5, second) for second in range(10)])
    eventually(lambda: total(worker, f"{name}-A").get("count") == 10, 30, "counted")
    produce(deployment.stack.kafka_bootstrap, [telemetry(f"{name}-B", 1.5, 1)])
    sent_s = time.monotonic()
    while worker.popen.poll() is None and get(f"{worker.url}/livez")[0] == 200:
        time.sleep(0.01)
    assert get(f"{worker.url}/readyz")[0] != 200
    assert worker.popen.wait(10) == 1
    took_s = time.monotonic() - sent_s
    print(f"failed to gone: {took_s:.2f} s")
    assert took_s < 2.0
    assert "damaged for the test" in worker.log_tail()


def catches_sigterm(pid: int) -> bool:
    """Whether a process has a handler for it (Linux)."""
    caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the signals that a process handles")
@pytest.mark.parametrize("delay_s", [0.0, 0.5, 2.0])
def test_sigterm_ends_a_worker_that_has_hardly_begun(deployment: Deployment, delay_s: float) -> None:
    """While it imports, and while it waits for a Kafka that never answers."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        deployment.extra["EMS_KAFKA_BOOTSTRAP_SERVERS"] = f"127.0.0.1:{nobody.getsockname()[1]}"
        worker = deployment.worker()
        eventually(lambda: catches_sigterm(worker.popen.pid), 5, "handler installed")
        time.sleep(delay_s)
        started_s = time.monotonic()
        assert worker.terminate() == 0
        assert time.monotonic() - started_s < 2.0


def test_sigterm_makes_everything_durable(deployment: Deployment) -> None:
    """No commit would have come for a minute."""
    deployment.extra["EMS_AGGREGATES_COMMIT_INTERVAL_S"] = "60"
    serial = f"{deployment.application_id}-A"
    worker = deployment.worker().wait_until_ready()
    produce(deployment.stack.kafka_bootstrap, [telemetry(serial, 1.5, second) for second in range(10)])
    eventually(lambda: total(worker, serial).get("count") == 10, 30, "counted")
    changelog = f"{deployment.application_id}-{DEVICE_AGGREGATES_TABLE}-changelog"
    assert not consume(deployment.stack.kafka_bootstrap, changelog), "nothing durable yet"
    started_s = time.monotonic()
    assert worker.terminate() == 0
    print(f"drained in {time.monotonic() - started_s:.2f} s")
    assert time.monotonic() - started_s < 10
    found = {record.key: record.value for record in consume(deployment.stack.kafka_bootstrap, changelog)}
    assert serial.encode() in found
    last = max(record.offset for record in consume(deployment.stack.kafka_bootstrap, DEVICE_TELEMETRY) if record.key == serial.encode())
    assert json.loads(found[b"\x00position"]) == {DEVICE_TELEMETRY: last}


@pytest.mark.parametrize("away_s", [0.0, 8.0])
def test_sigterm_with_kafka_away_takes_seconds(deployment: Deployment, away_s: float) -> None:
    """Whether it has noticed or not; what was in memory only is counted by the next one."""
    kafka, serial = deployment.stack.kafka, f"{deployment.application_id}-A"
    worker = deployment.worker().wait_until_ready()
    produce(deployment.stack.kafka_bootstrap, [telemetry(serial, 1.5, second) for second in range(20)])
    asyncio.run(kafka.kill())
    try:
        time.sleep(away_s)
        started_s = time.monotonic()
        assert worker.terminate() == 0
        took_s = time.monotonic() - started_s
    finally:
        asyncio.run(kafka.start())
    print(f"Kafka away for {away_s} s, gone in {took_s:.2f} s")
    assert took_s < (6.0 if away_s == 0 else 1.5)
    worker = deployment.worker().wait_until_ready()
    eventually(lambda: total(worker, serial).get("count") == 20, 30, "counted by the next one")
