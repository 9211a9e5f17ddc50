"""The Java runtime: the bundled one, or the user's, and a clear error when it is of no use."""

from pathlib import Path

import pytest

from ems_streams.dev.errors import JreError
from ems_streams.dev.jre import find_java


def java_that(tmp_path: Path, script: str) -> Path:
    path = tmp_path / "java"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_the_bundled_runtime_starts() -> None:
    assert find_java().is_file()


@pytest.mark.parametrize("version", ["17.0.1", "25", "21-ea"])
def test_a_runtime_of_the_user_is_taken_from_17_on(tmp_path: Path, version: str) -> None:
    java = java_that(tmp_path, f"echo 'openjdk version \"{version}\" 2025-01-01' >&2")
    assert find_java(java) == java


@pytest.mark.parametrize(("version", "major"), [("11.0.2", "11"), ("1.8.0_402", "8")])
def test_an_old_runtime_is_refused(tmp_path: Path, version: str, major: str) -> None:
    with pytest.raises(JreError, match=rf"EMS_JAVA\) is Java {major}, and 17"):
        find_java(java_that(tmp_path, f"echo 'openjdk version \"{version}\"' >&2"))


def test_a_runtime_that_fails_is_shown_with_what_it_says(tmp_path: Path) -> None:
    with pytest.raises(JreError, match=r"does not start \(exit code 3: libjvm is broken\)"):
        find_java(java_that(tmp_path, "echo 'libjvm is broken' >&2; exit 3"))


def test_a_path_that_is_no_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JreError, match="EMS_JAVA"):
        find_java(tmp_path / "nothing")
