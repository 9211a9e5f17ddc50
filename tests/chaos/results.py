"""The verdict of each test: a line when it is reached, all of them in a table at the end, and in files for people and for machines."""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.chaos.harness import SCALE, SEED

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """What must hold, what does, and what was measured on the way."""

    expected: Facts
    found: Facts
    measured: str = ""

    def __add__(self, other: "Finding") -> "Finding":
        measured = "; ".join(each for each in (self.measured, other.measured) if each)
        return Finding(self.expected | other.expected, self.found | other.found, measured)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a test did to a system, and whether that held.

    Attributes:
        test: The test's id, as pytest has it.
        at: Unix time, in seconds.
    """

    name: str
    passed: bool
    load: str
    faults: str
    expected: Facts
    found: Facts
    measured: str
    test: str
    seed: int
    scale: float
    at: float

    def __str__(self) -> str:
        more = f" ({self.measured})" if self.measured else ""
        return f"load {self.load}, faults {self.faults}, expected {_shown(self.expected)}, found {_shown(self.found)}{more}"


VERDICTS: list[Verdict] = []
"""Of this run, in the order in which they were reached."""


def verdict(name: str, finding: Finding, *, load: str, faults: str) -> None:
    """Print the line of a test, and fail when what was found is not what was expected.

    The line also goes to the file that `EMS_CHAOS_RESULTS` names, as one JSON object.
    """
    test = os.environ.get("PYTEST_CURRENT_TEST", "").removesuffix(" (call)")
    expected, found = finding.expected, finding.found
    line = Verdict(name, found == expected, load, faults, expected, found, finding.measured, test, SEED, SCALE, round(time.time(), 3))
    VERDICTS.append(line)
    print(f"\nCHAOS {name}: {line}", flush=True)
    if path := os.environ.get("EMS_CHAOS_RESULTS"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(line), default=str) + "\n")
    assert found == expected


def table(without_verdict: list[str]) -> list[str]:
    """All verdicts of this run, a line each; `without_verdict` are the tests that broke before theirs."""
    rows = [("ok" if each.passed else "WRONG", each.name, str(each)) for each in VERDICTS]
    rows += [("BROKEN", test.rpartition("::")[2].removeprefix("test_"), "ended without a verdict") for test in without_verdict]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    return [f"{result:{widths[0]}}  {name:{widths[1]}}  {text}" for result, name, text in rows]


def _shown(facts: Facts) -> str:
    return "; ".join(f"{name} {value}" for name, value in facts.items())
