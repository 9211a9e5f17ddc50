"""The main job at full size on `ems-streams dev --secure`: exact from either worker, and every poison message in the dead letters."""

import asyncio
import re
import time
from base64 import b64decode
from collections import Counter
from pathlib import Path

import pytest

from ems_streams.dev.simulator.ledger import read_ledger, totals
from ems_streams.kafka.catalogue import DEVICE_COMMAND_ACKS, DEVICE_REGISTRY, DEVICE_STATUS_REPORTS, DEVICE_TELEMETRY, dlt_of
from tests.chaos.harness import SCALE
from tests.chaos.results import Finding, verdict
from tests.support.access import Access, all_records, until_exact, wrong_devices
from tests.support.processes import eventually
from tests.support.secure_dev import SecureDev, secure_dev

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

RATE, DEVICES, POISON = 2000, 200, 0.01
SECONDS = max(5, round(60 * SCALE))
DEAD = tuple(dlt_of(name) for name in (DEVICE_TELEMETRY, DEVICE_STATUS_REPORTS, DEVICE_REGISTRY, DEVICE_COMMAND_ACKS))


def split(worker: Access) -> list[int] | None:
    """Partitions of all workers, once there are two."""
    status, topology = worker.get("/internal/v1/topology")
    shares = list(topology["workers"].values()) if status == 200 else []
    return sorted(number for each in shares for number in each) if len(shares) == 2 and all(shares) else None


def dead(secure: SecureDev) -> Counter[bytes]:
    """Payloads of everything in the dead letters."""

    async def read() -> Counter[bytes]:
        found = [await all_records(secure.access().kafka, topic) for topic in DEAD]
        return Counter(record.value or b"" for records in found for record in records)

    return asyncio.run(read())


def test_the_main_job_at_full_size(tmp_path: Path) -> None:
    started_s = time.monotonic()
    with secure_dev(tmp_path / "dev", "--no-simulator", workers=2):
        first_s = time.monotonic() - started_s
    started_s = time.monotonic()
    with secure_dev(tmp_path / "dev", "--no-simulator", workers=2) as secure:
        second_s = time.monotonic() - started_s
        workers = [secure.worker(number) for number in range(2)]
        assert eventually(lambda: split(workers[0]), 60, "partitions split between two workers") == [0, 1, 2, 3]
        ledger = tmp_path / "ledger.jsonl"
        options = [
            "--prefix",
            "DEMO-T-",
            "--devices",
            str(DEVICES),
            "--rate",
            str(RATE),
            "--duration",
            str(SECONDS),
            "--ledger",
            str(ledger),
        ]
        faults = f"duplicates=0.02,out-of-order=0.02,poison={POISON}"
        done = secure.simulate("--seed", "7", *options, "--faults", faults, timeout_s=SECONDS + 120)
        # Poison on topics that are no device's is not for the fleet to write: the broker refuses it, and the simulator says how much.
        said = re.search(r"(\d+) messages were not acknowledged by the broker, (\d+) refused", done.stderr)
        assert said is not None, done.stderr
        unacknowledged, refused = map(int, said.groups())
        readers = {"gateway": secure.access(), "worker-0": workers[0], "worker-1": workers[1]}
        until_exact(readers["gateway"], ledger, 120)
        wrong = {name: len(wrong_devices(each, ledger)) for name, each in readers.items()}
        poison = Counter(b64decode(entry["payload"]) for entry in read_ledger(Path(f"{ledger}.poison")))
        awaited = poison.total()
        eventually(lambda: dead(secure).total() >= awaited, 60, "as many dead letters as poison messages")
        letters = dead(secure)
        truth = totals(ledger)
    values = sum(each.count for metrics in truth.values() for each in metrics.values())
    verdict(
        "main job, secured",
        Finding(
            expected={
                "not acknowledged": 0,
                "some refused": True,
                "devices": DEVICES,
                "wrong by": dict.fromkeys(readers, 0),
                "poison not dead": 0,
                "dead but no poison": 0,
            },
            found={
                "not acknowledged": unacknowledged,
                "some refused": refused > 0,
                "devices": len(truth),
                "wrong by": wrong,
                "poison not dead": (poison - letters).total(),
                "dead but no poison": (letters - poison).total(),
            },
            measured=f"first start {first_s:.1f} s, second {second_s:.1f} s; {values} values",
        ),
        load=f"{DEVICES} devices at {RATE}/s for {SECONDS} s, {awaited} poison messages, {len(poison)} different ones; {refused} refused by the broker",
        faults=faults,
    )
