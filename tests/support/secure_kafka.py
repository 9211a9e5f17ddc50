"""A secured Kafka for tests: authorities and certificates of every kind, a user and a certificate for every role, and their rights."""

import asyncio
import datetime as dt
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from ems_streams.dev.kafka_security import KafkaSecurity, TlsListener
from ems_streams.dev.ports import LOOPBACK, Ports
from ems_streams.dev.stack import EmbeddedStack
from ems_streams.kafka.acls import apply_acls
from ems_streams.kafka.admin import apply_topics
from ems_streams.processes.rights import Role, acls_of
from ems_streams.settings import Settings
from tests.support.acl_usage import unproven

SUPER = "super"
APPLICATION_ID = "secure"
AUDIT = "EMS_TEST_ACL_AUDIT"
"""Variable with a file that is to say which ACLs nothing in the tests has used."""
PARTITIONS = 2
YESTERDAY = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)


@dataclass
class Certificates:
    """Files of one authority; `of` makes a certificate of names, each once."""

    directory: Path
    authority: trustme.CA = field(default_factory=trustme.CA)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True)
        self.ca_file = self.directory / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca_file))

    def of(self, *names: str, file: str, cn: str | None = None, expires: dt.datetime | None = None) -> tuple[Path, Path]:
        """Certificate, with its chain, and key of some names."""
        made = self.authority.issue_cert(*names, common_name=cn, not_after=expires)
        cert, key = self.directory / f"{file}.pem", self.directory / f"{file}-key.pem"
        cert.write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
        made.private_key_pem.write_to_path(str(key))
        return cert, key


@dataclass
class SecureKafka:
    """A running broker with users, listeners for certificates, and rights for one application id."""

    stack: EmbeddedStack
    security: KafkaSecurity
    certificates: Certificates
    strangers: Certificates
    mtls: str
    expired: str

    @property
    def bootstrap(self) -> str:
        return self.stack.kafka_bootstrap

    def settings(self, user: str, **more: Any) -> Settings:
        """Settings of a process that logs in as a user."""
        return Settings.load(**{**self._common(), **self.security.client_settings(user), **more})

    def settings_of_certificate(self, name: str, **more: Any) -> Settings:
        """Settings of a process that shows a certificate of that common name."""
        cert, key = self.certificates.of("client", file=f"client-{name}", cn=name)
        files = {"kafka_ca_file": self.certificates.ca_file, "kafka_cert_file": cert, "kafka_key_file": key}
        common = {**self._common(), "kafka_bootstrap_servers": self.mtls, "kafka_security_protocol": "SSL"}
        return Settings.load(**{**common, **files, **more})

    def environment(self, role: str) -> dict[str, str]:
        """The same for a process of its own."""
        return {
            "EMS_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "EMS_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "EMS_KAFKA_USERNAME": role,
            "EMS_KAFKA_PASSWORD": self.security.users[role],
            "EMS_KAFKA_CA_FILE": str(self.certificates.ca_file),
            "EMS_APPLICATION_ID": APPLICATION_ID,
            "EMS_PARTITIONS": str(PARTITIONS),
        }

    def _common(self) -> dict[str, Any]:
        return {"kafka_bootstrap_servers": self.bootstrap, "application_id": APPLICATION_ID, "partitions": PARTITIONS}


def user_of(role: Role) -> str:
    """The user that a role logs in as."""
    return f"ems-{role}"


@pytest.fixture(scope="session")
def secure_kafka() -> Iterator[SecureKafka]:
    """Topics are there, and every role has the rights that are generated, no more."""
    directory = Path(tempfile.mkdtemp(prefix="ems-secure-"))
    ports = Ports.free()
    certificates, strangers = Certificates(directory / "ours"), Certificates(directory / "strangers")
    cert, key = certificates.of(LOOPBACK, file="broker")
    old_cert, old_key = certificates.of(LOOPBACK, file="expired", expires=YESTERDAY)
    security = KafkaSecurity(
        certificates.ca_file, cert, key,
        users={SUPER: "s3cret-of-super"} | {user_of(role): f"s3cret-of-{role}" for role in Role},
        super_users=frozenset({SUPER}),
        plain=True,
        tls_listeners=(TlsListener(ports.gateway), TlsListener(ports.sink, old_cert, old_key)),
        audit=AUDIT in os.environ,
    )  # fmt: skip
    stack = EmbeddedStack(directory / "data", ports, servers=frozenset({"kafka"}), kafka_security=security)
    made = SecureKafka(stack, security, certificates, strangers, f"{LOOPBACK}:{ports.gateway}", f"{LOOPBACK}:{ports.sink}")
    asyncio.run(stack.start())
    try:
        asyncio.run(_prepare(made))
        yield made
    finally:
        asyncio.run(stack.stop())
        if AUDIT in os.environ:
            left = unproven(acls_of(made.settings(SUPER)), stack.kafka.log_file)
            Path(os.environ[AUDIT]).write_text("".join(f"{each.principal} {each.operation} {each.resource} {each.name}\n" for each in left))
        shutil.rmtree(directory, ignore_errors=True)


async def _prepare(kafka: SecureKafka) -> None:
    settings = kafka.settings(SUPER)
    await apply_topics(settings)
    await apply_acls(settings, acls_of(settings))
