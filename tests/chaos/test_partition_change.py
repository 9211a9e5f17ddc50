"""Four partitions become twelve under load, by the steps of docs/howto/change-partitions.md: every message counts once."""

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ems_streams.kafka.catalogue import Catalogue
from tests.chaos.faults import Terminate
from tests.chaos.harness import System, put_load, sized, until
from tests.chaos.oracles import exactness, readiness
from tests.chaos.results import Finding, verdict
from tests.support.processes import Deployment

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

BEFORE, AFTER = 4, 12


def test_partition_change(system: System, tmp_path: Path) -> None:
    deployed = system.deployment
    assert deployed.partitions == BEFORE
    system.start(ingresses=1, workers=2)
    load = put_load(system, devices=sized(500, 40), messages=sized(300_000, 20_000), rate=200)
    system.run_for(0.3 * load.duration_s)

    devices, telemetry = tmp_path / "devices.json", tmp_path / "telemetry.jsonl"
    deployed.command("devices", "export", "--output", str(devices))
    stop(system, "ingress-0")
    stop(system, "worker-0", "worker-1")
    save(deployed, telemetry)
    delete_topics(deployed)
    deployed.partitions = AFTER
    deployed.command("topics", "apply")
    deployed.command("devices", "import", str(devices))
    deployed.command("backfill", str(telemetry), timeout_s=600)
    for index in (0, 1):
        shutil.rmtree(deployed.directory / f"worker-{index}")
    assert load.running, "devices sent all the time"
    system.start(ingresses=1, workers=2)
    load.finish()

    replayed = len(telemetry.read_text().splitlines())
    finding = Finding({"partitions": AFTER}, {"partitions": partitions_of(deployed)}, f"{replayed} messages replayed")
    finding += exactness(system, load.ledger) + readiness(system)
    verdict("partition count 4 to 12", finding, load=str(load), faults=system.tell_faults())


def stop(system: System, *names: str) -> None:
    """For good; what is started later under the name is another process."""
    Terminate(system)(*names)
    for name in names:
        system.forget(name)


def save(deployed: Deployment, path: Path) -> None:
    with path.open("wb") as file:
        command = [sys.executable, "-m", "ems_streams", "topics", "tail", "device-telemetry", "--from-beginning", "--no-follow", "--values"]
        subprocess.run(command, env=deployed.environment(), stdout=file, check=True, timeout=600)


def delete_topics(deployed: Deployment) -> None:
    """As Kafka's own tool does."""
    admin = AdminClient({"bootstrap.servers": deployed.stack.kafka_bootstrap})
    names = [topic.name for topic in Catalogue(deployed.application_id, BEFORE)]
    for future in admin.delete_topics(names, operation_timeout=30).values():
        with contextlib.suppress(KafkaException):
            future.result(30)
    left = until(lambda: not set(names) & set(admin.list_topics(timeout=10).topics), 60)
    assert left, "topics are deleted"


def partitions_of(deployed: Deployment) -> int:
    topics = AdminClient({"bootstrap.servers": deployed.stack.kafka_bootstrap}).list_topics(timeout=10).topics
    return len(topics["device-telemetry"].partitions)
