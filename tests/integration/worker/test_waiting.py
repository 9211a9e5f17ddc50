"""A worker that is started while Kafka is away waits for it, and says so."""

import pytest

from ems_streams.dev.ports import Ports
from tests.support.network import Link
from tests.support.processes import Deployment, eventually, get

pytestmark = pytest.mark.integration


def test_a_worker_waits_for_kafka_to_be_there(deployment: Deployment) -> None:
    port = Ports.free().kafka
    worker = deployment.worker(EMS_KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{port}")
    eventually(lambda: get(f"{worker.url}/startupz")[0] == 503, 30, "it says that it has not started")
    status, body = get(f"{worker.url}/readyz")
    assert status == 503
    assert f"127.0.0.1:{port}" in body["checks"]["kafka"]["detail"]
    assert get(f"{worker.url}/livez")[0] == 200, "a restart would mend nothing"
    with Link(port, deployment.stack.ports.kafka):
        worker.wait_until_ready()
        assert get(f"{worker.url}/startupz")[0] == 200
        assert worker.terminate() == 0
