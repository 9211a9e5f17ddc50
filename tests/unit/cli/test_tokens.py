"""`ems-streams tokens`: a token is shown once, its hash goes to the file; what cannot be meant is said in one line."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ems_streams.access.token_entries import entry_of
from ems_streams.access.token_file import load_tokens


def run(tmp_path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "ems_streams", "tokens", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)


def test_a_token_is_shown_once_and_its_hash_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    made = run(tmp_path, "create", "--name", "noc", "--role", "operator", "--sites", "2,1", "--expires", "90d", "--file", str(path))
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert token.startswith("ems_")
    entry = entry_of(load_tokens(path), token)
    assert entry is not None
    assert (entry.name, entry.role, entry.sites) == ("noc", "operator", frozenset({1, 2}))
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    listed = run(tmp_path, "list", "--file", str(path))
    assert listed.stdout.splitlines()[1].split()[:4] == ["noc", "operator", "1,", "2"]
    assert token not in listed.stdout
    assert entry.hash not in listed.stdout


def test_without_a_file_the_entry_to_add_is_told(tmp_path: Path) -> None:
    made = run(tmp_path, "create", "--name", "noc", "--role", "viewer", "--sites", "all")
    assert made.returncode == 0, made.stderr
    path = tmp_path / "tokens.yaml"
    path.write_text("tokens:\n" + made.stderr.split(" add:\n", 1)[1])
    assert entry_of(load_tokens(path), made.stdout.strip()) is not None


def test_json_has_token_and_entry(tmp_path: Path) -> None:
    made = json.loads(run(tmp_path, "create", "--name", "noc", "--role", "viewer", "--sites", "all", "--json").stdout)
    assert made["sites"] == "all"
    assert made["token"] not in made["entry"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "--name", "no c", "--role", "viewer", "--sites", "all"), "--name 'no c': expected a letter or digit"),
        (("create", "--name", "a", "--role", "boss", "--sites", "all"), "--role 'boss': expected viewer, operator, admin"),
        (("create", "--name", "a", "--role", "viewer", "--sites", "x"), "--sites 'x': expected all, or site ids"),
        (("create", "--name", "a", "--role", "viewer", "--sites", "0"), "--sites '0': expected all, or site ids"),
        (("create", "--name", "a", "--role", "viewer", "--sites", ""), "--sites '': expected all, or site ids"),
        (
            ("create", "--name", "a", "--role", "viewer", "--sites", "all", "--expires", "2020-01-01"),
            "expected a time that is still to come",
        ),
        (
            ("create", "--name", "a", "--role", "viewer", "--sites", "all", "--expires", "soon"),
            "--expires 'soon': expected a time from now",
        ),
        (("list",), "there is no file of tokens: set EMS_GATEWAY_TOKENS_FILE"),
        (("list", "--file", "none.yaml"), "none.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_said_in_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    result = run(tmp_path, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
