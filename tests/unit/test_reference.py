"""The reference in docs/ is what the code says."""

import runpy
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PAGES = runpy.run_path(str(REFERENCE), run_name="reference")["PAGES"]


@pytest.mark.parametrize("name", sorted(path.name for path in REFERENCE.glob("*.md")))
def test_a_page_of_the_reference_is_what_is_made_from_the_code(name: str) -> None:
    assert (REFERENCE / name).read_text() == PAGES[name](), "run `make docs`"


def test_every_page_that_is_made_from_the_code_is_there() -> None:
    assert sorted(PAGES) == sorted(path.name for path in REFERENCE.glob("*.md"))
