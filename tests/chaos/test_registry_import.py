"""A hundred thousand devices with one bad row in a hundred: how long an import takes, and that it does what it says."""

import json
import random
import time
from pathlib import Path

import pytest

from ems_streams.dev.stack import EmbeddedStack
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
