"""The constraints file serves every dependency, on any index."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONSTRAINTS = (ROOT / "constraints.txt").read_text()


def test_every_dependency_is_pinned() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = pyproject["project"]["optional-dependencies"].values()
    wanted = [*pyproject["build-system"]["requires"], *pyproject["project"]["dependencies"], *(each for extra in extras for each in extra)]
    pinned = set(re.findall(r"^([a-z0-9._-]+)==", CONSTRAINTS, re.MULTILINE))

    names = {re.split(r"[<>=!~;\[ ]", each)[0].lower() for each in wanted}

    assert names - pinned == set(), "run `make constraints`"


def test_every_pin_has_hashes_and_no_address() -> None:
    entries = re.split(r"\n(?=[a-z0-9])", CONSTRAINTS)

    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in CONSTRAINTS
