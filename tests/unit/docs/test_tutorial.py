"""The files of the tutorial are right, and what stands below a command that needs no server is what it prints."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[3] / "docs/tutorial/first-rule.md").read_text()


def block(kind: str, containing: str) -> str:
    """The first block of a kind with this in it."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return next(text for found, text in blocks if found == kind and containing in text)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(block("yaml", "inverter-too-strong"))
    (tmp_path / "recorded.csv").write_text(block("", "timestamp,serialNumber"))
    return tmp_path


def check(here: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ems_streams", "rules", "check", "rules.yaml", *arguments],
        cwd=here,
        env={"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout + done.stderr


def test_the_rule_is_checked_as_printed(here: Path) -> None:
    assert check(here) == block("", "nothing wrong")


def test_the_mistake_is_said_as_printed(here: Path) -> None:
    path = here / "rules.yaml"
    path.write_text(path.read_text().replace("clearAt: 45", "clearAt: 55"))

    assert check(here) == block("", "clearAt=55")


def test_the_recording_raises_what_is_printed(here: Path) -> None:
    assert check(here, "--recorded", "recorded.csv") == block("", "BECAUSE")
