"""A warm copy of a partition makes taking it over quick, and exact."""

import time

import pytest

from tests.integration.worker.test_worker import produce, telemetry, total
from tests.support.processes import Deployment, Running, eventually, get

pytestmark = pytest.mark.integration

TAKE_OVER_MAX_S = 15.0


def worker_with_standby(deployment: Deployment, index: int) -> Running:
    deployment.extra["EMS_STANDBY_REPLICAS"] = "1"
    return deployment.worker(index)


def test_the_standby_takes_over_with_the_state(deployment: Deployment) -> None:
    workers = [worker_with_standby(deployment, 0), worker_with_standby(deployment, 1)]
    for worker in workers:
        worker.wait_until_ready()
    eventually(lambda: len(get(f"{workers[0].url}/internal/v1/topology")[1]["workers"]) == 2, 30, "two workers")
    serials = [f"{deployment.application_id}-{number}" for number in range(20)]
    produce(deployment.stack.kafka_bootstrap, [telemetry(serial, 1.5, second) for serial in serials for second in range(10)])
    eventually(lambda: all(total(workers[1], serial).get("count") == 10 for serial in serials), 30, "counted")
    time.sleep(3)  # two commit intervals, so that the standbys have seen all of it

    workers[0].kill()
    killed_s = time.monotonic()
    eventually(lambda: all(total(workers[1], serial).get("count") == 10 for serial in serials), 40, "taken over")
    took_s = time.monotonic() - killed_s
    assert took_s < TAKE_OVER_MAX_S, f"took {took_s:.1f} s"
    recovered = [line for line in workers[1].log_file.read_text().splitlines() if " recovered " in line]
    assert "records=0" in recovered[-1], f"the standby had to read what it should have had: {recovered[-1]}"
