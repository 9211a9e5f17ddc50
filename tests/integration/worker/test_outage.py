"""Kafka goes away and comes back: the worker stays up, says why it is not ready, and is exact afterwards."""

import asyncio
import time

import pytest

from tests.integration.worker.test_worker import produce, telemetry, total
from tests.support.processes import Deployment, eventually, get

pytestmark = pytest.mark.integration

OUTAGE_S = 25.0

# An outage that to the Kafka client looks an hour longer: nothing is polled meanwhile, and it must join the group again all the same.
LONG_IDLE_WORKER = """
from aiokafka.consumer.subscription_state import SubscriptionState
from ems_streams.cli.main import run

idle_time_s = SubscriptionState.fetcher_idle_time.fget
SubscriptionState.fetcher_idle_time = property(lambda self: idle_time_s(self) + 3600.0)
run()
"""


def test_a_worker_outlives_an_outage_of_kafka(deployment: Deployment) -> None:
    """Killed with records folded and not committed; nothing is lost, nothing is counted twice."""
    kafka, serial = deployment.stack.kafka, f"{deployment.application_id}-A"
    deployment.program = ("-c", LONG_IDLE_WORKER)
    worker = deployment.worker().wait_until_ready()
    produce(deployment.stack.kafka_bootstrap, [telemetry(serial, 1.5, second) for second in range(20)])
    eventually(lambda: total(worker, serial).get("count", 0) > 0, 30, "counting")
    asyncio.run(kafka.kill())
    went_s = time.monotonic()
    try:
        eventually(lambda: get(f"{worker.url}/readyz")[0] == 503, 15, "not ready")
        red_after_s = time.monotonic() - went_s
        checks = get(f"{worker.url}/readyz")[1]["checks"]
        assert not checks["kafka"]["ok"], checks
        assert red_after_s < 10
        while time.monotonic() - went_s < OUTAGE_S:
            assert worker.popen.poll() is None, worker.log_tail()
            assert get(f"{worker.url}/livez")[0] == 200, "an outage of Kafka is nothing that a restart would mend"
            time.sleep(1)
    finally:
        asyncio.run(kafka.start())
    produce(deployment.stack.kafka_bootstrap, [telemetry(serial, 1.5, second) for second in range(20, 40)])
    worker.wait_until_ready()
    eventually(lambda: total(worker, serial).get("count") == 40, 60, f"all counted; found {total(worker, serial)}")
    assert total(worker, serial)["sum"] == 60.0
    assert worker.terminate() == 0


def test_sigterm_ends_a_worker_while_kafka_is_away(deployment: Deployment) -> None:
    """Within its deadline, with records folded and not committed."""
    kafka, serial = deployment.stack.kafka, f"{deployment.application_id}-A"
    worker = deployment.worker().wait_until_ready()
    produce(deployment.stack.kafka_bootstrap, [telemetry(serial, 1.5, second) for second in range(20)])
    asyncio.run(kafka.kill())
    try:
        started_s = time.monotonic()
        worker.terminate(30)
        assert time.monotonic() - started_s < 30
    finally:
        asyncio.run(kafka.start())
    worker = deployment.worker().wait_until_ready()
    eventually(lambda: total(worker, serial).get("count") == 20, 30, "counted by the next one")
