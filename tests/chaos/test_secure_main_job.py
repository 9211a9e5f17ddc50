"""The main job at full size on `ems-streams dev --secure`: exact from either worker, and every poison message in the dead letters."""

import asyncio
import re
import time
from base64 import b64decode
from collections import Counter
from dataclasses import dataclass
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

RATE, DEVICES = 2000, 200
FAULTS = "duplicates=0.02,out-of-order=0.02,poison=0.01"
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


@dataclass(frozen=True)
class Published:
    """What the simulator says of what it has sent.

    Attributes:
        refused: Poison on topics that are no device's, which is not for the fleet to write.
    """

    ledger: Path
    unacknowledged: int
    refused: int
    poison: Counter[bytes]


def publish(secure: SecureDev, ledger: Path) -> Published:
    """The fleet sends for `SECONDS`."""
    options = {"--prefix": "DEMO-T-", "--devices": DEVICES, "--rate": RATE, "--duration": SECONDS, "--ledger": ledger, "--faults": FAULTS}
    given = [str(part) for option in options.items() for part in option]
    done = secure.simulate("--seed", "7", *given, timeout_s=SECONDS + 120)
    said = re.search(r"(\d+) messages were not acknowledged by the broker, (\d+) refused", done.stderr)
    assert said is not None, done.stderr
    poison = Counter(b64decode(entry["payload"]) for entry in read_ledger(Path(f"{ledger}.poison")))
    return Published(ledger, int(said[1]), int(said[2]), poison)


def judged(secure: SecureDev, sent: Published) -> Finding:
    """Every device from the gateway and from either worker, and all dead letters."""
    readers = {"gateway": secure.access(), "worker-0": secure.worker(0), "worker-1": secure.worker(1)}
    until_exact(readers["gateway"], sent.ledger, 120)
    wrong = {name: len(wrong_devices(each, sent.ledger)) for name, each in readers.items()}
    eventually(lambda: dead(secure).total() >= sent.poison.total(), 60, "as many dead letters as poison messages")
    letters, truth = dead(secure), totals(sent.ledger)
    return Finding(
        expected={
            "not acknowledged": 0, "some refused": True, "devices": DEVICES, "wrong by": dict.fromkeys(readers, 0), "poison not dead": 0,
            "dead but no poison": 0,
        },
        found={
            "not acknowledged": sent.unacknowledged, "some refused": sent.refused > 0, "devices": len(truth), "wrong by": wrong,
            "poison not dead": (sent.poison - letters).total(), "dead but no poison": (letters - sent.poison).total(),
        },
        measured=f"{sum(each.count for metrics in truth.values() for each in metrics.values())} values",
    )  # fmt: skip


def test_the_main_job_at_full_size(tmp_path: Path) -> None:
    started_s = time.monotonic()
    with secure_dev(tmp_path / "dev", "--no-simulator", workers=2):
        first_s = time.monotonic() - started_s
    started_s = time.monotonic()
    with secure_dev(tmp_path / "dev", "--no-simulator", workers=2) as secure:
        starts = Finding({}, {}, f"first start {first_s:.1f} s, second {time.monotonic() - started_s:.1f} s")
        assert eventually(lambda: split(secure.worker(0)), 60, "partitions split between two workers") == [0, 1, 2, 3]
        sent = publish(secure, tmp_path / "ledger.jsonl")
        finding = judged(secure, sent)
    count, different, refused = sent.poison.total(), len(sent.poison), sent.refused
    load = f"{DEVICES} devices at {RATE}/s for {SECONDS} s, {count} poison messages, {different} different ones; {refused} refused by the broker"
    verdict("main job, secured", starts + finding, load=load, faults=FAULTS)
