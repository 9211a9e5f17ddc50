"""Where settings come from, and what a wrong one says."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from ems_streams.domain.windows import Window
from ems_streams.errors import SettingError
from ems_streams.settings import EnvironmentSource, Settings, as_set, environment_names, is_secret
from ems_streams.windowing import window_policy


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder and an environment without our names."""
    monkeypatch.chdir(tmp_path)
    for name, field in Settings.model_fields.items():
        for variable in environment_names(name, field):
            monkeypatch.delenv(variable, raising=False)


def source_of(name: str) -> str:
    return EnvironmentSource(Settings).lookup(name, Settings.model_fields[name])[1]


def test_defaults_need_nothing() -> None:
    settings = Settings.load()

    assert settings.kafka_bootstrap_servers == "localhost:9092"
    assert settings.partitions == 12
    assert source_of("partitions") == "default"


def test_the_environment_wins_over_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("EMS_PARTITIONS=3\nEMS_WORKER_PORT=7000\n")
    monkeypatch.setenv("EMS_PARTITIONS", "5")

    settings = Settings.load()

    assert (settings.partitions, source_of("partitions")) == (5, "environment EMS_PARTITIONS")
    assert (settings.worker_port, source_of("worker_port")) == (7000, ".env EMS_WORKER_PORT")


def test_an_override_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMS_WORKER_PORT", "7000")

    assert Settings.load(worker_port=7001).worker_port == 7001


@pytest.mark.parametrize(
    ("plain", "field", "value"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka_bootstrap_servers", "kafka.example:9092"),
        ("MQTT_URL", "mqtt_url", "mqtt://mqtt.example:1883"),
    ],
)
def test_plain_names_are_read_and_the_prefixed_name_wins(monkeypatch: pytest.MonkeyPatch, plain: str, field: str, value: str) -> None:
    monkeypatch.setenv(plain, value)
    assert str(getattr(Settings.load(), field)) == value
    assert source_of(field) == f"environment {plain}"

    monkeypatch.setenv(f"EMS_{plain}", value.replace("example", "internal"))
    assert "internal" in str(getattr(Settings.load(), field))


def test_an_empty_variable_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMS_PARTITIONS", "")

    assert Settings.load().partitions == 12


def test_a_secret_is_read_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("of the broker\n")
    monkeypatch.setenv("EMS_MQTT_PASSWORD_FILE", str(tmp_path / "password"))

    password = Settings.load().mqtt_password

    assert password is not None
    assert password.get_secret_value() == "of the broker"
    assert source_of("mqtt_password") == "environment EMS_MQTT_PASSWORD_FILE"


def test_a_setting_that_is_the_path_of_a_file_is_not_read_as_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "channels.yaml").write_text("channels: {}")
    monkeypatch.setenv("EMS_CHANNELS_FILE", str(tmp_path / "channels.yaml"))

    assert Settings.load().channels_file == tmp_path / "channels.yaml"
    assert source_of("channels_file") == "environment EMS_CHANNELS_FILE"


def test_a_missing_secret_file_names_the_setting_and_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMS_MQTT_PASSWORD_FILE", "nowhere")

    with pytest.raises(SettingError, match=r"^EMS_MQTT_PASSWORD_FILE='nowhere': must be a readable file"):
        Settings.load()


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("EMS_PARTITIONS", "many", "integer"),
        ("EMS_PARTITIONS", "0", "greater than or equal to 1"),
        ("EMS_WORKER_PORT", "70000", "less than or equal to 65535"),
        ("EMS_LOG_LEVEL", "LOUD", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("EMS_KAFKA_BOOTSTRAP_SERVERS", "localhost", "must be host:port"),
        ("EMS_KAFKA_BOOTSTRAP_SERVERS", "a:1,b:0", "must be host:port"),
        ("EMS_MQTT_URL", "http://localhost", "'mqtt', 'mqtts', 'tcp' or 'ssl'"),
        ("EMS_QUERY_TIMEOUT_S", "-1", "greater than 0"),
        ("EMS_WORKER_ID", "a/b", "match pattern"),
        ("EMS_PUBLISHED_WINDOWS", "2m", "'1m', '15m', '1h', '1d' or '1d-local'"),
        ("EMS_WINDOW_LATENESS_S", "1,2,3", "four times in seconds, for 1m, 15m, 1h and 1d"),
        ("EMS_WINDOW_LATENESS_S", "none", "four times in seconds"),
        ("EMS_CORRECTION_HORIZON_S", "0", "greater than 0"),
        ("EMS_QUIET_DEVICE_S", "soon", "number"),
        ("EMS_DEFAULT_TIME_ZONE", "CEST", "time zone of the IANA database, such as Europe/Berlin"),
        ("EMS_SITE_TIME_ZONES", "1:Europe/Berlin", "must be site=zone"),
        ("EMS_SITE_TIME_ZONES", "1=Europe/Berlin,1=Asia/Kolkata", "each site once"),
        ("EMS_SILENCE_TIMEOUTS", "METER", "must be type=seconds"),
        ("EMS_SILENCE_TIMEOUTS", "=60", "must be type=seconds"),
        ("EMS_SILENCE_TIMEOUTS", "METER=", "must be type=seconds"),
        ("EMS_SILENCE_TIMEOUTS", "METER=60,METER=90", "each type once, or none"),
        ("EMS_SILENCE_TIMEOUT_S", "-1", "greater than or equal to 0"),
        ("EMS_FLAPPING_HALF_LIFE_S", "0", "greater than 0"),
    ],
)
def test_a_wrong_value_is_one_line_with_setting_value_and_expectation(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingError) as caught:
        Settings.load()

    message = str(caught.value)
    assert message.startswith(f"{variable}={value!r}: ")
    assert expected in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("variable", "value", "shown", "expected"),
    [
        ("EMS_PUBLISHED_WINDOWS", "1m,2m", "2m", "'1m', '15m', '1h', '1d' or '1d-local'"),
        ("EMS_WINDOW_LATENESS_S", "-1,2,3,4", "-1", "greater than or equal to 0"),
        ("EMS_SITE_TIME_ZONES", "1=Europe/Berlin,2=Mars/Olympus", "Mars/Olympus", "time zone of the IANA database"),
        ("EMS_SITE_TIME_ZONES", "one=Europe/Berlin", "one", "integer"),
    ],
)
def test_of_a_list_the_wrong_part_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, shown: str, expected: str) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingError) as caught:
        Settings.load()

    assert str(caught.value).startswith(f"{variable}={shown!r}: ")
    assert expected in str(caught.value)


