"""What an audit comes to, from a recorded report, from reports that pip-audit itself writes, and from programs that fail as it does."""

import json
import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from pip_audit._format import JsonFormat
from pip_audit._service import ResolvedDependency, SkippedDependency, VulnerabilityResult

from supply_chain.audit import ACCEPTED, AuditError, SourceAwayError, ask, main
from supply_chain.findings import AcceptanceError, read_acceptances
from supply_chain.pins import CONSTRAINTS, read_pins

REPORTS = Path(__file__).parent / "reports"
TODAY = date(2026, 6, 1)
PINS = "a==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\nb==2.0 ; python_version < '3.12' \\\n    --hash=sha256:" + "1" * 64 + "\n"


def report(*, skipped: int = 0, vulnerable: bool = False, names: tuple[str, ...] = ("a", "b")) -> str:
    """As pip-audit writes it."""
    found: dict[Any, list[VulnerabilityResult]] = {}
    for number, name in enumerate(names):
        if number < skipped:
            found[SkippedDependency(name, f"Dependency not found on PyPI and could not be audited: {name} (1.0)")] = []
            continue
        bad = VulnerabilityResult("PYSEC-2026-1", "Bad\nthings.", [Version("1.1")], {"CVE-2026-7"})
        found[ResolvedDependency(name, Version("1.0"))] = [bad] if vulnerable and name == "a" else []
    return JsonFormat(output_desc=True, output_aliases=True).format(found, [])


def acceptance(**changes: str) -> str:
    given = {"id": '"CVE-2026-7"', "package": '"a"', "reason": '"Not called."', "until": "2026-06-01"} | changes
    return "[[accepted]]\n" + "\n".join(f"{name} = {value}" for name, value in given.items() if value)


