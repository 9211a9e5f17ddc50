"""What is fetched and then lost on the way to the agents is fetched again: batches of a partition are contiguous."""

import os

import pytest

from tests.integration.worker.test_worker import produce, telemetry, total
from tests.support.processes import Deployment, eventually

pytestmark = pytest.mark.integration

# The first batch with 2.5 kW in it is lost, as between a fetch and a rebalance.
FORGETFUL_WORKER = """
import sys
from tests.chaos.mutant import FAULTS
from ems_streams.cli.main import run
from ems_streams.kafka.transport import Consumer

deliver = Consumer._deliver
lost = []
FAULTS.get(sys.argv[1], lambda: None)()

async def deliver_all_but_one(self, tp, records, *when):
    if not lost and any(b"2.5" in (record.value or b"") for record in records):
        lost.append(tp)
        print("LOST", tp, len(records), flush=True)
        return
    await deliver(self, tp, records, *when)

Consumer._deliver = deliver_all_but_one
sys.argv = ["ems-streams", "worker"]
run()
"""


def test_a_lost_batch_is_fetched_again(deployment: Deployment) -> None:
    port = deployment.ports.worker
    program = ("-c", FORGETFUL_WORKER, os.environ.get("EMS_CHAOS_MUTATION", ""))
    worker = deployment.start("worker-0", [], port, {"EMS_WORKER_PORT": str(port)}, program=program).wait_until_ready()
    serial = f"{deployment.application_id}-A"
    for second, power_kw in enumerate((1.5, 2.5, 3.5)):
        produce(deployment.stack.kafka_bootstrap, [telemetry(serial, power_kw, second)])
        if power_kw != 2.5:  # the lost one shows when something comes after it
            eventually(lambda power_kw=power_kw: total(worker, serial).get("last") == power_kw, 20, f"{power_kw} kW counted")  # type: ignore[misc]
        else:
            eventually(lambda: "LOST" in worker.log_file.read_text(), 20, "a batch lost")
    assert total(worker, serial)["count"] == 3
    assert total(worker, serial)["sum"] == 7.5
