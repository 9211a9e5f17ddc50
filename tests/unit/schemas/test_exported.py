"""The documents in docs/reference/schemas are those of the code, and break no program that was written by the last release."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ems_streams.cli.main import app
from ems_streams.cli.schema import documents
from ems_streams.schemas.compatibility import asyncapi_breaks, openapi_breaks

SCHEMAS = Path(__file__).parents[3] / "docs" / "reference" / "schemas"
RELEASED = SCHEMAS / "released"
DOCUMENTS = documents()
HOW = "if it is meant, put the line into docs/reference/schemas/released/accepted-breaks.txt and say so in CHANGELOG.md (docs/howto/api.md)"


def test_the_documents_are_those_of_the_code() -> None:
    found = {str(path.relative_to(SCHEMAS)): path.read_text() for path in SCHEMAS.rglob("*.json") if RELEASED not in path.parents}
    assert sorted(found) == sorted(DOCUMENTS), "run `make docs`"
    for name, text in DOCUMENTS.items():
        assert found[name] == text, f"{name}: run `make docs`"


def breaks() -> list[str]:
    old, new = ({name: json.loads(text) for name, text in texts.items()} for texts in (_released(), DOCUMENTS))
    return openapi_breaks(old["openapi.json"], new["openapi.json"]) + asyncapi_breaks(old["asyncapi.json"], new["asyncapi.json"])


def _released() -> dict[str, str]:
    return {name: (RELEASED / name).read_text() for name in ("openapi.json", "asyncapi.json")}


def test_nothing_breaks_programs_that_were_written_by_the_last_release() -> None:
    accepted = [line for line in (RELEASED / "accepted-breaks.txt").read_text().splitlines() if line]
    found = breaks()
    assert [each for each in found if each not in accepted] == [], HOW
    assert [each for each in accepted if each not in found] == [], "these are no breaks any more: take them out of accepted-breaks.txt"


@pytest.mark.parametrize(("wanted", "count"), [("openapi", 1), ("asyncapi", 1), ("json-schema", 16), ("all", 18)])
def test_export_writes_what_is_asked_for(tmp_path: Path, wanted: str, count: int) -> None:
    done = CliRunner().invoke(app, ["schema", "export", "--dir", str(tmp_path / "new"), "--format", wanted, "--json"])
    assert done.exit_code == 0, done.output
    files = json.loads(done.stdout)["files"]
    assert len(files) == count
    for each in files:
        text = Path(each["file"]).read_text()
        assert DOCUMENTS[str(Path(each["file"]).relative_to(tmp_path / "new"))] == text
        assert len(text.encode()) == each["bytes"]


def test_export_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(app, ["schema", "export", "--dir", str(tmp_path / "file" / "below")])
    assert "--dir" in str(done.exception)
    assert CliRunner().invoke(app, ["schema", "export", "--dir", str(tmp_path), "--format", "xml"]).exit_code == 2
