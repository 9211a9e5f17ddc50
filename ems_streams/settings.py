"""Settings of every process: environment variables with the prefix `EMS_`, and `.env`.

`*_FILE` variants read a secret from a file (`EMS_MQTT_PASSWORD_FILE=/run/secrets/mqtt`). The plain names
`KAFKA_BOOTSTRAP_SERVERS`, `MQTT_URL` and `DATABASE_URL` are read too; the `EMS_` name wins over them, and the environment over `.env`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from dotenv import dotenv_values
from pydantic import AliasChoices, AnyUrl, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ems_streams.errors import SettingError
from ems_streams.security_settings import GatewaySecuritySettings, KafkaSecuritySettings, MqttSecuritySettings
from ems_streams.setting_types import NOTHING, Days, HttpUrl, MqttUrl, NotNegative, Port, Seconds, TimeZone, WindowLabel, pairs, parts

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

PREFIX = "EMS_"


class Settings(KafkaSecuritySettings, MqttSecuritySettings, GatewaySecuritySettings):
    """Every setting, with its default, unit and meaning; `ems-streams config show` prints them with their source."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, populate_by_name=True)

    kafka_bootstrap_servers: str = Field(
        default="localhost:9092",
        validation_alias=AliasChoices("EMS_KAFKA_BOOTSTRAP_SERVERS", "KAFKA_BOOTSTRAP_SERVERS"),
        description="Kafka brokers, host:port, separated by commas",
    )
    kafka_session_timeout_s: Seconds = Field(default=6.0, description="A worker silent for this long has lost its partitions")
    kafka_heartbeat_interval_s: Seconds = Field(default=2.0, description="At most a third of the session timeout")
    kafka_rebalance_timeout_s: Seconds = Field(default=8.0, description="Longest wait for a worker to join a rebalance")
    kafka_fetch_max_wait_ms: int = Field(default=20, ge=1, le=10_000, description="Longest wait of the broker for a fetch to fill")
    kafka_request_timeout_s: Seconds = Field(default=30.0, description="Deadline of one Kafka request")

    mqtt_url: MqttUrl = Field(
        default=AnyUrl("mqtt://localhost:1883"),
        validation_alias=AliasChoices("EMS_MQTT_URL", "MQTT_URL"),
        description="MQTT 5 broker: mqtt://host:port, or mqtts:// for TLS",
    )
    mqtt_username: str | None = Field(default=None, description="MQTT user")
    mqtt_password: SecretStr | None = Field(default=None, description="MQTT password")
    mqtt_share_group: str = Field(
        default="ems-ingress", pattern=r"^[A-Za-z0-9_.-]+$", description="Shared subscription of all ingress replicas"
    )
    mqtt_receive_max: int = Field(
        default=4000, ge=1, le=65535, description="QoS 1 messages in flight before the broker waits for acknowledgements"
    )
    mqtt_session_expiry_s: int = Field(
        default=86_400,
        ge=60,
        description="How long the broker keeps messages for an ingress that is away, and what it knows of commands under way",
    )
    mqtt_keep_alive_s: int = Field(default=15, ge=1, le=65535, description="MQTT keep alive")

    database_url: SecretStr = Field(
        default=SecretStr("postgresql://ems:ems@localhost:5432/ems"),
        validation_alias=AliasChoices("EMS_DATABASE_URL", "DATABASE_URL"),
        description="PostgreSQL: postgresql://user:password@host:port/database",
    )

    application_id: str = Field(
        default="ems-streams",
        pattern=r"^[A-Za-z0-9_.-]{1,120}$",
        description="Consumer group of the workers and prefix of their changelog topics",
    )
    partitions: int = Field(default=12, ge=1, le=1000, description="Partitions of every device-keyed topic and changelog")
    replication_factor: int = Field(default=1, ge=1, le=15, description="Replicas of every topic")
    unknown_devices: Literal["provision", "reject"] = Field(
        default="provision", description="What to do with a serial that is not in the registry"
    )

    data_dir: Path = Field(default=Path(".ems"), description="Where processes keep local state")
    bind_host: str = Field(default="127.0.0.1", description="Address that workers, ingress, sink and notifier listen on; keep it internal")
    worker_id: str = Field(
        default="worker-0",
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="Stable name of this worker: its state directory and group membership",
    )
    worker_port: Port = Field(default=6066, description="Port of the worker's web")
    worker_advertised_url: HttpUrl | None = Field(
        default=None, description="How other workers and the gateway reach this worker; default http://BIND_HOST:WORKER_PORT"
    )
    standby_replicas: int = Field(default=0, ge=0, le=5, description="Warm copies of each partition's state on other workers")
    stall_timeout_s: Seconds = Field(
        default=60.0, description="A process that is behind and makes no progress for this long, although it could, ends itself"
    )
    aggregates_commit_interval_s: Seconds = Field(
        default=2.0, description="How often aggregates are made durable; live reads do not wait for it"
    )
    status_commit_interval_s: Seconds = Field(
        default=2.0, description="How often the times of last life are made durable; transitions are published at once"
    )
    published_windows: tuple[WindowLabel, ...] = Field(
        default=("1m", "15m", "1h", "1d", "1d-local"),
        description="Windows that are published when they close: 1m, 15m, 1h, 1d, 1d-local, separated by commas, or none",
    )
    window_lateness_s: tuple[NotNegative, NotNegative, NotNegative, NotNegative] = Field(
        default=(30.0, 60.0, 120.0, 600.0),
        description="How long windows of 1m, 15m, 1h and 1d wait for messages after their end, in event time; not falling",
    )
    site_lateness_s: NotNegative = Field(
        default=60.0, description="How long a window of a site waits for its other devices when one has closed its own, in event time"
    )
    correction_horizon_s: Seconds = Field(
        default=86_400.0, description="Messages that are later than this correct no window any more; samples are kept for as long"
    )
    quiet_device_s: Seconds = Field(default=120.0, description="After so long without a message a device's windows close by the clock")
    silence_timeout_s: NotNegative = Field(
        default=300.0, description="A device that sends nothing for so long, while an ingress listens, is offline; 0 for never"
    )
    silence_timeouts: dict[str, NotNegative] = Field(
        default={"BATTERY": 120.0, "EV_CHARGER": 900.0},
        description="The same by device type, as type=seconds separated by commas; `limits.silenceTimeoutS` in the registry goes before both",
    )
    flapping_threshold: NotNegative = Field(
        default=6.0,
        description="A device that changes its status so often in a short while is flapping, which is told once; 0 tells every change",
    )
    flapping_half_life_s: Seconds = Field(default=300.0, description="After so long a change of status counts half towards flapping")
    default_time_zone: TimeZone = Field(default="UTC", description="Time zone of sites that have none of their own, for their local day")
    site_time_zones: dict[int, TimeZone] = Field(
        default={}, description="Time zones of sites by site id, as site=zone separated by commas: 1=Europe/Berlin,2=Asia/Kolkata"
    )
    ingress_id: str = Field(
        default="ingress-0", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Stable name of this ingress: its MQTT client id"
    )
    ingress_port: Port = Field(default=6060, description="Port of the ingress' health endpoints")
    heartbeat_interval_s: Seconds = Field(
        default=3.0,
        description="How often an ingress that is alive says so in every partition, which is what silence is counted by; the same for workers",
    )
    sink_port: Port = Field(default=6061, description="Port of the sink's health endpoints")
    sink_batch_records: int = Field(default=5000, ge=1, le=100_000, description="Most records that the sink writes in one transaction")
    sink_write_timeout_s: Seconds = Field(
        default=30.0, description="Deadline of one transaction of the sink; what takes longer is tried again with half as much"
    )
    channels_file: Path | None = Field(
        default=None, description="YAML file of the channels by which people are notified, with their routes"
    )
    notifier_port: Port = Field(default=6062, description="Port of the notifier's health endpoints")
    retention_device_aggregates_days: Days = Field(default=90, description="How long PostgreSQL keeps windows of devices; 0 for ever")
    retention_site_aggregates_days: Days = Field(default=1095, description="How long PostgreSQL keeps windows of sites; 0 for ever")
    retention_status_events_days: Days = Field(default=1095, description="How long PostgreSQL keeps status transitions; 0 for ever")
    retention_notifications_days: Days = Field(default=365, description="How long PostgreSQL keeps notifications; 0 for ever")
    gateway_host: str = Field(default="127.0.0.1", description="Address that the gateway listens on")
    gateway_port: Port = Field(default=8080, description="Port of the gateway")
    gateway_notifications_held: int = Field(
        default=10_000, ge=100, le=1_000_000, description="Notifications that the gateway keeps in memory, about 2 KiB each"
    )
    worker_urls: str = Field(
        default="http://127.0.0.1:6066", description="Workers to ask first, separated by commas; the rest is learnt from them"
    )
    query_timeout_s: Seconds = Field(default=2.0, description="Deadline of a live table query")

    cache_dir: Path | None = Field(
        default=None, description="Where `dev` keeps downloaded jars; default ems-streams in the user's cache directory"
    )
    java: Path | None = Field(default=None, description="A java binary, 17 or later, for `dev` to use instead of its own")
    jar_repository: HttpUrl | None = Field(
        default=None, description="Maven repository that `dev` fetches jars from; default the public one"
    )
    dev_kafka_port: Port = Field(default=9092, description="Port of the Kafka that `dev` starts")
    dev_kafka_controller_port: Port = Field(default=9093, description="Port of that Kafka's controller")
    dev_mqtt_port: Port = Field(default=1883, description="Port of the MQTT broker that `dev` starts")
    dev_postgres_port: Port = Field(default=5432, description="Port of the PostgreSQL that `dev` starts")

    traces_endpoint: HttpUrl | None = Field(
        default=None, description="Where traces are sent, as OTLP over HTTP such as http://localhost:4318; none are made without it"
    )
    traces_sample: float = Field(
        default=0.01, ge=0, le=1, description="Share of messages that are followed from MQTT to their notification"
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least severe level that is logged")
    log_format: Literal["console", "json"] = Field(default="console", description="For people or for machines")

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _check_servers(cls, value: str) -> str:
        for server in value.split(","):
            host, _, port = server.strip().rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65536:
                raise ValueError("must be host:port, several separated by commas")
        return value

    @field_validator("published_windows", mode="before")
    @classmethod
    def _split_windows(cls, value: object) -> object:
        return parts(value)

    @field_validator("window_lateness_s", mode="before")
    @classmethod
    def _split_lateness(cls, value: object) -> object:
        times = parts(value)
        if isinstance(times, list) and len(times) != 4:
            raise ValueError("must be four times in seconds, for 1m, 15m, 1h and 1d, separated by commas")
        return times

    @field_validator("site_time_zones", mode="before")
    @classmethod
    def _split_zones(cls, value: object) -> object:
        return pairs(value, "must be site=zone, several separated by commas, each site once, or none")

    @field_validator("silence_timeouts", mode="before")
    @classmethod
    def _split_timeouts(cls, value: object) -> object:
        return pairs(value, "must be type=seconds, several separated by commas, each type once, or none")

    @field_validator("window_lateness_s")
    @classmethod
    def _check_lateness(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(value):
            raise ValueError("must not fall from one window to the next longer one: a window closes after its parts")
        return value

    @property
    def worker_url(self) -> str:
        """How others reach this worker's web."""
        if self.worker_advertised_url is not None:
            return str(self.worker_advertised_url).rstrip("/")
        return f"http://{self.bind_host}:{self.worker_port}"

    @property
    def sink_group(self) -> str:
        """Consumer group of the sinks, and whose offsets they store."""
        return f"{self.application_id}-sink"

    @property
    def worker_data_dir(self) -> Path:
        """State directory of this worker; two workers must not share one."""
        return self.data_dir / self.worker_id

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, EnvironmentSource(settings_cls))

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the settings; raises `SettingError` with one line that names setting, value and expectation."""
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise _problems(error)[0] from None

    @classmethod
    def problems(cls) -> list[SettingError]:
        """All that is wrong with what is set; nothing when `load` gives settings. Of files that cannot be read, the first one."""
        try:
            cls()
        except ValidationError as error:
            return _problems(error)
        except SettingError as error:
            return [error]
        return []


def is_secret(field: FieldInfo) -> bool:
    """Whether the value must never be shown."""
    return "SecretStr" in str(field.annotation)


def as_set(value: object) -> object:
    """A value as a variable sets it."""
    if isinstance(value, tuple):
        return ",".join(f"{each:g}" if isinstance(each, float) else str(each) for each in value) or NOTHING
    return ",".join(f"{key}={each}" for key, each in value.items()) or NOTHING if isinstance(value, dict) else value


def environment_names(name: str, field: FieldInfo) -> list[str]:
    """Variables that set this field, the winning one first; every other one holds the path of a file with the value."""
    alias = field.validation_alias
    names = [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else [PREFIX + name.upper()]
    return [variant for plain in names for variant in (plain, plain + "_FILE")]


def env_file() -> dict[str, str | None]:
    """Lines of `.env` by name, nothing where there is no such file; raises `SettingError` when it cannot be read."""
    try:
        return dotenv_values(".env")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(".env", str(Path(".env").absolute()), f"must be a readable file of UTF-8 ({_why(error)})") from None


def _content_of(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(variable, path, f"must be a readable file of UTF-8 ({_why(error)})") from None


def _why(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else f"byte {error.start + 1} is none"


class EnvironmentSource(PydanticBaseSettingsSource):
    """Environment over `.env`, each with plain and `_FILE` names; remembers where every value came from."""

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str] | None = None) -> None:
        super().__init__(settings_cls)
        self._layers: list[tuple[str, Mapping[str, str | None]]] = [
            ("environment", os.environ if environ is None else environ),
            (".env", env_file()),
        ]

    def lookup(self, name: str, field: FieldInfo) -> tuple[str | None, str]:
        """Value and source of one field; `(None, "default")` when nothing sets it."""
        for layer, values in self._layers:
            for index, variable in enumerate(environment_names(name, field)):
                value = values.get(variable)
                if value is None or value == "":
                    continue
                if index % 2 == 0:
                    return value, f"{layer} {variable}"
                return _content_of(variable, value), f"{layer} {variable}"
        return None, "default"

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self.lookup(field_name, field)[0], field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, _ = self.lookup(name, field)
            if value is not None:
                found[name] = value
        return found


def _problems(error: ValidationError) -> list[SettingError]:
    """One for each setting, in the order of their definition."""
    found = {str(problem["loc"][0]): problem for problem in reversed(error.errors(include_url=False))}
    return [
        _problem(name, found[name]) for name in (*Settings.model_fields, *(found.keys() - Settings.model_fields.keys())) if name in found
    ]


def _problem(name: str, problem: "ErrorDetails") -> SettingError:
    # A setting with names of its own is told by the name that it was given by.
    field = Settings.model_fields.get(name) or next(
        (each for key, each in Settings.model_fields.items() if name in environment_names(key, each)), None
    )
    setting = environment_names(name, field)[0] if field else name
    value = "***" if field is None or is_secret(field) else problem["input"]
    expected = problem["msg"].removeprefix("Value error, ")
    return SettingError(setting, value, expected[0].lower() + expected[1:])
