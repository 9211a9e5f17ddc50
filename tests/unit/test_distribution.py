"""Wheel and sdist have every file that is needed, and none that is not."""

import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from ems_streams import __version__

ROOT = Path(__file__).parents[2]
PACKAGES = ("ems_streams", "agents", "tables")


def included(builder: WheelBuilder | SdistBuilder) -> set[str]:
    return {file.distribution_path for file in builder.recurse_included_files()}


def tracked(*paths: str) -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *paths], cwd=ROOT, capture_output=True, check=True
    )
    return {name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).exists()}


@pytest.fixture(scope="module")
def wheel() -> set[str]:
    return included(WheelBuilder(str(ROOT)))


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(wheel: set[str]) -> None:
    assert wheel == tracked(*PACKAGES)


def test_the_wheel_has_what_is_no_python(wheel: set[str]) -> None:
    data = {name for name in wheel if not name.endswith((".py", ".pyx", ".pxd", ".pyi"))}

    for needed in (
        "ems_streams/py.typed", "agents/py.typed", "tables/py.typed",
        "ems_streams/dev/resources/broker.xml", "ems_streams/dev/resources/jars.txt", "ems_streams/dev/resources/kafka.properties",
        "ems_streams/rules/resources/builtin.yaml", "ems_streams/gateway/static/index.html", "ems_streams/gateway/static/app.js",
    ):  # fmt: skip
        assert needed in data
    assert any(name.startswith("ems_streams/postgres/migrations/") for name in wheel)


def test_the_sdist_has_what_tests_and_an_image_need_and_no_secret() -> None:
    sdist = included(SdistBuilder(str(ROOT)))

    assert (
        tracked(*PACKAGES, "tests", "docs", "docker", "kubernetes", "systemd", "release", "constraints.txt", "Makefile", "README.md")
        <= sdist
    )
    assert not [name for name in sdist if name.startswith(("docker/secrets/", ".venv/", ".ems"))]


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["version"] == __version__ == metadata.version("ems-streams")
    assert f"\n## {__version__} " in (ROOT / "CHANGELOG.md").read_text()
