"""Credentials of a secure run: who each process is, what it shows for that, and what the servers let it do.

Everything secret is in files of mode 0600 below `credentials`; processes are told paths only, so that no environment, command line or
log has a secret. It is made once and kept, so that a restart finds the data of the run before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from ems_streams.access.roles import Role
from ems_streams.access.token_entries import ALL_SITES, TokenEntry, entry_yaml, hash_of
from ems_streams.access.token_file import TokensFileError, load_tokens
from ems_streams.dev.artemis_security import FLEET, INGRESS, NOTHING, WORKER, ArtemisSecurity, Device
from ems_streams.dev.certificates import Certificates, Pair
from ems_streams.dev.kafka_security import KafkaSecurity
from ems_streams.dev.ports import LOOPBACK, Ports
from ems_streams.dev.postgres import PostgresSecurity, database_url
from ems_streams.dev.private_files import SecretFiles, private_directory, write_private
from ems_streams.postgres.roles import Roles

OPERATOR: Final = "operator"
FLEET_PREFIX: Final = "DEMO-"
_ROLES: Final = Roles()
_OF_KAFKA: Final = ("ingress", "worker", "sink", "gateway", "notifier", OPERATOR)
_OF_MQTT: Final = {"ingress": INGRESS, "worker": WORKER, "simulator": FLEET, OPERATOR: NOTHING}
_OF_DATABASE: Final = {"sink": _ROLES.sink, "gateway": _ROLES.reader, OPERATOR: _ROLES.operator}
_INTERNAL: Final = frozenset({"worker", "gateway", "notifier", OPERATOR})
_TOKENS: Final = {OPERATOR: Role.ADMIN, "viewer": Role.VIEWER}


def principal(process: str) -> str:
    """Who a process is, at every server."""
    return f"ems-{process}"


@dataclass(frozen=True)
class SecureRun:
    """What belongs to one data directory.

    Attributes:
        data_dir: Of the run.
        ports: Where everything listens.
        embedded: The servers that the run brings; others have a security of their own, and are not touched.
        devices: Devices that get certificates, beside the simulated fleet.
    """

    data_dir: Path
    ports: Ports
    embedded: frozenset[str]
    devices: tuple[Device, ...]

    @cached_property
    def directory(self) -> Path:
        """Closed to others."""
        return private_directory(self.data_dir / "credentials")

    @cached_property
    def certificates(self) -> Certificates:
        """Of all who take part."""
        return Certificates(self.directory / "certificates")

    @cached_property
    def secrets(self) -> SecretFiles:
        """Passwords and tokens."""
        return SecretFiles(self.directory / "secrets")

    @property
    def operator_env(self) -> Path:
        """What makes `ems-streams` commands the operator."""
        return self.data_dir / "operator.env"

    def device(self, serial: str) -> Pair:
        """What a device shows."""
        return self.certificates.devices((serial,))[serial]

    def token_file(self, name: str) -> Path:
        """Token of a person, for the gateway."""
        return self.secrets.path(f"gateway-token-{name}")

    @property
    def operator_token_file(self) -> Path:
        """Token of the operator, who may do everything."""
        return self.token_file(OPERATOR)

    # -- Servers --

    def servers(self) -> dict[str, Any]:
        """How the embedded servers are secured, as arguments of `EmbeddedStack`."""
        return {"kafka_security": self.kafka, "mqtt_security": self._mqtt(), "postgres_security": self._postgres()}

    @cached_property
    def kafka(self) -> KafkaSecurity:
        """Users of Kafka; the operator is its administrator."""
        server = self.certificates.server()
        users = {principal(each): self.secrets.value(f"kafka-{each}") for each in _OF_KAFKA}
        return KafkaSecurity(self.certificates.ca, server.cert, server.key, users, frozenset({principal(OPERATOR)}))

    def _mqtt(self) -> ArtemisSecurity:
        password = self.secrets.value("mqtt-key-store")
        keys, trust = self.certificates.java_stores(self.certificates.directory, password)
        self.certificates.devices(each.serial for each in self.devices)
        processes = {principal(each): role for each, role in _OF_MQTT.items()}
        return ArtemisSecurity(keys, trust, password, processes, self.devices, FLEET_PREFIX)

    def _postgres(self) -> PostgresSecurity:
        server = self.certificates.server()
        passwords = {user: self.secrets.value(f"database-{user}") for user in _ROLES.all()}
        return PostgresSecurity(server.cert, server.key, self.certificates.ca, self.secrets.value("database-admin"), passwords)

    # -- Processes --

    def environment(self, process: str) -> dict[str, str]:
        """What a process is told beside addresses: its name, and the files of what it shows."""
        return {**self._kafka_of(process), **self._mqtt_of(process), **self._database_of(process), **self._web_of(process)}

    def _kafka_of(self, process: str) -> dict[str, str]:
        if "kafka" not in self.embedded or process not in _OF_KAFKA:
            return {}
        return {
            "EMS_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "EMS_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "EMS_KAFKA_CA_FILE": str(self.certificates.ca),
            "EMS_KAFKA_USERNAME": principal(process),
            "EMS_KAFKA_PASSWORD_FILE": str(self.secrets.path(f"kafka-{process}")),
        }

    def _mqtt_of(self, process: str) -> dict[str, str]:
        if "mqtt" not in self.embedded or process not in _OF_MQTT:
            return {}
        shown = self.certificates.client(principal(process))
        return {
            "EMS_MQTT_URL": f"mqtts://{LOOPBACK}:{self.ports.mqtt}",
            "EMS_MQTT_CA_FILE": str(self.certificates.ca),
            "EMS_MQTT_CERT_FILE": str(shown.cert),
            "EMS_MQTT_KEY_FILE": str(shown.key),
        }

    def _database_of(self, process: str) -> dict[str, str]:
        if "postgres" not in self.embedded or process not in _OF_DATABASE:
            return {}
        user = _OF_DATABASE[process]
        url = database_url(self.ports.postgres, user, self.secrets.value(f"database-{user}"), self.certificates.ca)
        return {"EMS_DATABASE_URL_FILE": str(self.secrets.put(f"database-url-{process}", url))}

    def _web_of(self, process: str) -> dict[str, str]:
        told = {"EMS_INTERNAL_TOKEN_FILE": str(self.secrets.path("internal-token"))} if process in _INTERNAL else {}
        if process == "gateway":
            server = self.certificates.server()
            told |= {
                "EMS_GATEWAY_CERT_FILE": str(server.cert),
                "EMS_GATEWAY_KEY_FILE": str(server.key),
                "EMS_GATEWAY_TOKENS_FILE": str(self.tokens_file()),
                "EMS_GATEWAY_SESSION_KEY_FILE": str(self.secrets.path("gateway-session-key")),
            }
        if process == OPERATOR:
            told |= {
                "EMS_GATEWAY_URL": f"https://localhost:{self.ports.gateway}",
                "EMS_GATEWAY_CA_FILE": str(self.certificates.ca),
                "EMS_GATEWAY_TOKEN_FILE": str(self.operator_token_file),
            }
        return told

    def tokens_file(self) -> Path:
        """The gateway's tokens, by their hashes; what people have added stays, and a file that cannot be read is put aside."""
        path = self.directory / "tokens.yaml"
        ours = [
            TokenEntry.model_validate(
                {"name": name, "hash": hash_of(self.secrets.value(f"gateway-token-{name}")), "role": role, "sites": ALL_SITES}
            )
            for name, role in _TOKENS.items()
        ]
        known: tuple[TokenEntry, ...] = ()
        if path.exists():
            try:
                known = load_tokens(path)
            except TokensFileError:
                path.replace(path.with_suffix(".yaml.broken"))
        if not set(known).issuperset(ours):
            kept = [*ours, *(each for each in known if each.name not in _TOKENS)]
            write_private(path, ("tokens:\n" + "".join(entry_yaml(each) for each in kept)).encode())
        return path

    # -- The operator --

    def settings(self) -> dict[str, Any]:
        """Overrides by which the run itself makes topics and grants rights: as the operator."""
        return self.kafka.client_settings(principal(OPERATOR)) if "kafka" in self.embedded else {}

    def write_operator_env(self, addresses: Mapping[str, str]) -> Path:
        """Write what a shell, or `--env-file`, has to know; `addresses` are those of the run."""
        told = {**addresses, **self.environment(OPERATOR)}
        lines = [f"{name}='{value}'\n" for name, value in sorted(told.items()) if name.startswith("EMS_") and "'" not in value]
        head = f"# Makes commands of ems-streams the operator of this run: set -a; . {self.operator_env}; set +a\n"
        return write_private(self.operator_env, (head + "".join(lines)).encode())
