"""The pins of `constraints.txt` that an image needs: what runs, and what builds it, without tests and the dev stack.

`make image-pins` writes them to `docker/`; a test compares. `python release/pins.py dev-stack` prints those of the dev stack as well. pip checks hashes only of requirements that are pinned
themselves, so a list of its own for each is what a build can check.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
EXTRAS = ("tracing",)
"""Of the project, that an image has."""
PYTHONS = ("3.11", "3.12", "3.13")


def wanted() -> dict[str, list[Requirement]]:
    """What the project asks for, by the file in `docker/` that pins it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    runtime = [*project["project"]["dependencies"], *(each for extra in EXTRAS for each in extras[extra])]
    build = project["build-system"]["requires"]
    return {"requirements.txt": [Requirement(each) for each in runtime], "requirements-build.txt": [Requirement(each) for each in build]}


def closure(requirements: Iterable[Requirement]) -> set[str]:
    """Names of these and of all that they need, on Linux with any Python that is supported; of what is installed here."""
    found: dict[str, set[str]] = {}
    open_ones = list(requirements)
    while open_ones:
        requirement = open_ones.pop()
        name = canonicalize_name(requirement.name)
        if name in found and requirement.extras <= found[name]:
            continue
        found[name] = found.get(name, set()) | requirement.extras
        open_ones += needs(name, requirement.extras)
    return set(found)


def needs(name: str, extras: Iterable[str]) -> Iterator[Requirement]:
    """What a distribution asks for under some supported Python."""
    for text in metadata.requires(name) or ():
        requirement = Requirement(text)
        environments = [{"python_version": python, "extra": extra} for python in PYTHONS for extra in ("", *extras)]
        if requirement.marker is None or any(requirement.marker.evaluate(each) for each in environments):
            yield requirement


def pins() -> dict[str, str]:
    """Every pin with its hashes, by name."""
    entries = re.split(r"\n(?=[a-z0-9])", (ROOT / "constraints.txt").read_text())
    return {re.split(r"[=\[]", entry)[0]: f"{entry.rstrip()}\n" for entry in entries if "==" in entry}


def files() -> dict[str, str]:
    """Content of each file in `docker/`; raises `KeyError` for something that is needed and not pinned."""
    pinned = pins()
    return {name: "".join(pinned[each] for each in sorted(closure(each))) for name, each in wanted().items()}


def with_extra(extra: str) -> str:
    """The pins of what the project needs to run, with one more extra: for an environment that is made by hand."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(each) for each in (*project["dependencies"], *project["optional-dependencies"][extra])]
    pinned = pins()
    return "".join(pinned[each] for each in sorted(closure(wanted)))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.stdout.write(with_extra(sys.argv[1]))
        sys.exit()
    for file, text in files().items():
        (ROOT / "docker" / file).write_text(text)
        sys.stdout.write(f"docker/{file}: {text.count('==')} packages\n")
