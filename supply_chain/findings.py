"""What an audit comes to: findings that are new, accepted or accepted for too long, and packages that were not audited; no I/O."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any


class AcceptanceError(ValueError):
    """The file of accepted findings says something that it cannot say."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A finding that is accepted up to and including a day."""

    finding: str
    package: str
    reason: str
    until: date


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """What is known against a package.

    Attributes:
        names: Its id and its other names.
        fixed_in: Versions without it.
    """

    package: str
    version: str
    names: tuple[str, ...]
    fixed_in: tuple[str, ...]
    description: str

    def view(self) -> dict[str, Any]:
        return {
            "id": self.names[0],
            "aliases": list(self.names[1:]),
            "package": self.package,
            "version": self.version,
            "fixedIn": list(self.fixed_in),
            "description": self.description,
        }


@dataclass(slots=True)
class Verdict:
    """Of an audit.

    Attributes:
        pinned: Packages that were to be audited.
        audited: Packages of which the source knew whether anything is known against them.
        not_audited: Why the others were not, with how many.
        found: Vulnerabilities that nobody has accepted.
        accepted: Those that somebody has.
        expired: Acceptances whose day has passed, found or not.
        unused: Acceptances of what was not found although its package was audited.
        source_away: Why nothing could be asked at all; empty when it could.
    """

    pinned: int
    audited: int = 0
    not_audited: Counter[str] = field(default_factory=Counter)
    found: list[Vulnerability] = field(default_factory=list)
    accepted: list[Vulnerability] = field(default_factory=list)
    expired: list[Acceptance] = field(default_factory=list)
    unused: list[Acceptance] = field(default_factory=list)
    source_away: str = ""

    @property
    def failed(self) -> bool:
        """Whether somebody has to do something before this may be released."""
        return bool(self.found or self.expired)

    @property
    def result(self) -> str:
        """`FAILED`, `NOT_AUDITED` (nothing is known of any package), `PARTLY_AUDITED` or `PASSED`."""
        if self.failed:
            return "FAILED"
        if not self.audited:
            return "NOT_AUDITED"
        return "PASSED" if self.audited >= self.pinned else "PARTLY_AUDITED"

    def view(self) -> dict[str, Any]:
        return {
            "result": self.result,
            "pinned": self.pinned,
            "audited": self.audited,
            "notAudited": dict(self.not_audited),
            "sourceAway": self.source_away or None,
            "found": [each.view() for each in self.found],
            "accepted": [each.view() for each in self.accepted],
            "expired": [{"id": each.finding, "package": each.package, "until": each.until.isoformat()} for each in self.expired],
            "unused": [{"id": each.finding, "package": each.package} for each in self.unused],
        }


def read_acceptances(document: Mapping[str, Any]) -> list[Acceptance]:
    """The accepted findings of a TOML document; raises `AcceptanceError`."""
    unknown = sorted(document.keys() - {"accepted"})
    if unknown:
        raise AcceptanceError(f"{unknown[0]}: expected nothing but [[accepted]]")
    entries = document.get("accepted", [])
    if not isinstance(entries, list):
        raise AcceptanceError("accepted: expected [[accepted]] entries")
    return [_acceptance(number, entry) for number, entry in enumerate(entries, 1)]


def _acceptance(number: int, entry: Any) -> Acceptance:
    expected = {"id": str, "package": str, "reason": str, "until": date}
    if not isinstance(entry, dict) or set(entry) != set(expected):
        said = ", ".join(sorted(entry)) if isinstance(entry, dict) else repr(entry)
        raise AcceptanceError(f"accepted {number}: has {said}, expected id, package, reason and until")
    for name, kind in expected.items():
        if type(entry[name]) is not kind or (kind is str and not entry[name].strip()):
            raise AcceptanceError(f"accepted {number}: {name}={entry[name]!r}: expected {'a day' if kind is date else 'a text'}")
    return Acceptance(entry["id"], entry["package"].lower(), entry["reason"], entry["until"])


def judge(report: Mapping[str, Any], pinned: int, acceptances: Sequence[Acceptance], today: date) -> Verdict:
    """What a report of pip-audit (`--format json`) comes to; raises `ValueError` for one that is none.

    Args:
        report: The report.
        pinned: Packages that were to be audited.
        acceptances: Findings that are accepted.
        today: An acceptance counts up to and including its day.
    """
    verdict = Verdict(pinned, expired=[each for each in acceptances if each.until < today])
    in_force = [each for each in acceptances if each.until >= today]
    audited: set[str] = set()
    used: set[Acceptance] = set()
    for each in _dependencies(report):
        if "skip_reason" in each:
            verdict.not_audited[_kind_of(str(each["skip_reason"]), each["name"])] += 1
            continue
        audited.add(each["name"].lower())
        for vulnerability in _vulnerabilities(each):
            by = next((entry for entry in in_force if _accepts(entry, vulnerability)), None)
            (verdict.found if by is None else verdict.accepted).append(vulnerability)
            used |= set() if by is None else {by}
    verdict.audited = len(audited)
    verdict.unused = [each for each in in_force if each not in used and each.package in audited]
    return verdict


def _dependencies(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    dependencies = report.get("dependencies") if isinstance(report, Mapping) else None
    if not isinstance(dependencies, list) or not all(isinstance(each, dict) and "name" in each for each in dependencies):
        raise ValueError("no report of pip-audit: expected an object with a list of dependencies")
    return dependencies


def _vulnerabilities(dependency: Mapping[str, Any]) -> Iterable[Vulnerability]:
    for each in dependency.get("vulns", ()):
        yield Vulnerability(
            dependency["name"].lower(),
            dependency["version"],
            (each["id"], *each.get("aliases", ())),
            tuple(each.get("fix_versions", ())),
            " ".join(str(each.get("description", "")).split())[:300],
        )


def _accepts(acceptance: Acceptance, vulnerability: Vulnerability) -> bool:
    return acceptance.package == vulnerability.package and acceptance.finding in vulnerability.names


def _kind_of(reason: str, name: str) -> str:
    """A reason without what differs from package to package."""
    return reason.split(":", maxsplit=1)[0].replace(name, "it").strip() or "no reason is given"