def test_lateness_must_not_fall_from_a_window_to_the_next_longer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMS_WINDOW_LATENESS_S", "30,20,60,600")

    with pytest.raises(SettingError, match=r"EMS_WINDOW_LATENESS_S=.*must not fall from one window to the next longer one"):
        Settings.load()


def test_windows_lateness_and_zones_are_lists_between_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMS_PUBLISHED_WINDOWS", "15m, 1d-local")
    monkeypatch.setenv("EMS_WINDOW_LATENESS_S", "0, 1.5,2,3")
    monkeypatch.setenv("EMS_SITE_TIME_ZONES", "1=Europe/Berlin, 2 = UTC")
    monkeypatch.setenv("EMS_DEFAULT_TIME_ZONE", "Asia/Kolkata")

    policy = window_policy(Settings.load())

    assert policy.published == {Window.QUARTER, Window.LOCAL_DAY}
    assert policy.lateness_ms == (0, 1_500, 2_000, 3_000, 3_000)
    assert [str(policy.zone_of(site_id)) for site_id in (1, 2, 3)] == ["Europe/Berlin", "None", "Asia/Kolkata"]


def test_no_windows_at_all_are_published_when_the_setting_says_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMS_PUBLISHED_WINDOWS", "none")

    assert Settings.load().published_windows == ()


def test_timeouts_by_type_replace_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMS_SILENCE_TIMEOUTS", "METER=1800, BATTERY = 0")

    assert Settings.load().silence_timeouts == {"METER": 1800, "BATTERY": 0}


@pytest.mark.parametrize("nothing", [True, False])
@pytest.mark.parametrize("name", ["published_windows", "window_lateness_s", "site_time_zones", "silence_timeouts"])
def test_a_list_is_shown_as_it_is_set(monkeypatch: pytest.MonkeyPatch, name: str, nothing: bool) -> None:
    if nothing:
        settings = Settings.load(published_windows=(), site_time_zones={}, silence_timeouts={})
    else:
        settings = Settings.load(site_time_zones={1: "Europe/Berlin", 2: "UTC"}, silence_timeouts={"METER": 0.5})
    monkeypatch.setenv(f"EMS_{name.upper()}", str(as_set(getattr(settings, name))))

    assert getattr(Settings.load(), name) == getattr(settings, name)


def test_a_wrong_secret_is_not_shown() -> None:
    with pytest.raises(SettingError) as caught:
        Settings.load(database_url=["hunter2"])

    assert "hunter2" not in str(caught.value)
    assert "EMS_DATABASE_URL" in str(caught.value)


def test_secrets_are_hidden_when_settings_are_printed() -> None:
    settings = Settings.load(mqtt_password=SecretStr("hunter2"), database_url="postgresql://u:hunter2@h/d")

    assert "hunter2" not in repr(settings)
    assert {name for name, field in Settings.model_fields.items() if is_secret(field)} >= {"mqtt_password", "database_url"}


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_files_that_are_no_utf_8_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"p\xe4ss")
    monkeypatch.setenv("EMS_MQTT_PASSWORD_FILE", str(tmp_path / "secret"))

    with pytest.raises(SettingError, match=r"^EMS_MQTT_PASSWORD_FILE='.*secret': must be a readable file of UTF-8 \(byte 2 is none\)"):
        Settings.load()

    monkeypatch.delenv("EMS_MQTT_PASSWORD_FILE")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(b"EMS_PARTITIONS=4\nEMS_SITE=B\xfcro\n")
    with pytest.raises(SettingError, match=r"^\.env='.*\.env': must be a readable file of UTF-8"):
        Settings.load()
    assert [each.setting for each in Settings.problems()] == [".env"]
