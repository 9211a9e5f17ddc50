"""`ems-streams rules` on a running system: applied, listed, shown, tried on what is on the topic, removed."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from ems_streams.domain.events import TelemetryEvent
from ems_streams.domain.timestamps import from_epoch_ms
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from ems_streams.kafka.partitioner import partition_for
from tests.support.processes import Deployment

pytestmark = pytest.mark.integration

RULES = """\
rules:
- id: test-hot
  title: Hot
  severity: WARNING
  condition:
    kind: threshold
    metric: temperature
    above: 70
    clearAt: 65
- id: test-quiet
  title: Quiet
  severity: INFO
  condition:
    kind: missingData
    forS: 30
"""


@pytest.fixture
def deployed(deployment: Deployment) -> Iterator[Deployment]:
    deployment.command("rules", "remove", "--all")
    yield deployment
    deployment.command("rules", "remove", "--all")


def ids(deployed: Deployment) -> list[str]:
    return [each["id"] for each in json.loads(deployed.command("rules", "list", "--json").stdout)]


def test_rules_are_applied_shown_changed_and_removed(deployed: Deployment, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)

    dry = deployed.command("rules", "apply", str(path), "--dry-run").stdout
    assert "+ test-hot: WARNING, all devices, temperature above 70, clear at 65" in dry
    assert "nothing written" in dry
    assert ids(deployed) == []
    assert json.loads(deployed.command("rules", "apply", str(path), "--by", "ann", "--json").stdout)["added"] == ["test-hot", "test-quiet"]

    shown = deployed.command("rules", "show", "test-hot").stdout
    path.write_text(shown.replace("above: 70.0", "above: 80"))
    changed = deployed.command("rules", "apply", str(path), "--prune").stdout
    assert changed.splitlines() == [
        "~ test-hot: condition.above: 70.0 -> 80.0", "- test-quiet", "0 added, 1 changed, 1 removed, 0 as they were; written",
    ]  # fmt: skip
    listed = deployed.command("rules", "list").stdout
    assert "temperature above 80, clear at 65" in listed
    assert "test-quiet" not in listed
    assert json.loads(deployed.command("rules", "show", "test-hot", "--json").stdout)["condition"]["above"] == 80.0

    unknown = deployed.command("rules", "remove", "test-cold", check=False)
    assert (unknown.returncode, "there is no alarm rule 'test-cold'" in unknown.stderr) == (1, True)
    assert deployed.command("rules", "remove", "test-hot").stdout == "removed: test-hot\n"
    assert ids(deployed) == []


def test_rules_are_tried_on_what_is_on_the_topic(deployed: Deployment, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    now_ms = round(time.time() * 1000)
    producer = Producer({"bootstrap.servers": deployed.stack.kafka_bootstrap})
    for serial_number in ("A", "B"):
        for age_s, temperature in ((600, 60.0), (590, 75.0), (580, 60.0), (60, 60.0)):
            at_ms = now_ms - age_s * 1000
            event = TelemetryEvent(
                device_id=1, serial_number=serial_number, site_id=1, device_type="BATTERY", telemetry_data={"temperature": temperature}, timestamp=from_epoch_ms(at_ms),
            )  # fmt: skip
            key = serial_number.encode()
            producer.produce(DEVICE_TELEMETRY, event.encode(), key, partition=partition_for(key, deployed.partitions), timestamp=at_ms)
    producer.produce(DEVICE_TELEMETRY, b"{", b"A", partition=partition_for(b"A", deployed.partitions))
    producer.flush(10)

    found = json.loads(deployed.command("rules", "check", str(path), "--from-topic", "--since", "20m", "--device", "A", "--json").stdout)

    assert (found["messages"], found["devices"], len(found["bad"])) == (4, 1, 1)
    hot, pause, end = found["alarms"]
    assert (hot["ruleId"], hot["value"], hot["durationS"]) == ("test-hot", 75.0, 10.0)
    assert [(each["ruleId"], each["state"]) for each in (pause, end)] == [("test-quiet", "CLEARED"), ("test-quiet", "RAISED")]
    assert pause["durationS"] == 490.0
    both = json.loads(deployed.command("rules", "check", str(path), "--from-topic", "--until", "5m", "--json").stdout)
    assert {alarm["serialNumber"] for alarm in both["alarms"]} == {"A", "B"}
    assert (both["messages"], both["byRule"][1]["open"]) == (6, 2)
