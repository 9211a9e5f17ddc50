"""What a run consists of, from options and settings."""

from pathlib import Path

import pytest

from ems_streams.dev.plan import Options, make_plan, programs
from ems_streams.errors import SettingError
from ems_streams.settings import EnvironmentSource, Settings


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but those of the test."""
    monkeypatch.chdir(tmp_path)
    source = EnvironmentSource(Settings, {})
    assert source.lookup("mqtt_url", Settings.model_fields["mqtt_url"])[0] is None
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "MQTT_URL", "DATABASE_URL", "PARTITIONS", "GATEWAY_PORT", "DATA_DIR", "CHANNELS_FILE"):
        monkeypatch.delenv(f"EMS_{name}", raising=False)
        monkeypatch.delenv(name, raising=False)


def test_everything_is_embedded_unless_said_otherwise(tmp_path: Path):
    plan = make_plan(Options(port_offset=1000))
    assert plan.embedded == {"kafka", "mqtt", "postgres"}
    assert plan.settings.kafka_bootstrap_servers == "127.0.0.1:10092"
    assert plan.settings.partitions == 4
    assert plan.data_dir == tmp_path / ".ems"


@pytest.mark.parametrize("name", ["EMS_MQTT_URL", "MQTT_URL"])
def test_a_server_whose_address_is_set_is_not_embedded(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv(name, "mqtt://user:secret@broker.example:1884")
    plan = make_plan(Options())
    assert plan.embedded == {"kafka", "postgres"}
    assert plan.external == {"mqtt": "broker.example:1884"}
    assert "mqtt" not in plan.ports_needed
    env = programs(plan)[0].env
    assert env[name] == "mqtt://user:secret@broker.example:1884"
    assert "EMS_MQTT_USERNAME" not in env


def test_the_dotenv_file_counts_too(tmp_path: Path):
    (tmp_path / ".env").write_text("EMS_KAFKA_BOOTSTRAP_SERVERS=kafka.example:9092\nEMS_PARTITIONS=7\n")
    plan = make_plan(Options())
    assert plan.embedded == {"mqtt", "postgres"}
    assert plan.settings.partitions == 7
    assert programs(plan)[0].env["EMS_PARTITIONS"] == "7"


def test_each_worker_has_a_name_a_port_and_knows_the_others(tmp_path: Path):
    found = {program.name: program for program in programs(make_plan(Options(workers=3, port_offset=100)))}
    assert [name for name in found if name.startswith("worker")] == ["worker-0", "worker-1", "worker-2"]
    last = found["worker-2"]
    assert (last.env["EMS_WORKER_ID"], last.env["EMS_WORKER_PORT"], last.port) == ("worker-2", "6168", 6168)
    assert last.env["EMS_WORKER_URLS"] == "http://127.0.0.1:6166,http://127.0.0.1:6167,http://127.0.0.1:6168"
    assert last.env["EMS_WORKER_ADVERTISED_URL"] == "http://127.0.0.1:6168"
    assert found["simulator"].after == "ingress"


def test_no_simulator():
    assert [program.name for program in programs(make_plan(Options(simulator=False)))] == ["ingress", "worker-0", "sink", "gateway"]


def test_the_notifier_runs_when_there_are_channels(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EMS_CHANNELS_FILE", "channels.yaml")
    plan = make_plan(Options(simulator=False, port_offset=100))
    found = {program.name: program for program in programs(plan)}
    assert list(found) == ["ingress", "worker-0", "sink", "gateway", "notifier"]
    assert (found["notifier"].port, found["notifier"].env["EMS_NOTIFIER_PORT"], found["notifier"].env["EMS_CHANNELS_FILE"]) == (
        6162,
        "6162",
        "channels.yaml",
    )
    assert "notifier" in plan.ports_needed
    monkeypatch.delenv("EMS_CHANNELS_FILE")
    assert "notifier" not in make_plan(Options()).ports_needed


def test_a_port_setting_is_kept_and_moved(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EMS_GATEWAY_PORT", "9000")
    assert make_plan(Options(port_offset=10)).dashboard_url == "http://localhost:9010"


def test_an_impossible_offset_names_the_option():
    with pytest.raises(SettingError, match="--port-offset"):
        make_plan(Options(port_offset=60_000))
