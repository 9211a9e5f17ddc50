"""What a run of `ems-streams dev` consists of: which servers to embed, and the programs with their environment."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ems_streams.dev.ports import Ports
from ems_streams.dev.units import Program
from ems_streams.errors import EmsError
from ems_streams.settings import EnvironmentSource, Settings

if TYPE_CHECKING:
    from ems_streams.dev.secure import SecureRun

MQTT_USERNAME = "ems_mqtt"
MQTT_PASSWORD = "ems_mqtt_password"  # noqa: S105 - the documented password of the dev stack, which listens on loopback only
PARTITIONS = 4
SECURE_DEVICES = ("1/INV-001",)
_SERVER_OF_SETTING = {"kafka_bootstrap_servers": "kafka", "mqtt_url": "mqtt", "database_url": "postgres"}
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command was asked for.

    Attributes:
        duration_s: How long to stay up, from the moment when everything is ready; `None` until stopped.
        devices: Size of the simulated fleet.
        rate: Telemetry messages per second of the whole fleet.
        simulator: Whether to run the simulated fleet.
        builtin_rules: Whether to apply the built-in alarm rules when nobody ever applied any.
        headless: Print lines even when a terminal is there.
        fresh: Remove the data of the runs before.
        data_dir: Where everything is kept; `None` is the setting's.
        json: Print one JSON object per line.
        secure: Encryption, logins and rights everywhere, and the data in a directory of its own.
        secure_devices: Devices that get certificates then, as `site/serial`.
    """

    duration_s: float | None = None
    devices: int = 50
    rate: float = 100.0
    workers: int = 1
    simulator: bool = True
    builtin_rules: bool = True
    headless: bool = False
    fresh: bool = False
    port_offset: int = 0
    data_dir: Path | None = None
    json: bool = False
    secure: bool = False
    secure_devices: tuple[str, ...] = SECURE_DEVICES


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, decided: nothing of it depends on what happens later.

    Attributes:
        embedded: Servers that the run brings itself (`kafka`, `mqtt`, `postgres`).
        external: Address of each of the others, as set.
        settings: As the programs see them.
        secure: The credentials of the run; None until they are made, and when it has none.
    """

    options: Options
    data_dir: Path
    ports: Ports
    embedded: frozenset[str]
    external: Mapping[str, str]
    settings: Settings
    secure: "SecureRun | None" = None

    @property
    def log_dir(self) -> Path:
        """Where the logs of all processes are."""
        return self.data_dir / "logs"

    @property
    def ports_needed(self) -> frozenset[str]:
        """Names of the ports that must be free."""
        names = {"worker", "ingress", "sink", "gateway"} | self.embedded
        if self.settings.channels_file is not None:
            names.add("notifier")
        return frozenset(names | {"kafka_controller"} if "kafka" in self.embedded else names)

    @property
    def worker_ports(self) -> list[int]:
        """Port of each worker, in order."""
        return [self.ports.worker + index for index in range(self.options.workers)]

    @property
    def dashboard_url(self) -> str:
        """Where people look first."""
        return f"{'https' if self.options.secure else 'http'}://localhost:{self.ports.gateway}"


def make_plan(options: Options) -> Plan:
    """Decide a run; raises `SettingError` for a setting or an offset that cannot be."""
    settings = Settings.load()
    explicit = _explicit_settings()
    ports = Ports.from_settings(settings, options.port_offset)
    data_dir = (options.data_dir or settings.data_dir).absolute()
    if options.secure:
        # Users, passwords and rights are in the data of the servers: those of a run without them cannot be used.
        data_dir /= "secure"
    embedded = frozenset(server for name, server in _SERVER_OF_SETTING.items() if name not in explicit)
    external = {server: _address(settings, name) for name, server in _SERVER_OF_SETTING.items() if name in explicit}
    overrides: dict[str, Any] = {
        "data_dir": data_dir,
        "ingress_port": ports.ingress,
        "gateway_port": ports.gateway,
        "sink_port": ports.sink,
        "notifier_port": ports.notifier,
    }
    if "partitions" not in explicit:
        overrides["partitions"] = PARTITIONS
    if "kafka" in embedded:
        overrides["kafka_bootstrap_servers"] = f"{_LOOPBACK}:{ports.kafka}"
    if "mqtt" in embedded:
        login = {} if options.secure else {"mqtt_username": MQTT_USERNAME, "mqtt_password": MQTT_PASSWORD}
        overrides |= {"mqtt_url": f"{'mqtts' if options.secure else 'mqtt'}://{_LOOPBACK}:{ports.mqtt}", **login}
    if "postgres" in embedded:
        login_in_url = "" if options.secure else "ems:ems@"
        overrides["database_url"] = f"postgresql://{login_in_url}{_LOOPBACK}:{ports.postgres}/ems"
    worker_urls = ",".join(f"http://{_LOOPBACK}:{ports.worker + index}" for index in range(options.workers))
    return Plan(options, data_dir, ports, embedded, external, Settings.load(**overrides, worker_urls=worker_urls))


def with_credentials(plan: Plan) -> Plan:
    """The plan of a secure run with its credentials, which are made if they are not there; call it only while the directory is locked."""
    try:
        from ems_streams.dev.secure import SecureRun
        from ems_streams.dev.secure_devices import parse_devices
    except ModuleNotFoundError as error:
        raise EmsError(f"{error.name} is not installed; install EMS Streams with its extra: ems-streams[dev-stack]") from None
    secure = SecureRun(plan.data_dir, plan.ports, plan.embedded, parse_devices(plan.options.secure_devices))
    wanted = secure.settings()
    as_operator = Settings.load(**wanted)
    settings = plan.settings.model_copy(update={name: getattr(as_operator, name) for name in wanted})
    secured = replace(plan, settings=settings, secure=secure)
    secure.write_operator_env(addresses(secured))
    return secured


def programs(plan: Plan, database_url: str | None = None) -> list[Program]:
    """The programs of a run, in the order in which they are shown.

    Args:
        database_url: Of the embedded PostgreSQL, which alone knows it for sure; not for secure runs, where each has its own.
    """
    module = (sys.executable, "-m", "ems_streams")

    def program(name: str, *arguments: str, port: int | None = None, after: str | None = None, **extra: str) -> Program:
        env = _environment(plan, name.partition("-")[0], database_url) | extra
        scheme, ca_file = "http", None
        if plan.secure is not None and name == "gateway":
            scheme, ca_file = "https", plan.secure.certificates.ca
        url = None if port is None else f"{scheme}://{_LOOPBACK}:{port}/readyz"
        return Program(name, (*module, *arguments), env, plan.log_dir / f"{name}.log", port, url, after, ca_file)

    found = [program("ingress", "ingress", port=plan.ports.ingress)]
    for index, port in enumerate(plan.worker_ports):
        identity = {"EMS_WORKER_ID": f"worker-{index}", "EMS_WORKER_PORT": str(port)}
        address = {"EMS_WORKER_ADVERTISED_URL": f"http://{_LOOPBACK}:{port}"}
        found.append(program(f"worker-{index}", "worker", port=port, **identity, **address))
    found.append(program("sink", "sink", port=plan.ports.sink))
    found.append(program("gateway", "gateway", port=plan.ports.gateway))
    if plan.settings.channels_file is not None:
        found.append(program("notifier", "notifier", port=plan.ports.notifier))
    if plan.options.simulator:
        # Serial numbers of their own, so that whoever tries the simulator beside it gets other devices.
        size = ("--prefix", "DEMO-", "--devices", str(plan.options.devices), "--rate", f"{plan.options.rate:g}")
        # What is published before the ingress has ever subscribed goes nowhere.
        told = ("--command-log", str(plan.log_dir / "simulator-commands.jsonl"))
        found.append(program("simulator", "simulate", "--seed", "1", *size, "--duration", "0", *told, after="ingress"))
    return found


def addresses(plan: Plan) -> dict[str, str]:
    """Where everything of a run is, as variables; nothing secret."""
    settings = plan.settings
    told = {
        "EMS_DATA_DIR": str(plan.data_dir),
        "EMS_PARTITIONS": str(settings.partitions),
        "EMS_INGRESS_PORT": str(plan.ports.ingress),
        "EMS_GATEWAY_PORT": str(plan.ports.gateway),
        "EMS_SINK_PORT": str(plan.ports.sink),
        "EMS_NOTIFIER_PORT": str(plan.ports.notifier),
        "EMS_WORKER_URLS": settings.worker_urls,
    }
    if "kafka" in plan.embedded:
        told["EMS_KAFKA_BOOTSTRAP_SERVERS"] = settings.kafka_bootstrap_servers
    if "mqtt" in plan.embedded:
        told["EMS_MQTT_URL"] = str(settings.mqtt_url)
    return told


def _environment(plan: Plan, process: str, database_url: str | None) -> dict[str, str]:
    settings = plan.settings
    env = dict(os.environ) | {"PYTHONUNBUFFERED": "1", "EMS_LOG_FORMAT": settings.log_format} | addresses(plan)
    if plan.secure is not None:
        shown = plan.secure.environment(process)
        # What the shell says goes before a file, and is of something else.
        for name in shown:
            env.pop(name.removesuffix("_FILE"), None)
        return env | shown
    if "mqtt" in plan.embedded:
        env |= {"EMS_MQTT_USERNAME": MQTT_USERNAME, "EMS_MQTT_PASSWORD": MQTT_PASSWORD}
    if "postgres" in plan.embedded:
        env["EMS_DATABASE_URL"] = database_url or settings.database_url.get_secret_value()
    return env


def _explicit_settings() -> frozenset[str]:
    source = EnvironmentSource(Settings)
    return frozenset(name for name, field in Settings.model_fields.items() if source.lookup(name, field)[0] is not None)


def _address(settings: Settings, name: str) -> str:
    if name == "database_url":
        # The address without the password in it.
        return settings.database_url.get_secret_value().rpartition("@")[2]
    return str(getattr(settings, name)).rpartition("@")[2]
