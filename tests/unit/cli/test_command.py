"""`ems-streams command` with what cannot be meant, and with nobody to ask."""

import subprocess
import sys

import orjson
import pytest


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "ems_streams", "command", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("send", "A", "REBOOT", "--param", "x"), "--param 'x': expected NAME=VALUE"),
        (("send", "A", "REBOOT", "--param", "=1"), "--param '=1': expected NAME=VALUE"),
        (("send", "A", "REBOOT", "--param", "x=1", "--param", "x=2"), "--param x: given twice"),
        (("show", "A~1", "--gateway", "localhost"), "--gateway 'localhost': expected an address"),
        (("catalogue", "TOASTER"), "type 'TOASTER': expected one of SOLAR_INVERTER"),
    ],
)
def test_what_cannot_be_meant_is_said_in_one_line(arguments: tuple[str, ...], expected: str) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert expected in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_gateway_that_is_away_is_a_dependency() -> None:
    result = run("send", "A", "REBOOT", "--gateway", "http://127.0.0.1:9")
    assert (result.returncode, result.stdout) == (3, "")
    assert "the gateway at http://127.0.0.1:9 cannot be reached" in result.stderr


def test_the_catalogue_is_shown_without_a_server() -> None:
    text = " ".join(run("catalogue", "BATTERY").stdout.split())
    assert "START_CHARGING [powerKw=0..100000 kW] [targetSocPercent=0..100 %]" in text
    found = orjson.loads(run("catalogue", "BATTERY", "--json").stdout)
    assert [each["command"] for each in found["deviceTypes"]["BATTERY"]] == [
        "SET_POWER_LIMIT", "START_CHARGING", "STOP_CHARGING", "SET_MODE", "REBOOT",
    ]  # fmt: skip