class Audit:
    """Runs the command on files in a directory."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self.capsys = capsys

    def run(self, report_: str, accepted: str = "", *, pins: str = PINS, json_: bool = True) -> tuple[int, Any]:
        for name, content in (("constraints.txt", pins), ("accepted.toml", accepted), ("report.json", report_)):
            (self.directory / name).write_text(content)
        files = [f"--constraints={self.directory}/constraints.txt", f"--accepted={self.directory}/accepted.toml"]
        code = main([*files, f"--report={self.directory}/report.json", *(["--json"] if json_ else [])], TODAY)
        said = self.capsys.readouterr()
        return code, json.loads(said.out) if json_ and said.out else said.out + said.err


@pytest.fixture
def audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Audit:
    return Audit(tmp_path, capsys)


def test_nothing_found_in_everything_passes(audit: Audit) -> None:
    assert audit.run(report())[1]["result"] == "PASSED"
    code, said = audit.run(report(), json_=False)
    assert (code, "nothing found in 2 packages" in said) == (0, True)


def test_a_planted_finding_fails_and_is_named(audit: Audit) -> None:
    code, said = audit.run(report(vulnerable=True))
    assert (code, said["result"]) == (1, "FAILED")
    assert said["found"] == [
        {
            "id": "PYSEC-2026-1",
            "aliases": ["CVE-2026-7"],
            "package": "a",
            "version": "1.0",
            "fixedIn": ["1.1"],
            "description": "Bad things.",
        }
    ]
    code, text = audit.run(report(vulnerable=True), json_=False)
    assert (code, "PYSEC-2026-1" in text, "FAILED: 1 findings" in text) == (1, True, True)


def test_a_finding_among_packages_of_which_nothing_is_known_fails_as_well(audit: Audit) -> None:
    assert audit.run(report(skipped=1, vulnerable=True, names=("b", "a")))[0] == 1


def test_an_accepted_finding_passes_up_to_its_day_by_its_id_or_another_name(audit: Audit) -> None:
    for name in ('"CVE-2026-7"', '"PYSEC-2026-1"'):
        code, said = audit.run(report(vulnerable=True), acceptance(id=name))
        assert (code, said["result"], len(said["accepted"]), said["found"]) == (0, "PASSED", 1, [])


def test_an_acceptance_whose_day_has_passed_fails_whether_it_is_found_or_not(audit: Audit) -> None:
    for vulnerable in (True, False):
        code, said = audit.run(report(vulnerable=vulnerable), acceptance(until="2026-05-31"))
        assert (code, said["result"], said["expired"][0]["id"]) == (1, "FAILED", "CVE-2026-7")


def test_an_acceptance_is_of_its_package_only_and_one_that_is_not_needed_is_told(audit: Audit) -> None:
    code, said = audit.run(report(vulnerable=True), acceptance(package='"b"'))
    assert (code, len(said["found"]), said["unused"]) == (1, 1, [{"id": "CVE-2026-7", "package": "b"}])


def test_where_the_index_knows_nothing_it_is_said_loudly_that_nothing_was_audited(audit: Audit) -> None:
    recorded, pins = (REPORTS / "nothing_known.json").read_text(), CONSTRAINTS.read_text()
    code, said = audit.run(recorded, pins=pins)
    assert (code, said["result"], said["audited"]) == (0, "NOT_AUDITED", 0)
    [(reason, count)] = said["notAudited"].items()
    assert (reason, count > 100) == ("Dependency not found on PyPI and could not be audited", True)
    code, text = audit.run(recorded, pins=pins, json_=False)
    assert code == 0
    assert re.search(r"WARNING: NOTHING WAS AUDITED: none of \d+ packages\. This says nothing", text)
    assert "nothing found" not in text


def test_a_part_that_was_not_audited_is_told_and_no_success_is_claimed_for_it(audit: Audit) -> None:
    assert audit.run(report(skipped=1))[1]["result"] == "PARTLY_AUDITED"
    code, text = audit.run(report(skipped=1), json_=False)
    assert (code, "only 1 of 2 packages were audited; of 1 nothing is known" in text) == (0, True)


@pytest.mark.parametrize("wrong", ["{}", '{"dependencies": [1]}', "no json"])
def test_what_is_no_report_is_no_success(audit: Audit, wrong: str) -> None:
    assert audit.run(wrong, json_=False)[0] == 2


@pytest.mark.parametrize(
    ("accepted", "said"),
    [
        (acceptance(reason=""), "expected id, package, reason and until"),
        (acceptance(reason='" "'), "reason=' ': expected a text"),
        (acceptance(until='"soon"'), "until='soon': expected a day"),
        ("[accept]\n", "accept: expected nothing but [[accepted]]"),
        ("accepted = 1\n", "expected [[accepted]] entries"),
    ],
)
def test_an_acceptance_that_is_not_whole_is_refused(audit: Audit, accepted: str, said: str) -> None:
    code, text = audit.run(report(), accepted, json_=False)
    assert (code, said in text) == (2, True), text


def program(tmp_path: Path, source: str) -> list[str]:
    file = tmp_path / "stand_in.py"
    file.write_text(source)
    return [str(file)]


def test_a_source_that_is_away_is_told_as_such_and_another_failure_is_one(tmp_path: Path) -> None:
    good = program(tmp_path, f"print({report()!r})")
    assert len(ask(CONSTRAINTS, good)["dependencies"]) == 2
    found = program(tmp_path, f"import sys; print({report(vulnerable=True)!r}); sys.exit(1)")
    assert ask(CONSTRAINTS, found)["dependencies"][0]["vulns"]
    away = program(tmp_path, "import sys; sys.exit('ERROR:pip_audit._cli: Could not connect: Max retries exceeded')")
    with pytest.raises(SourceAwayError, match="Max retries"):
        ask(CONSTRAINTS, away)
    broken = program(tmp_path, "import sys; sys.exit('unexpected hash')")
    with pytest.raises(AuditError, match="unexpected hash"):
        ask(CONSTRAINTS, broken)
    with pytest.raises(AuditError, match="printed no report"):
        ask(CONSTRAINTS, program(tmp_path, "print('nothing found')"))


def test_a_source_that_is_away_fails_nothing_but_an_expired_acceptance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: Path) -> object:
        raise SourceAwayError("Max retries")

    monkeypatch.setattr("supply_chain.audit.ask", away)
    (tmp_path / "accepted.toml").write_text("")
    assert main([f"--accepted={tmp_path}/accepted.toml"], TODAY) == 0
    assert "NOTHING WAS AUDITED" in capsys.readouterr().out
    (tmp_path / "accepted.toml").write_text(acceptance(until="2026-01-01"))
    assert main([f"--accepted={tmp_path}/accepted.toml"], TODAY) == 1


def test_what_is_accepted_here_can_be_read_and_every_pin_is_seen() -> None:
    read_acceptances(tomllib.loads(ACCEPTED.read_text()))
    pins = read_pins(CONSTRAINTS.read_text())
    assert len(pins) == len(re.findall(r"^[a-z0-9._-]+==", CONSTRAINTS.read_text(), re.MULTILINE))
    assert all(pin.sha256 for pin in pins)
    with pytest.raises(ValueError, match="line 1: 'a>=1'"):
        read_pins("a>=1\n")
    with pytest.raises(AcceptanceError):
        read_acceptances({"accepted": [1]})
