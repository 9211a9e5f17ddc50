"""What makes the embedded Kafka a secured one: TLS with certificates from files, users with passwords, rights by ACLs.

Nobody may do anything that no ACL allows, but for the super users and the broker itself. The broker proves who it is to itself, and to its controller, by
SASL PLAIN over TLS with a password that is made anew for each start: the controller's port lets nobody else in.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ems_streams.dev.ports import LOOPBACK
from ems_streams.dev.private_files import write_private
from ems_streams.kafka.knocking import knock

BROKER_USER = "ems-kafka-broker"
SCRAM_ITERATIONS = 4096
"""Kafka's least; passwords of the embedded stack are random, so that more would only cost time."""
CN_MAPPING = "RULE:^CN=([A-Za-z0-9._-]+)(,.*)?$/$1/,DEFAULT"
"""A client certificate of `CN=ems-worker` is `User:ems-worker`."""
_LOGIN_TIMEOUT_S = 3.0
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class TlsListener:
    """One more port, for clients that prove who they are by a certificate instead of a password (mutual TLS).

    Attributes:
        port: Where the broker listens.
        cert_file: Certificate, with its chain, that the broker shows there; default the one of the other listeners.
        key_file: Its private key.
    """

    port: int
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """How the embedded Kafka is secured; files are PEM, read at each start.

    Attributes:
        ca_file: Authorities of the clients' certificates, and of the broker's own, which it checks when it connects to itself.
        cert_file: Certificate of the broker, with its chain; it must be of 127.0.0.1, and of whatever else clients call it.
        key_file: Its private key, without password.
        users: Passwords by user name, for SCRAM-SHA-512 and SCRAM-SHA-256; set anew at each start, other users stay.
        super_users: Users that need no ACL, by name; also of certificates.
        plain: Whether users may log in with PLAIN, too: their passwords are in the broker's configuration then, with mode 0600.
        tls_listeners: More ports, for clients with certificates.
        principal_mapping: Kafka's rules by which a certificate's name is a principal's.
        audit: Whether the broker logs what it allows as well as what it denies, with the ACL that decides; it is a lot.

    Raises `ValueError` for a user whose name cannot be written into the configuration.
    """

    ca_file: Path
    cert_file: Path
    key_file: Path
    users: Mapping[str, str] = field(repr=False)
    super_users: frozenset[str] = frozenset()
    plain: bool = False
    tls_listeners: tuple[TlsListener, ...] = ()
    principal_mapping: str = CN_MAPPING
    audit: bool = False

    def __post_init__(self) -> None:
        for name in (*self.users, *self.super_users):
            if not _NAME.fullmatch(name) or name == BROKER_USER:
                raise ValueError(f"user {name!r}: must be a letter, then letters, digits, dots, dashes and underscores; not {BROKER_USER}")

    def client_settings(self, user: str, *, mechanism: str = "SCRAM-SHA-512") -> dict[str, Any]:
        """Settings, by their field names, with which a process is this user."""
        return {
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_mechanism": mechanism,
            "kafka_username": user,
            "kafka_password": self.users[user],
            "kafka_ca_file": self.ca_file,
        }

    def write_stores(self, directory: Path) -> None:
        """Write what the broker reads its certificates from; Kafka wants key and certificate in one file, and the key in PKCS #8."""
        write_private(directory / "trusted.pem", self.ca_file.read_bytes())
        write_private(directory / "broker.pem", _key_and_chain(self.key_file, self.cert_file))
        for number, listener in enumerate(self.tls_listeners):
            content = _key_and_chain(listener.key_file or self.key_file, listener.cert_file or self.cert_file)
            write_private(directory / f"tls{number}.pem", content)

    def properties(self, directory: Path, broker_password: str, more_listeners: int) -> str:
        """The part of the broker's configuration that is about security, with secrets in it."""
        return "".join(f"{name}={_escaped(value)}\n" for name, value in self._entries(directory, broker_password, more_listeners))

    def _entries(self, directory: Path, broker_password: str, more_listeners: int) -> Iterator[tuple[str, str]]:
        supers = sorted({BROKER_USER, *self.super_users})
        yield "authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
        yield "allow.everyone.if.no.acl.found", "false"
        yield "super.users", ";".join(f"User:{name}" for name in supers)
        yield "ssl.keystore.type", "PEM"
        yield "ssl.keystore.location", str(directory / "broker.pem")
        yield "ssl.truststore.type", "PEM"
        yield "ssl.truststore.location", str(directory / "trusted.pem")
        yield "ssl.endpoint.identification.algorithm", "https"
        yield "ssl.principal.mapping.rules", self.principal_mapping
        yield "sasl.mechanism.inter.broker.protocol", "PLAIN"
        yield "sasl.mechanism.controller.protocol", "PLAIN"
        yield "listener.name.controller.sasl.enabled.mechanisms", "PLAIN"
        yield "listener.name.controller.plain.sasl.jaas.config", _plain(broker_password, {})
        for name in ("clients", *(f"more{number}" for number in range(more_listeners))):
            yield from self._of_sasl_listener(name, broker_password)
        for number in range(len(self.tls_listeners)):
            yield f"listener.name.tls{number}.ssl.client.auth", "required"
            yield f"listener.name.tls{number}.ssl.keystore.type", "PEM"
            yield f"listener.name.tls{number}.ssl.keystore.location", str(directory / f"tls{number}.pem")

    def _of_sasl_listener(self, name: str, broker_password: str) -> Iterator[tuple[str, str]]:
        yield f"listener.name.{name}.sasl.enabled.mechanisms", "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN"
        for mechanism in ("scram-sha-512", "scram-sha-256"):
            module = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            yield f"listener.name.{name}.{mechanism}.sasl.jaas.config", module
        yield f"listener.name.{name}.plain.sasl.jaas.config", _plain(broker_password, self.users if self.plain else {})

    def listeners(self) -> list[tuple[str, int]]:
        """Names and ports of the listeners for certificates."""
        return [(f"TLS{number}", listener.port) for number, listener in enumerate(self.tls_listeners)]


