"""What each pinned package is needed for, by following what installed packages say that they need."""

from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

RUNTIME: Final = "runtime"
OPTIONAL: Final = "optional"
TEST: Final = "test"


def scopes(pyproject: Mapping[str, Any], pinned: set[str]) -> dict[str, str]:
    """By package: `runtime` for what every installation has, `optional` for what only extras bring, `test` for the rest.

    A package that is not installed here, since it is for another platform, brings nothing with it; it is itself of the scope of what asks for it.
    """
    project = pyproject["project"]
    extras = project["optional-dependencies"]
    runtime = _closure(project["dependencies"], pinned)
    optional = _closure([each for name, needed in extras.items() if name != TEST for each in needed], pinned)
    found = dict.fromkeys(pinned, TEST)
    found |= dict.fromkeys(optional, OPTIONAL)
    return found | dict.fromkeys(runtime, RUNTIME)


def _closure(requirements: Iterable[str], pinned: set[str]) -> set[str]:
    pending = [Requirement(each) for each in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while pending:
        wanted = pending.pop()
        name, extras = str(canonicalize_name(wanted.name)), frozenset(wanted.extras)
        if name not in pinned or (name, extras) in seen:
            continue
        seen.add((name, extras))
        pending += [each for each in _needs(name) if _concerns(each, extras)]
    return {name for name, _ in seen}


def _needs(name: str) -> list[Requirement]:
    try:
        told = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for each in told:
        try:
            found.append(Requirement(each))
        except InvalidRequirement:
            continue
    return found


def _concerns(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    if marker is None:
        return True
    # Whatever the platform is here, the bill is for all; only what an extra asks for that nobody wants is left out.
    text = str(marker)
    return "extra" not in text or any(marker.evaluate({"extra": extra}) for extra in extras)
