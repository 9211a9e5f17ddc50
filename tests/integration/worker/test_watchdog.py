"""A worker that is stuck ends itself; one that has nothing to do does not."""

import time

import pytest

from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from tests.integration.worker.test_worker import produce, telemetry
from tests.support.processes import Deployment, eventually, get
from tests.support.sink import publish

pytestmark = pytest.mark.integration

STALL_TIMEOUT_S = "6"

# From the first record with 2.5 kW on, what is fetched is handed to nobody, as after a race that leaves a partition behind.
STUCK_WORKER = """
import sys
from ems_streams.cli.main import run
from ems_streams.kafka.transport import Consumer

deliver = Consumer._deliver

async def deliver_some(self, tp, records, *when):
    if not any(b"2.5" in (record.value or b"") for record in records):
        await deliver(self, tp, records, *when)

Consumer._deliver = deliver_some
sys.argv = ["ems-streams", "worker"]
run()
"""


def test_a_stuck_worker_ends_and_says_where(deployment: Deployment) -> None:
    port = deployment.ports.worker
    worker = deployment.start(
        "worker-0", [], port, {"EMS_WORKER_PORT": str(port), "EMS_STALL_TIMEOUT_S": STALL_TIMEOUT_S}, program=("-c", STUCK_WORKER)
    )
    worker.wait_until_ready()
    serial = f"{deployment.application_id}-A"
    produce(deployment.stack.kafka_bootstrap, [telemetry(serial, 1.5, 1)])
    eventually(lambda: get(f"{worker.url}/api/v1/devices/{serial}")[0] == 200, 20, "device known")
    produce(deployment.stack.kafka_bootstrap, [telemetry(serial, 2.5, 2)])
    assert worker.popen.wait(30) == 1
    assert "no progress: device-telemetry[" in worker.log_tail()


def test_an_idle_worker_is_not_stuck(deployment: Deployment) -> None:
    """With records before, transitions with their commit markers, telemetry in a transaction, and then nothing for longer than the timeout."""
    port = deployment.ports.worker
    worker = deployment.start("worker-0", ["worker"], port, {"EMS_WORKER_PORT": str(port), "EMS_STALL_TIMEOUT_S": STALL_TIMEOUT_S})
    worker.wait_until_ready()
    serial = f"{deployment.application_id}-A"
    produce(deployment.stack.kafka_bootstrap, [telemetry(serial, 1.5, second) for second in range(5)])
    eventually(lambda: get(f"{worker.url}/api/v1/devices/{serial}")[0] == 200, 20, "device known")
    key, value = telemetry(serial, 1.5, 6)
    assert key is not None
    publish(deployment.stack.kafka_bootstrap, [(DEVICE_TELEMETRY, key, value)], deployment.partitions)
    idle_until_s = time.monotonic() + 2.5 * float(STALL_TIMEOUT_S)
    while time.monotonic() < idle_until_s:
        assert worker.popen.poll() is None, worker.log_tail()
        assert get(f"{worker.url}/livez")[0] == 200
        time.sleep(0.5)


# The group never takes it back, although Kafka answers.
OUTSIDE_WORKER = """
from ems_streams.cli.main import run
from ems_streams.kafka.transport import Consumer

async def is_member(self, generation):
    return False

Consumer.is_member = is_member
run()
"""


def test_a_worker_that_does_not_get_back_into_the_group_ends(deployment: Deployment) -> None:
    worker = deployment.start(
        "worker-0",
        ["worker"],
        deployment.ports.worker,
        {"EMS_WORKER_PORT": str(deployment.ports.worker), "EMS_STALL_TIMEOUT_S": STALL_TIMEOUT_S},
        program=("-c", OUTSIDE_WORKER),
    )
    assert worker.popen.wait(40) == 1
    assert "no progress: membership of the group" in worker.log_tail()


# Every recovery gets through, and no commit of one agent: nothing looks like an outage, and nothing moves.
REFUSED_WORKER = """
from ems_streams.cli.main import run
from ems_streams.kafka.transactions import CommitError, PartitionWriter

commit = PartitionWriter.commit

async def refuse(self, outputs):
    if any(topic.endswith("device-aggregates-changelog") for topic, _ in outputs):
        raise CommitError(f"{self.transactional_id}: refused")
    return await commit(self, outputs)

PartitionWriter.commit = refuse
run()
"""


def test_a_worker_whose_commits_fail_for_ever_says_so_and_ends(deployment: Deployment) -> None:
    port = deployment.ports.worker
    told = {"EMS_WORKER_PORT": str(port), "EMS_STALL_TIMEOUT_S": STALL_TIMEOUT_S, "EMS_AGGREGATES_COMMIT_INTERVAL_S": "0.5"}
    worker = deployment.start("worker-0", ["worker"], port, told, program=("-c", REFUSED_WORKER)).wait_until_ready()
    produce(deployment.stack.kafka_bootstrap, [telemetry(f"{deployment.application_id}-A", 1.5, 1)])

    def red() -> str:
        body = get(f"{worker.url}/readyz")[1]
        check = body["checks"]["commits"] if body else {"ok": True}
        return "" if check["ok"] else check["detail"]

    detail = eventually(red, 20, "the check says that commits fail")
    assert "aggregates[" in detail
    assert "refused" in detail
    assert worker.popen.wait(40) == 1
    assert "no progress: commits of aggregates[" in worker.log_tail()
