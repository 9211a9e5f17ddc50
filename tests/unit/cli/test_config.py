"""`config show`: values, their sources, and no secrets."""

import json

import pytest
from typer.testing import CliRunner

from ems_streams.cli import config
from ems_streams.cli.config import without_password
from ems_streams.settings import Settings, environment_names

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _alone(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    for name, field in Settings.model_fields.items():
        for variable in environment_names(name, field):
            monkeypatch.delenv(variable, raising=False)


def show(*arguments: str) -> str:
    result = CliRunner().invoke(config.app, ["show", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_setting_is_printed_with_its_source_and_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMS_PARTITIONS", "4")

    shown = {each["name"]: each for each in json.loads(show("--json"))}

    assert len(shown) == len(Settings.model_fields)
    assert shown["EMS_PARTITIONS"] == {
        "name": "EMS_PARTITIONS",
        "value": 4,
        "source": "environment EMS_PARTITIONS",
        "description": Settings.model_fields["partitions"].description,
    }
    assert shown["EMS_WORKER_PORT"]["source"] == "default"
    assert shown["EMS_MQTT_USERNAME"]["value"] is None


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_no_secret_is_printed(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    monkeypatch.setenv("EMS_MQTT_PASSWORD", SECRET)
    monkeypatch.setenv("EMS_MQTT_URL", f"mqtt://device:{SECRET}@broker:1883")
    monkeypatch.setenv("EMS_DATABASE_URL", f"postgresql://ems:{SECRET}@db.example:5432/ems")
    monkeypatch.setenv("EMS_WORKER_URLS", f"http://a:{SECRET}@one,http://b:{SECRET}@two")

    printed = show(*arguments)

    assert SECRET not in printed
    assert "postgresql://ems:***@db.example:5432/ems" in printed
    assert "http://a:***@one,http://b:***@two" in printed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://u:p@h:5432/d", "postgresql://u:***@h:5432/d"),
        ("postgresql://u:p@ss:w@h/d", "postgresql://u:***@h/d"),
        ("postgresql://:p@h/d", "postgresql://:***@h/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("http://h:80/a@b", "http://h:80/a@b"),
        ("localhost:9092,other:9092", "localhost:9092,other:9092"),
    ],
)
def test_only_passwords_of_urls_are_masked(text: str, expected: str) -> None:
    assert without_password(text) == expected


def test_a_pipe_gets_whole_lines_without_colours() -> None:
    lines = show().splitlines()

    assert len(lines) == len(Settings.model_fields) + 1
    assert not any("\x1b" in line for line in lines)
