"""`make audit`: known vulnerabilities of what is pinned, by pip-audit.

Exit 0 when nothing is found, also when nothing could be asked, which it then says; 1 for a finding that nobody has accepted, an acceptance whose day has
passed, or an audit that failed for another reason than that its source is away; 2 for wrong usage.
"""

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from supply_chain.findings import AcceptanceError, Verdict, judge, read_acceptances
from supply_chain.pins import CONSTRAINTS, ROOT, read_pins

ACCEPTED: Final = ROOT / "supply_chain" / "accepted.toml"
REQUEST_TIMEOUT_S: Final = 5
DEADLINE_S: Final = 120.0
_AWAY: Final = (
    "ConnectionError",
    "Connection refused",
    "timed out",
    "Timeout",
    "NameResolutionError",
    "ServiceError",
    "ProxyError",
    "Max retries",
)
_COMMAND: Final = ("-m", "pip_audit", "--no-deps", "--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off")


class AuditError(Exception):
    """The audit itself failed."""


def main(arguments: Sequence[str] | None = None, today: date | None = None) -> int:
    """Audit, and say what came of it."""
    parser = argparse.ArgumentParser(prog="make audit", description=__doc__)
    parser.add_argument("--constraints", type=Path, default=CONSTRAINTS, help="pinned packages")
    parser.add_argument("--accepted", type=Path, default=ACCEPTED, help="findings that are accepted")
    parser.add_argument("--report", type=Path, help="a report of pip-audit to be judged, instead of asking")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    options = parser.parse_args(arguments)
    try:
        pinned = len(read_pins(options.constraints.read_text()))
        acceptances = read_acceptances(tomllib.loads(options.accepted.read_text()))
        report = json.loads(options.report.read_text()) if options.report else ask(options.constraints)
        verdict = judge(report, pinned, acceptances, today or datetime.now(UTC).date())
    except SourceAwayError as error:
        expired = judge({"dependencies": []}, pinned, acceptances, today or datetime.now(UTC).date()).expired
        verdict = Verdict(pinned, expired=expired, source_away=str(error))
    except AuditError as error:
        sys.stderr.write(f"audit: {error}\n")
        return 1
    except (OSError, AcceptanceError, ValueError) as error:
        sys.stderr.write(f"audit: {error}\n")
        return 2
    if options.json:
        print(json.dumps(verdict.view(), indent=2))
    else:
        show(verdict, options.accepted)
    return 1 if verdict.failed else 0


class SourceAwayError(Exception):
    """Where vulnerabilities are told nobody answers."""


def ask(constraints: Path, command: Sequence[str] = _COMMAND) -> Any:
    """The report of pip-audit; raises `SourceAwayError` and `AuditError`."""
    program = [sys.executable, *command, "--timeout", str(REQUEST_TIMEOUT_S), "--requirement", str(constraints)]
    try:
        done = subprocess.run(program, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    except subprocess.TimeoutExpired:
        raise SourceAwayError(f"no answer within {DEADLINE_S:g} s") from None
    # It ends with 1 also when it has found something, and then prints the report.
    if done.returncode in {0, 1} and done.stdout.strip():
        try:
            return json.loads(done.stdout)
        except ValueError as error:
            raise AuditError(f"pip-audit printed no report: {error}") from None
    last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), f"exit code {done.returncode}")
    if any(word in done.stderr for word in _AWAY):
        raise SourceAwayError(last)
    raise AuditError(f"pip-audit failed: {last}")


def show(verdict: Verdict, accepted: Path) -> None:
    """The verdict for people, on stdout."""
    console = Console(highlight=False, soft_wrap=True)
    for title, vulnerabilities in (("found", verdict.found), ("accepted", verdict.accepted)):
        if vulnerabilities:
            table = Table("ID", "PACKAGE", "VERSION", "FIXED IN", "WHAT", title=title)
            for each in vulnerabilities:
                table.add_row(each.names[0], each.package, each.version, ", ".join(each.fixed_in) or "-", each.description[:100])
            console.print(table)
    for expired in verdict.expired:
        console.print(
            f"expired: {expired.finding} of {expired.package} was accepted until {expired.until}: mend it, or decide anew in {accepted}"
        )
    for unused in verdict.unused:
        console.print(f"no longer found: {unused.finding} of {unused.package}; take it out of {accepted}")
    for reason, count in verdict.not_audited.items():
        console.print(f"not audited: {count} packages: {reason}")
    console.print(_conclusion(verdict))


def _conclusion(verdict: Verdict) -> str:
    why = f" ({verdict.source_away})" if verdict.source_away else ""
    if verdict.result == "NOT_AUDITED":
        return (
            f"audit: WARNING: NOTHING WAS AUDITED: none of {verdict.pinned} packages{why}. This says nothing about their vulnerabilities."
        )
    if verdict.result == "PARTLY_AUDITED":
        left = verdict.pinned - verdict.audited
        return f"audit: WARNING: only {verdict.audited} of {verdict.pinned} packages were audited; of {left} nothing is known. In the others nothing was found."
    if verdict.result == "PASSED":
        return f"audit: nothing found in {verdict.pinned} packages, {len(verdict.accepted)} findings accepted"
    return f"audit: FAILED: {len(verdict.found)} findings, {len(verdict.expired)} acceptances that have expired; {verdict.audited} of {verdict.pinned} audited"


if __name__ == "__main__":
    sys.exit(main())