async def logs_in(security: KafkaSecurity, port: int, mechanism: str, user: str, password: str) -> bool:
    """Whether the broker takes the user, and knows its own brokers."""
    from aiokafka.errors import KafkaError

    options = {
        "security_protocol": "SASL_SSL",
        "ssl_context": ssl.create_default_context(cafile=str(security.ca_file)),
        "sasl_mechanism": mechanism,
        "sasl_plain_username": user,
        "sasl_plain_password": password,
    }
    try:
        return await knock(LOOPBACK, port, options, _LOGIN_TIMEOUT_S, "ems-dev") > 0
    except (KafkaError, OSError, TimeoutError):
        return False


def set_users(security: KafkaSecurity, port: int, broker_password: str) -> bool:
    """Set the passwords of all users, as the broker; whether it took them. Blocks."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import (
        AdminClient,
        ScramCredentialInfo,
        ScramMechanism,
        UserScramCredentialAlteration,
        UserScramCredentialUpsertion,
    )

    admin = AdminClient({
        "bootstrap.servers": f"{LOOPBACK}:{port}", "security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "log_level": 0,
        "sasl.username": BROKER_USER, "sasl.password": broker_password, "ssl.ca.location": str(security.ca_file),
    })  # fmt: skip
    try:
        # A request may alter each user once. The mechanism that a login is tried with is the last one to be set.
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            info = ScramCredentialInfo(mechanism, SCRAM_ITERATIONS)
            wanted: list[UserScramCredentialAlteration] = [
                UserScramCredentialUpsertion(name, info, password.encode()) for name, password in security.users.items()
            ]
            for future in admin.alter_user_scram_credentials(wanted, request_timeout=5.0).values():
                future.result(6.0)
    except (KafkaException, TimeoutError):
        return False
    return True


def _key_and_chain(key_file: Path, cert_file: Path) -> bytes:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    content = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return content + cert_file.read_bytes()


def _plain(broker_password: str, users: Mapping[str, str]) -> str:
    options = {"username": BROKER_USER, "password": broker_password, f"user_{BROKER_USER}": broker_password}
    options |= {f"user_{name}": password for name, password in users.items()}
    said = " ".join(f"{name}={_quoted(value)}" for name, value in options.items())
    return f"org.apache.kafka.common.security.plain.PlainLoginModule required {said};"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escaped(value: str) -> str:
    """As a value of a Java properties file, which is read as Latin-1."""
    units = value.replace("\\", "\\\\").encode("utf-16-be")
    codes = [int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)]
    return "".join(chr(code) if 0x20 <= code <= 0x7E else f"\\u{code:04x}" for code in codes)
