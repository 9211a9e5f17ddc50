"""`make chaos-mutations`: each known fault put in, one after the other, and whether the suite notices it. Takes about half an hour.

A test that does not fail with its fault proves nothing, so this ends with 1 unless every line says `caught`. A test that breaks
before its verdict is no catch.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = {
    "auto-ack": ["tests/chaos/test_ingress.py::test_ingress"],
    "faust-commits": ["tests/chaos/test_exactness.py::test_aggregates"],
    "store-first": ["tests/chaos/test_exactness.py::test_transitions"],
    "no-continuity-guard": ["tests/integration/worker/test_continuity.py"],
}
SCALE = "0.3"
"""Kills enough that a fault which shows in one of five is seen."""
TIMEOUT_S = 1800.0


def run(fault: str) -> tuple[str, str]:
    """`caught`, `MISSED` or `BROKEN`, and what was found instead of what was expected."""
    with tempfile.TemporaryDirectory(prefix="ems-mutation-") as directory:
        results = Path(directory) / "results.jsonl"
        options = ["-m", "chaos or integration", f"--basetemp={directory}/tests"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *TESTS[fault]],
            env={**os.environ, "EMS_CHAOS_MUTATION": fault, "EMS_CHAOS_SCALE": SCALE, "EMS_CHAOS_RESULTS": str(results)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        verdicts = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    if done.returncode == 0:
        return "MISSED", ""
    wrong = [
        f"{verdict['name']}: {name} {verdict['found'].get(name)} instead of {must}"
        for verdict in verdicts
        for name, must in verdict["expected"].items()
        if verdict["found"].get(name) != must
    ]
    # Outside the chaos suite there is no verdict, only the assertion that failed.
    wrong = wrong or re.findall(r"^E +(?:AssertionError: )?(assert .*)$", done.stdout, re.MULTILINE)
    return ("caught", "; ".join(wrong)) if wrong else ("BROKEN", done.stdout[-3000:])


def main() -> int:
    missed = 0
    for fault in sys.argv[1:] or TESTS:
        started_s = time.monotonic()
        result, detail = run(fault)
        missed += result != "caught"
        print(f"{result}  {fault}  ({time.monotonic() - started_s:.0f} s)  {detail}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
