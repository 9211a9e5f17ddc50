"""A hundred thousand devices with one bad row in a hundred: how long an import takes, and that it does what it says."""

import json
import random
import time
from pathlib import Path

import pytest

from ems_streams.dev.stack import EmbeddedStack
from ems_streams.kafka.catalogue import DEVICE_REGISTRY
from ems_streams.kafka.command_writer import WRITE_TIMEOUT_S
from tests.chaos.harness import System, until
from tests.chaos.oracles import Topic
from tests.chaos.results import Finding, verdict
from tests.support.processes import Deployment

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

ROWS = 100_000
BAD = ROWS // 100
SECONDS_MAX = 30.0
_BROKEN = (
    "{serial} x,{site},METER,,60",
    "{serial},,METER,,60",
    "{serial},one,METER,,60",
    "{serial},{site},METER,,-5",
    '{serial},{site},METER,"open,60',
    "{serial},{site}",
)


def test_a_hundred_thousand_rows_with_a_hundredth_bad(stack: EmbeddedStack, tmp_path: Path) -> None:
    deployed = Deployment(stack, tmp_path, "import-at-large")
    deployed.command("topics", "apply")
    file = tmp_path / "devices.csv"
    bad = set(random.Random(9).sample(range(ROWS), BAD))
    lines = ["serialNumber,siteId,deviceType,name,limits.silenceTimeoutS"]
    for number in range(ROWS):
        serial, site = f"L-{number:06d}", number % 500 + 1
        row = _BROKEN[number % len(_BROKEN)] if number in bad else '{serial},{site},METER,"Meter, {serial}",60'
        lines.append(row.format(serial=serial, site=site))
    file.write_text("\n".join(lines) + "\n")

    took = {}
    for name in ("first", "again"):
        started_s = time.monotonic()
        done = deployed.command("devices", "import", str(file), "--rejected", str(tmp_path / "rejected.csv"), "--json", check=False)
        took[name] = time.monotonic() - started_s
        found = json.loads(done.stdout)
        assert done.returncode == 1
        assert sorted(each["line"] for each in found["bad"]) == sorted(number + 2 for number in bad)
        assert (len(found["new"]), found["unchanged"]) == ((ROWS - BAD, 0) if name == "first" else (0, ROWS - BAD))
    print(f"\n{ROWS} rows, {BAD} bad: first import {took['first']:.1f} s, the same again {took['again']:.1f} s")
    assert max(took.values()) < SECONDS_MAX
    assert len((tmp_path / "rejected.csv").read_text().splitlines()) == BAD + 1


def test_an_import_gives_up_when_kafka_goes_away_in_the_middle(system: System, tmp_path: Path) -> None:
    """The network between it and Kafka drops everything from the first devices on."""
    deployed, link = system.deployment, system.spare_link()
    file = tmp_path / "devices.csv"
    rows = (f'L-{number:06d},{number % 500 + 1},METER,"Meter {number}",60' for number in range(ROWS))
    file.write_text("\n".join(("serialNumber,siteId,deviceType,name,limits.silenceTimeoutS", *rows)) + "\n")
    topic = Topic(system, DEVICE_REGISTRY)
    importing = deployed.start("import", ["devices", "import", str(file)], 0, {"EMS_KAFKA_BOOTSTRAP_SERVERS": link.address})
    try:
        assert until(lambda: next(iter(topic.new_records(0.2)), None), 90.0, pause_s=0.0) is not None, "nothing is written"
        link.cut()
        began_s = time.monotonic()
        code = importing.popen.wait(WRITE_TIMEOUT_S + 40.0)
    finally:
        topic.close()
        link.heal(reset=True)
    told = importing.log_tail()
    finding = Finding({"exit code": 3, "says so": True}, {"exit code": code, "says so": "Kafka does not take the devices" in told})
    verdict(
        "import without Kafka", finding, load=f"{ROWS} devices", faults=f"network cut; gave up after {time.monotonic() - began_s:.0f} s"
    )
