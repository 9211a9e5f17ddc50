"""The main job, end to end, on real servers: what a device publishes is in Kafka, in the live tables, and on people's screens."""

import math
import random
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from ems_streams.dev.simulator.ledger import totals
from tests.support.access import Access, check_seed_example, until_exact
from tests.support.processes import Deployment, Running, eventually, get

pytestmark = pytest.mark.e2e


def ready(*processes: Running) -> None:
    for process in processes:
        process.wait_until_ready()


def access(deployment: Deployment, url: str | None = None) -> Access:
    """The deployment as it is without security; `url` is of a worker instead of the gateway."""
    api = url or f"http://127.0.0.1:{deployment.ports.gateway}"
    return Access(api, deployment.stack.mqtt_url, {"bootstrap_servers": deployment.stack.kafka_bootstrap})


def test_the_seed_example(deployment: Deployment) -> None:
    ready(deployment.ingress(), deployment.worker(), deployment.gateway())
    check_seed_example(access(deployment), f"INV-{uuid.uuid4().hex[:8]}")


def simulate(deployment: Deployment, ledger: Path, *more: str) -> Running:
    """Start the simulator on the deployment."""
    seed = str(random.randrange(1_000_000))
    return deployment.start("simulator", ["simulate", "--seed", seed, "--ledger", str(ledger), *more], 0, {})


def test_live_tables_equal_the_ledger_from_either_worker(deployment: Deployment, tmp_path: Path) -> None:
    """Two workers share the partitions; both answer for every device, and exactly."""
    ledger = tmp_path / "ledger.jsonl"
    workers = [deployment.worker(0), deployment.worker(1)]
    ready(deployment.ingress(), *workers)
    simulator = simulate(
        deployment, ledger, "--devices", "100", "--rate", "1000", "--duration", "8", "--faults", "duplicates=0.02,out-of-order=0.02"
    )
    assert simulator.popen.wait(60) == 0, simulator.log_tail()

    topology = eventually(lambda: _split(workers[0].url), 30, "partitions split between two workers")
    assert sorted(number for owned in topology["workers"].values() for number in owned) == [0, 1, 2, 3]
    for worker in workers:
        until_exact(access(deployment, worker.url), ledger)
    truth = totals(ledger)
    assert len(truth) == 100
    assert math.isclose(sum(metrics["powerKw"].count for metrics in truth.values()), 8000, rel_tol=0.05)


def _split(url: str) -> dict[str, Any] | None:
    status, topology = get(f"{url}/internal/v1/topology")
    return topology if status == 200 and len(topology["workers"]) == 2 else None


def test_exact_after_kill_9_of_every_process(deployment: Deployment, tmp_path: Path) -> None:
    """Ingress and workers are killed while the fleet publishes: nothing acknowledged is lost, nothing is counted twice."""
    ledger = tmp_path / "ledger.jsonl"
    ingress, workers = deployment.ingress(), [deployment.worker(0), deployment.worker(1)]
    ready(ingress, *workers)
    simulator = simulate(deployment, ledger, "--devices", "50", "--rate", "800", "--duration", "25")
    for victim in ("worker-0", "ingress", "worker-1", "ingress", "worker-0"):
        # Let traffic flow: what matters is what happens between the kills.
        time.sleep(3.0)
        if victim == "ingress":
            ingress.kill()
            ingress = deployment.ingress()
        else:
            index = int(victim[-1])
            workers[index].kill()
            workers[index] = deployment.worker(index)
    assert simulator.popen.wait(90) == 0, simulator.log_tail()
    ready(ingress, *workers)
    until_exact(access(deployment, workers[0].url), ledger)
    assert len(totals(ledger)) == 50
