"""The units are what systemd accepts, harden every service, and agree with commands, settings and deadlines; the Procfile too."""

import os
import re
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from tests.support.container_facts import PORTS, ROOT, SECONDS_TO_STOP, command_faults, settings_faults

UNITS = ROOT / "systemd"
COMMON = UNITS / "ems-streams-.service.d" / "common.conf"
PROGRAM = "/opt/ems-streams/bin/ems-streams"
SERVICES = {path.stem.removeprefix("ems-streams-").rstrip("@"): path for path in UNITS.glob("*.service")}
INSTANCES = {"ingress": "ingress@6060", "worker": "worker@6067"}


def section(path: Path, name: str) -> dict[str, list[str]]:
    """The values of a section, by setting."""
    found: dict[str, list[str]] = {}
    here = ""
    for line in path.read_text().splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            here = match[1]
        elif here == name and "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def variables() -> dict[str, str]:
    """What the example of the environment file sets."""
    parser = RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string("[env]\n" + (UNITS / "ems-streams.env").read_text())
    return dict(parser["env"])


def test_every_process_has_a_unit_and_a_line_in_the_procfile() -> None:
    procfile = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())

    assert set(SERVICES) == {*PORTS, "topics"}
    assert set(procfile) == set(PORTS)
    for name, command in procfile.items():
        assert command.split() == ["ems-streams", name]
        assert command_faults([name]) == []


@pytest.mark.parametrize("name", SERVICES)
def test_commands_and_settings_of_a_unit_are_those_of_the_code(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = section(SERVICES[name], "Service")
    program, *arguments = service["ExecStart"][0].replace("%i", "6067").split()
    credentials = [each.split(":")[0] for each in service.get("LoadCredential", ())]
    own = dict(each.split("=", 1) for line in service.get("Environment", ()) for each in line.split())
    shared = dict(each.split("=", 1) for line in section(COMMON, "Service")["Environment"] for each in line.split())
    told = variables() | shared | {key: value.replace("%d", "/cred").replace("%S", "/var/lib") for key, value in own.items()}

    assert program == PROGRAM
    assert command_faults(arguments) == []
    assert settings_faults(name, told, [f"/cred/{each}" for each in credentials], tmp_path, monkeypatch) == []
    if "%S" in str(own):
        assert service["StateDirectory"] == ["ems-streams"]
        assert told["EMS_DATA_DIR"] == "/var/lib/ems-streams"


@pytest.mark.parametrize("name", PORTS)
def test_a_unit_is_started_again_and_has_the_time_to_end(name: str) -> None:
    service = section(SERVICES[name], "Service")

    assert int(service["TimeoutStopSec"][0]) >= SECONDS_TO_STOP[name] + 5
    assert service["Restart"] == ["always"]
    assert section(SERVICES[name], "Install")["WantedBy"] == ["ems-streams.target"]
    assert "ems-streams-topics.service" in section(SERVICES[name], "Unit")["After"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("name", SERVICES)
def test_systemd_accepts_a_unit_and_finds_little_exposed(name: str, tmp_path: Path) -> None:
    units = shutil.copytree(UNITS, tmp_path / "units")
    for path in units.glob("*.service"):
        path.write_text(path.read_text().replace(PROGRAM, "/bin/true"))
    unit = f"ems-streams-{INSTANCES.get(name, name)}.service"
    environment = os.environ | {"SYSTEMD_UNIT_PATH": f"{units}:"}

    def analyze(*arguments: str) -> str:
        done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False, env=environment, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    said = analyze("verify", "--man=no", "--recursive-errors=no", unit)
    assert "ems-streams" not in said, said
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", analyze("security", "--offline=yes", unit))
    assert exposure
    assert float(exposure[1]) <= 1.5


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_a_unit_with_a_mistake_is_noticed(tmp_path: Path) -> None:
    unit = tmp_path / "ems-streams-bad.service"
    unit.write_text("[Service]\nExecStart=/bin/true\nRestart=sometimes\n")
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False, timeout=60
    ).stderr
    assert "ems-streams-bad" in said
