"""Secure runs: who each process is, what it is told, and that it is told no secret."""

from pathlib import Path

import pytest

from ems_streams.access.token_file import load_tokens
from ems_streams.dev.board import Board
from ems_streams.dev.plan import Options, Plan, make_plan, programs, with_credentials
from ems_streams.settings import Settings

SHOWN = ("EMS_KAFKA_PASSWORD_FILE", "EMS_MQTT_KEY_FILE", "EMS_DATABASE_URL_FILE", "EMS_INTERNAL_TOKEN_FILE", "EMS_GATEWAY_TOKENS_FILE")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but those of the test."""
    monkeypatch.chdir(tmp_path)
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "MQTT_URL", "DATABASE_URL", "DATA_DIR", "CHANNELS_FILE"):
        monkeypatch.delenv(f"EMS_{name}", raising=False)
        monkeypatch.delenv(name, raising=False)


def secure_plan(**options: object) -> Plan:
    plan = make_plan(Options(secure=True, **options))
    plan.data_dir.mkdir(parents=True, exist_ok=True)
    return with_credentials(plan)


def told(plan: Plan) -> dict[str, dict[str, str]]:
    return {program.name: dict(program.env) for program in programs(plan, "postgresql://ems:admin@127.0.0.1/ems")}


def test_each_process_is_told_what_it_needs_and_no_more() -> None:
    env = told(secure_plan())
    found = {name: {each for each in SHOWN if each in variables} for name, variables in env.items()}
    assert found == {
        "ingress": {"EMS_KAFKA_PASSWORD_FILE", "EMS_MQTT_KEY_FILE"},
        "worker-0": {"EMS_KAFKA_PASSWORD_FILE", "EMS_MQTT_KEY_FILE", "EMS_INTERNAL_TOKEN_FILE"},
        "sink": {"EMS_KAFKA_PASSWORD_FILE", "EMS_DATABASE_URL_FILE"},
        "gateway": {"EMS_KAFKA_PASSWORD_FILE", "EMS_DATABASE_URL_FILE", "EMS_INTERNAL_TOKEN_FILE", "EMS_GATEWAY_TOKENS_FILE"},
        "simulator": {"EMS_MQTT_KEY_FILE"},
    }
    users = {variables.get("EMS_KAFKA_USERNAME") for variables in env.values()}
    assert users == {"ems-ingress", "ems-worker", "ems-sink", "ems-gateway", None}
    shown = {name: (variables.get("EMS_MQTT_CERT_FILE"), variables.get("EMS_DATABASE_URL_FILE")) for name, variables in env.items()}
    assert len(set(shown.values())) == len(shown), "no two processes show the same"


def test_no_secret_is_in_an_environment_or_a_command_line() -> None:
    plan = secure_plan()
    assert plan.secure is not None
    secrets = [path.read_text() for path in plan.secure.secrets.directory.iterdir()]
    assert len(secrets) >= 10
    for program in programs(plan):
        text = "\0".join((*program.argv, *program.env.values()))
        assert not [each for each in secrets if each in text], program.name
    assert not [each for each in secrets if each in repr(plan)]


def test_the_shell_has_no_say_in_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain names go before files: what is left in a shell would be taken for ours."""
    monkeypatch.setenv("EMS_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("EMS_KAFKA_USERNAME", "of-another-kafka")
    monkeypatch.setenv("EMS_KAFKA_PASSWORD", "of-another-kafka")
    monkeypatch.setenv("EMS_INTERNAL_TOKEN", "of-another-deployment")
    for variables in told(secure_plan()).values():
        assert "EMS_DATABASE_URL" not in variables
        if "EMS_KAFKA_PASSWORD_FILE" in variables:
            assert "EMS_KAFKA_PASSWORD" not in variables
        if "EMS_INTERNAL_TOKEN_FILE" in variables:
            assert "EMS_INTERNAL_TOKEN" not in variables


def test_the_processes_take_what_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for variables in told(secure_plan()).values():
        with monkeypatch.context() as shell:
            for name, value in variables.items():
                if name.startswith("EMS_"):
                    shell.setenv(name, value)
            settings = Settings.load()
        assert str(settings.mqtt_url).startswith("mqtts://")
        if settings.kafka_username is not None:
            assert settings.kafka_security_protocol == "SASL_SSL"
            assert settings.kafka_password is not None
        if "EMS_DATABASE_URL_FILE" in variables:
            assert "?sslmode=verify-full&sslrootcert=" in settings.database_url.get_secret_value()


def test_the_data_are_apart_from_those_without_security(tmp_path: Path) -> None:
    plan = secure_plan()
    assert plan.data_dir == tmp_path / ".ems" / "secure"
    assert make_plan(Options()).data_dir == tmp_path / ".ems"
    again = secure_plan()
    assert told(again) == told(plan), "a restart shows the same"


def test_the_gateway_is_asked_by_https_whether_it_is_ready() -> None:
    found = {program.name: program for program in programs(secure_plan(port_offset=100))}
    assert found["gateway"].ready_url == "https://127.0.0.1:8180/readyz"
    assert found["gateway"].ca_file is not None
    assert found["worker-0"].ready_url == "http://127.0.0.1:6166/readyz"


def test_an_external_server_keeps_its_own_security(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMS_KAFKA_BOOTSTRAP_SERVERS", "kafka.example:9093")
    env = told(secure_plan())
    assert "EMS_KAFKA_PASSWORD_FILE" not in env["worker-0"]
    assert "EMS_MQTT_KEY_FILE" in env["worker-0"]


def test_the_board_has_no_secret_and_says_what_to_show() -> None:
    plan = secure_plan(secure_devices=("2/BAT-007",))
    assert plan.secure is not None
    places = dict(Board(plan).places())
    text = "\n".join(places.values())
    assert places["dashboard"] == "https://localhost:8080"
    assert "--cert .ems/secure/credentials/certificates/device-BAT-007.pem" in places["publish"]
    assert "-t sites/2/devices/BAT-007/telemetry" in places["publish"]
    assert "set -a; . .ems/secure/operator.env; set +a" in places["commands"]
    assert not [path.name for path in plan.secure.secrets.directory.iterdir() if path.read_text() in text]


def test_tokens_that_people_have_added_stay() -> None:
    plan = secure_plan()
    assert plan.secure is not None
    path = plan.secure.tokens_file()
    path.write_text(path.read_text() + f"  - name: mine\n    hash: sha256:{'0' * 64}\n    role: viewer\n    sites: [1]\n")
    assert "mine" in plan.secure.tokens_file().read_text()
    before = path.read_text()
    path.write_text(before.replace("role: admin", "role: viewer"))
    assert {each.name: each.role.value for each in load_tokens(plan.secure.tokens_file())} == {
        "operator": "admin", "viewer": "viewer", "mine": "viewer",
    }  # fmt: skip
    path.write_text("tokens: broken")
    assert "operator" in plan.secure.tokens_file().read_text()
    assert path.with_suffix(".yaml.broken").read_text() == "tokens: broken"
