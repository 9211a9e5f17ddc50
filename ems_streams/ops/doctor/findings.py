"""What doctor finds: each with what it is, its evidence and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass

from ems_streams.ops.doctor.kinds import KINDS, Severity


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        code: Which kind it is; a key of `KINDS`.
        what: In one sentence, with the thing named.
        found: The value that was found.
        expected: What it should be.
        advice: What to do.
        command: What to run for it, as arguments, when there is one command.
    """

    code: str
    what: str
    found: str
    expected: str
    advice: str
    command: tuple[str, ...] = ()

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        return KINDS[self.code].severity

    def view(self) -> dict[str, object]:
        """As JSON."""
        return {
            "code": self.code,
            "severity": self.severity,
            "what": self.what,
            "found": self.found,
            "expected": self.expected,
            "advice": self.advice,
            "command": list(self.command) or None,
        }


def finding(code: str, what: str, *, found: object, expected: str, **named: object) -> Finding:
    """A finding of a kind; `named` are what its advice and its command name, such as a file."""
    kind = KINDS[code]
    return Finding(code, what, str(found), expected, kind.advice.format(**named), tuple(part.format(**named) for part in kind.command))


def some(names: Sequence[str], most: int = 5) -> str:
    """Names, as many as people read."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
