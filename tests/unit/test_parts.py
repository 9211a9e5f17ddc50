"""The parts in which `make test` runs the tests: together they are all of them, and none is run twice."""

from collections import Counter
from pathlib import Path

import pytest

from tests.run import PARTS, parts, says_what_is_wrong


def files_of(arguments: list[str]) -> list[str]:
    """Files with tests that pytest would collect by these arguments."""
    below = [each for each in arguments if each.startswith("tests")]
    ignored = [each.removeprefix("--ignore=") for each in arguments if each.startswith("--ignore=")]
    files = [str(file) for path in below for file in ([Path(path)] if path.endswith(".py") else Path(path).rglob("test_*.py"))]
    return [file for file in files if not any(file == path or file.startswith(f"{path}/") for path in ignored)]


def test_each_file_is_in_one_part() -> None:
    counts = Counter(file for arguments in parts() for file in files_of(arguments))
    assert counts == Counter(dict.fromkeys((str(file) for file in Path("tests").rglob("test_*.py")), 1))


def test_what_is_named_is_there() -> None:
    assert [path for part in PARTS for path in part if not Path(path).exists()] == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("FAILED tests/unit/test_app.py::test_it - AssertionError: 1 != 2", True),
        ("ERROR tests/unit/test_app.py::test_it - OSError", True),
        ("E       AssertionError: 1 != 2", True),
        ("tests/unit/test_app.py ..F", False),
        ("SKIPPED [1] tests/unit/access/test_tokens.py:155: root may write everywhere", False),
    ],
)
def test_what_is_said_once_more_at_the_end(line: str, wrong: bool) -> None:
    assert says_what_is_wrong(line) is wrong
