"""A warm copy of a partition makes taking it over quick, and exact."""

import asyncio
import time

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.integration.worker.test_worker import produce, telemetry, total
from tests.support.processes import Deployment, Running, eventually, get

pytestmark = pytest.mark.integration

TAKE_OVER_MAX_S = 15.0
QUIET_S = 3.0
"""More than a commit interval, and long enough for the standbys to see what was written before."""


def written(deployment: Deployment) -> int:
    """How much there is on all changelogs of the deployment."""

    async def ends() -> int:
        consumer = AIOKafkaConsumer(bootstrap_servers=deployment.stack.kafka_bootstrap)
        await consumer.start()
        try:
            names = [each for each in await consumer.topics() if each.startswith(deployment.application_id) and each.endswith("-changelog")]
            tps = [TopicPartition(name, number) for name in names for number in range(deployment.partitions)]
            return sum((await consumer.end_offsets(tps)).values())
        finally:
            await consumer.stop()

    return asyncio.run(ends())


def wait_until_nothing_is_written(deployment: Deployment, timeout_s: float = 60.0) -> None:
    """Until the changelogs have stood still for `QUIET_S`: how far a standby has read is told nowhere."""
    seen, since_s = -1, 0.0

    def still() -> bool:
        nonlocal seen, since_s
        if (now := written(deployment)) != seen:
            seen, since_s = now, time.monotonic()
        return time.monotonic() - since_s >= QUIET_S

    eventually(still, timeout_s, "nothing is written to the changelogs any more")


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
    # What other tests have left on the topics is worked through as well.
    wait_until_nothing_is_written(deployment)

    workers[0].kill()
    killed_s = time.monotonic()
    eventually(lambda: all(total(workers[1], serial).get("count") == 10 for serial in serials), 40, "taken over")
    took_s = time.monotonic() - killed_s
    assert took_s < TAKE_OVER_MAX_S, f"took {took_s:.1f} s"
    recovered = [line for line in workers[1].log_file.read_text().splitlines() if " recovered " in line]
    assert "records=0" in recovered[-1], f"the standby had to read what it should have had: {recovered[-1]}"
