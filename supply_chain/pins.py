"""The pinned packages of `constraints.txt`, with their hashes."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
CONSTRAINTS: Final = ROOT / "constraints.txt"
_PIN: Final = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)\s*(?:;\s*(?P<marker>[^\\]+?))?\s*\\?$")
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Pin:
    """A package in one version.

    Attributes:
        marker: For which platforms and Pythons it is; empty for all.
        sha256: Of each of its files, any of which may be installed.
    """

    name: str
    version: str
    marker: str
    sha256: tuple[str, ...]


def read_pins(text: str) -> list[Pin]:
    """The pins of a constraints file; raises `ValueError`, which names the line, for anything else."""
    pins: list[Pin] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if hashes := _HASH.findall(stripped):
            if not pins:
                raise ValueError(f"line {number}: {stripped[:80]!r}: a hash before any package")
            pins[-1] = Pin(pins[-1].name, pins[-1].version, pins[-1].marker, (*pins[-1].sha256, *hashes))
            continue
        found = _PIN.match(stripped)
        if found is None:
            raise ValueError(f"line {number}: {stripped[:80]!r}: expected name==version or a hash")
        pins.append(Pin(found["name"].lower(), found["version"], (found["marker"] or "").strip(), ()))
    return pins
