"""Servers with security, started once for the tests of this folder; with certificates of an authority of their own."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from ems_streams.dev.artemis_security import FLEET, INGRESS, WORKER, ArtemisSecurity, Device
from ems_streams.dev.certificates import DEVICE, PROCESS, Certificates, Pair, issue, new_authority, save
from ems_streams.dev.ports import Ports
from ems_streams.dev.postgres import PostgresSecurity
from ems_streams.dev.stack import EmbeddedStack
from ems_streams.settings import Settings

PROCESSES = {"ems-ingress": INGRESS, "ems-worker": WORKER, "ems-simulator": FLEET}
PASSWORDS = {"by-password": "the-right-one"}
DATABASE_PASSWORDS = {"ems_sink": "sink-secret", "ems_reader": "reader-secret", "ems_operator": "operator-secret"}


@dataclass
class Secured:
    """What the tests need to know of the servers."""

    stack: EmbeddedStack
    certificates: Certificates
    stranger: trustme.CA
    directory: Path

    def settings(self, name: str, kind: str = PROCESS, **more: Any) -> Settings:
        """Of a client with the certificate of that name."""
        return self.showing(self.certificates.client(name, kind), **more)

    def device(self, serial: str, **more: Any) -> Settings:
        return self.settings(serial, DEVICE, **more)

    def showing(self, pair: Pair | None, **more: Any) -> Settings:
        """Of a client with that certificate, or with none."""
        shown = {} if pair is None else {"mqtt_cert_file": pair.cert, "mqtt_key_file": pair.key}
        return Settings.load(**{"mqtt_url": self.stack.mqtt_url, "mqtt_ca_file": self.certificates.ca, **shown, **more})

    def signed(self, authority: trustme.CA, name: str, kind: str = PROCESS, **times: Any) -> Pair:
        """Another certificate."""
        return save(issue(authority, name, kind, **times), self.directory, f"other-{name}")


@pytest.fixture(scope="session")
def secured() -> Iterator[Secured]:
    # Paths get into URIs, lists and command lines on their way to the servers.
    directory = Path(tempfile.mkdtemp(prefix="ems secure+"))
    certificates = Certificates(directory / "certificates")
    keys, trust = certificates.java_stores(certificates.directory, "store-secret")
    mqtt = ArtemisSecurity(
        keys,
        trust,
        "store-secret",
        PROCESSES,
        (Device("INV-001", site=1), Device("INV-002")),
        "DEMO-",
        PASSWORDS,
        {"by-password": INGRESS},
    )
    server = certificates.server()
    postgres = PostgresSecurity(server.cert, server.key, certificates.ca, "admin-secret", DATABASE_PASSWORDS)
    stack = EmbeddedStack(directory, Ports.free(), servers=frozenset({"mqtt", "postgres"}), mqtt_security=mqtt, postgres_security=postgres)
    asyncio.run(stack.start())
    try:
        yield Secured(stack, certificates, new_authority(), directory)
    finally:
        asyncio.run(stack.stop())
        shutil.rmtree(directory, ignore_errors=True)
