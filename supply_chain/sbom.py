"""`make sbom`: the bill of materials of a release, CycloneDX 1.6 JSON: pinned Python packages, jars of the embedded servers, vendored files of the page.

Made from what is here, without a network. The same tree gives the same bytes: its serial number is made of its content, and its time is
`SOURCE_DATE_EPOCH`, or left out.
"""

import argparse
import hashlib
import os
import sys
import tomllib
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from supply_chain.licences import licences_of
from supply_chain.pins import CONSTRAINTS, ROOT, Pin, read_pins
from supply_chain.scopes import scopes

JARS: Final = ROOT / "ems_streams" / "dev" / "resources" / "jars.txt"
VENDORED: Final = ROOT / "ems_streams" / "gateway" / "static" / "vendor"
_SCOPES: Final = {"runtime": ComponentScope.REQUIRED, "optional": ComponentScope.OPTIONAL, "test": ComponentScope.EXCLUDED}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the bill, and say what is in it."""
    parser = argparse.ArgumentParser(prog="make sbom", description=__doc__)
    parser.add_argument("--output", type=Path, help="default dist/ems-streams-VERSION.cdx.json; - for standard output")
    options = parser.parse_args(arguments)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    components = [*python_components(CONSTRAINTS.read_text()), *jar_components(JARS.read_text()), *vendored_components(VENDORED)]
    document = bill(version, components)
    if options.output is not None and str(options.output) == "-":
        sys.stdout.write(document)
        return 0
    output = options.output or ROOT / "dist" / f"ems-streams-{version}.cdx.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(document)
    unknown = sum(not each.licenses for each in components)
    kinds = Counter(each.purl.type if each.purl is not None else "file" for each in components)
    said = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    print(f"sbom: {output}: {len(components)} components ({said}), {unknown} without a licence that is known here")
    return 0


def bill(version: str, components: Iterable[Component]) -> str:
    """The document, with its own name and version as the subject."""
    found = list(components)
    bom = Bom(components=found)
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_OID, "\n".join([version, *sorted(_identity(each) for each in found)]))
    bom.metadata.component = Component(
        name="ems-streams", version=version, type=ComponentType.APPLICATION, bom_ref=f"ems-streams@{version}"
    )
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    # The library puts the present in unless it is told another time.
    bom.metadata.timestamp = datetime.fromtimestamp(int(epoch), UTC) if epoch else None  # type: ignore[assignment]
    bom.register_dependency(bom.metadata.component, found)
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"


def python_components(constraints: str) -> Iterator[Component]:
    """Of each pinned package, with the hash of every file that may be installed of it."""
    pins = read_pins(constraints)
    scope_of = scopes(tomllib.loads((ROOT / "pyproject.toml").read_text()), {pin.name for pin in pins})
    for pin in pins:
        yield _python_component(pin, scope_of.get(pin.name, "test"))


def _python_component(pin: Pin, scope: str) -> Component:
    purl = PackageURL("pypi", name=pin.name, version=pin.version)
    properties = [Property(name="ems-streams:needed-for", value=scope)]
    if pin.marker:
        properties.append(Property(name="ems-streams:marker", value=pin.marker))
    return Component(
        name=pin.name, version=pin.version, type=ComponentType.LIBRARY, purl=purl, bom_ref=str(purl), scope=_SCOPES[scope],
        hashes=_sha256(*pin.sha256), licenses=licences_of(pin.name, pin.version), properties=properties,
    )  # fmt: skip


def jar_components(text: str) -> Iterator[Component]:
    """Of each jar of the embedded servers; one that both need is there once."""
    jars = dict.fromkeys(line for line in text.splitlines() if line.strip() and not line.startswith(("#", "[")))
    for line in jars:
        coordinates, digest = line.split()
        group, name, kind, *classifier, version = coordinates.split(":")
        qualifiers = {"type": kind} | ({"classifier": classifier[0]} if classifier else {})
        purl = PackageURL("maven", group, name, version, qualifiers)
        yield Component(
            name=name, group=group, version=version, type=ComponentType.LIBRARY, purl=purl, bom_ref=str(purl), scope=ComponentScope.OPTIONAL,
            hashes=_sha256(digest), properties=[Property(name="ems-streams:needed-for", value="dev")],
        )  # fmt: skip


def vendored_components(folder: Path) -> Iterator[Component]:
    """Of each file that the page has from others."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file():
            name = path.relative_to(folder.parent).as_posix()
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            yield Component(
                name=name, type=ComponentType.FILE, bom_ref=f"file:{name}", scope=ComponentScope.REQUIRED, hashes=_sha256(digest),
                properties=[Property(name="ems-streams:needed-for", value="page")],
            )  # fmt: skip


def _sha256(*digests: str) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in dict.fromkeys(digests)]


def _identity(component: Component) -> str:
    hashes: list[Any] = [each.content for each in component.hashes]
    return f"{component.bom_ref.value} {' '.join(sorted(hashes))}"


if __name__ == "__main__":
    sys.exit(main())
