"""The command line as a user meets it: a process of its own, its exit code, its stdout and stderr."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ems_streams import __version__

HEAVY = ("faust", "mode", "aiokafka", "confluent_kafka", "aiohttp", "aiomqtt", "asyncpg", "alembic", "sqlalchemy", "pydantic", "rich.table")


def ems_streams(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ems_streams", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def test_version() -> None:
    result = ems_streams("--version")

    assert (result.returncode, result.stdout) == (0, f"ems-streams {__version__}\n")


def test_help_names_every_command() -> None:
    result = ems_streams("--help")

    assert result.returncode == 0
    commands = {line.split()[0] for line in result.stdout.partition("Commands:")[2].splitlines() if line.strip()}
    assert commands == {
        "acls",
        "dev",
        "ingress",
        "worker",
        "sink",
        "notifier",
        "channels",
        "gateway",
        "simulate",
        "tokens",
        "topics",
        "devices",
        "doctor",
        "health",
        "explain",
        "db",
        "config",
        "replay",
        "backfill",
        "maintenance",
        "rules",
        "dlt",
        "command",
        "schema",
    }


def test_help_loads_nothing_heavy() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, ems_streams.cli.main; print('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.split()

    assert [name for name in loaded if name in HEAVY] == []


@pytest.mark.parametrize("arguments", [("bogus",), ("topics", "tail"), ("topics", "tail", "t", "--limit", "0"), ("worker", "--port", "x")])
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...]) -> None:
    result = ems_streams(*arguments)

    assert result.returncode == 2
    assert "Usage: " in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_setting_is_one_line_and_ends_with_2() -> None:
    result = ems_streams("config", "show", EMS_PARTITIONS="many")

    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("ems-streams: EMS_PARTITIONS='many': ")
    assert result.stderr.count("\n") == 1


def test_a_wrong_option_names_the_setting_it_overrides() -> None:
    result = ems_streams("worker", "--port", "70000")

    assert result.returncode == 2
    assert result.stderr.startswith("ems-streams: EMS_WORKER_PORT=70000: ")


def test_unreachable_kafka_is_one_line_and_ends_with_3(unused_tcp_port: int) -> None:
    server = f"127.0.0.1:{unused_tcp_port}"

    result = ems_streams("topics", "list", EMS_KAFKA_BOOTSTRAP_SERVERS=server)

    assert result.returncode == 3
    assert result.stdout == ""
    assert result.stderr == f"ems-streams: Kafka does not answer at {server} (EMS_KAFKA_BOOTSTRAP_SERVERS)\n"


def test_a_reader_that_goes_away_leaves_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "ems_streams", "config", "show"],
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(write)

    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr


def test_the_packages_come_from_one_place() -> None:
    import agents
    import ems_streams
    import tables

    roots = {Path(package.__file__ or "").parent.parent for package in (agents, ems_streams, tables)}
    assert roots == {Path(__file__).parents[3]}


def test_settings_come_from_an_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMS_PARTITIONS", raising=False)
    file = tmp_path / "operator.env"
    file.write_text("# of a run\nEMS_PARTITIONS='7'\nexport EMS_WORKER_ID=\"from-file\"\n")

    result = ems_streams("--env-file", str(file), "config", "show", "--json", EMS_WORKER_ID="from-shell")

    shown = {each["name"]: each["value"] for each in json.loads(result.stdout)}
    assert (shown["EMS_PARTITIONS"], shown["EMS_WORKER_ID"]) == (7, "from-shell")


def test_an_env_file_that_is_not_there(tmp_path: Path) -> None:
    result = ems_streams("--env-file", str(tmp_path / "none.env"), "config", "show")

    assert result.returncode == 2
    assert result.stderr.startswith(f"ems-streams: --env-file '{tmp_path}/none.env': must be a readable file")


def test_devices_of_dev_need_security() -> None:
    result = ems_streams("dev", "--device", "1/A")

    assert (result.returncode, result.stderr) == (2, "ems-streams: --device is for --secure: without it devices need no certificate\n")
