"""Checks: what one is, and running all of them at once, each with a deadline; a check that fails is a finding."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from ems_streams.ops.doctor.findings import Finding, finding

C = TypeVar("C")

TIMEOUT_S = 20.0


class Outcome(StrEnum):
    """How a check ended."""

    WELL = "well"
    FOUND = "found"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Report:
    """What a check says.

    Attributes:
        findings: What is not as it should be.
        facts: What it has seen, for people: a line's worth.
        usable: Whether checks that need what it looked at make sense.
    """

    findings: Sequence[Finding] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    usable: bool = True


@dataclass(frozen=True, slots=True)
class Check(Generic[C]):
    """A check by its name.

    Attributes:
        name: Unique; what the result is called.
        run: The check; may wait, and must not block the loop.
        needs: Names of checks that must have found their servers usable; this one is skipped otherwise.
        timeout_s: Its deadline.
    """

    name: str
    run: Callable[[C], Awaitable[Report]]
    needs: tuple[str, ...] = ()
    timeout_s: float = TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a check; `took_s` counts from when its needs were met."""

    name: str
    outcome: Outcome
    report: Report
    took_s: float
    why_skipped: str = ""

    def view(self) -> dict[str, object]:
        """As JSON."""
        return {
            "check": self.name,
            "outcome": self.outcome,
            "tookS": round(self.took_s, 3),
            "facts": dict(self.report.facts),
            "whySkipped": self.why_skipped or None,
            "findings": [each.code for each in self.report.findings],
        }


async def examine(checks: Sequence[Check[C]], context: C) -> list[Result]:
    """Run all checks at the same time, in the order of their needs; results in the order of `checks`. Never raises what a check raises."""
    tasks: dict[str, asyncio.Task[Result]] = {}

    async def run(check: Check[C]) -> Result:
        for name in check.needs:
            if not (await tasks[name]).report.usable:
                return Result(check.name, Outcome.SKIPPED, Report(usable=False), 0.0, f"needs {name}")
        return await _run(check, context)

    for check in checks:
        # The tasks begin to run only when all of them are known.
        tasks[check.name] = asyncio.create_task(run(check), name=f"check {check.name}")
    return list(await asyncio.gather(*tasks.values()))


async def _run(check: Check[C], context: C) -> Result:
    started_s = time.monotonic()
    try:
        async with asyncio.timeout(check.timeout_s):
            report = await check.run(context)
    except TimeoutError:
        what = f"the check {check.name} did not end"
        late = finding("check-late", what, found=f"no end after {check.timeout_s:g} s", expected=f"an end within {check.timeout_s:g} s")
        report = Report([late], usable=False)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other checks go on
        failed = finding("check-failed", f"the check {check.name} failed", found=f"{type(error).__name__}: {error}", expected="an answer")
        report = Report([failed], usable=False)
    outcome = Outcome.FOUND if report.findings else Outcome.WELL
    return Result(check.name, outcome, report, time.monotonic() - started_s)
