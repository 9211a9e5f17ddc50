"""Certificates of the secure dev stack: an authority of its own, by trustme, and what it signs. For development only.

They are made once, and anew before they expire. Whoever has the directory can pretend to be anybody of this stack, and nobody else.
"""

import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key, pkcs12

from ems_streams.dev.private_files import private_directory, write_private

SERVER_NAMES: Final = ("localhost", "127.0.0.1", "::1")
ORGANIZATION: Final = "EMS Streams dev"
PROCESS, DEVICE, SERVER = "process", "device", "server"
LIFETIME: Final = timedelta(days=90)
RENEWED_BEFORE: Final = timedelta(days=30)
# A certificate is good at once on a machine whose clock is a little behind.
_EARLIER: Final = timedelta(hours=1)

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, PEM, for settings that want files."""

    cert: Path
    key: Path


def subject(name: str, kind: str) -> str:
    """The subject of a certificate, as Java writes it."""
    return f"CN={name}, OU={kind}, O={ORGANIZATION}"


def issue(
    authority: trustme.CA, name: str, kind: str, *hosts: str, begins: datetime | None = None, ends: datetime | None = None
) -> trustme.LeafCert:
    """A certificate of that name; `hosts` are for servers. Without times of its own it holds for `LIFETIME` from now on."""
    begins = begins or datetime.now(UTC) - _EARLIER
    return authority.issue_cert(
        # Some name there must be: Java takes no list of names without one. This one leads nowhere.
        *(hosts or (f"{kind}.ems.invalid",)),
        common_name=name,
        organization_name=ORGANIZATION,
        organization_unit_name=kind,
        not_before=begins,
        not_after=ends or begins + _EARLIER + LIFETIME,
    )


def new_authority() -> trustme.CA:
    """An authority that nobody trusts yet."""
    return trustme.CA(organization_name=ORGANIZATION, organization_unit_name="authority")


def save(leaf: trustme.LeafCert, directory: Path, name: str) -> Pair:
    """Write a certificate with its key, both readable by us alone."""
    cert = write_private(directory / f"{name}.pem", b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    return Pair(cert, write_private(directory / f"{name}-key.pem", leaf.private_key_pem.bytes()))


class Certificates:
    """All certificates of a run directory.

    Args:
        directory: Closed to others; made when it is missing.
        now: The clock that says what is about to expire.
    """

    def __init__(self, directory: Path, now: Clock = lambda: datetime.now(UTC)) -> None:
        self.directory = private_directory(directory)
        self._now = now
        self._authority = self._load_or_make_authority()

    @property
    def ca(self) -> Path:
        """What clients trust."""
        return self.directory / "ca.pem"

    def client_context(self) -> ssl.SSLContext:
        """Trusts this authority and nobody else."""
        return ssl.create_default_context(cafile=self.ca)

    def server(self) -> Pair:
        """For everything of this stack that listens, on loopback."""
        return self._pair("server", "localhost", SERVER, *SERVER_NAMES)

    def client(self, name: str, kind: str = PROCESS) -> Pair:
        """For a process or a device of that name."""
        return self._pair(f"{kind}-{name}", name, kind)

    def devices(self, serials: Iterable[str]) -> dict[str, Pair]:
        """For each device, by serial number."""
        return {serial: self.client(serial, DEVICE) for serial in serials}

    def java_stores(self, directory: Path, password: str) -> tuple[Path, Path]:
        """Key store of the server and trust store, PKCS12, for servers in Java that take no PEM."""
        server, secret = self.server(), BestAvailableEncryption(password.encode())
        chain = x509.load_pem_x509_certificates(server.cert.read_bytes())
        key = load_pem_private_key(server.key.read_bytes(), None)
        keys = pkcs12.serialize_key_and_certificates(b"server", key, chain[0], chain[1:], secret)  # type: ignore[arg-type]
        trusted = pkcs12.PKCS12Certificate(x509.load_pem_x509_certificate(self.ca.read_bytes()), b"authority")
        trust = pkcs12.serialize_java_truststore([trusted], secret)
        return write_private(directory / "keys.p12", keys), write_private(directory / "trust.p12", trust)

    def _pair(self, file_name: str, name: str, kind: str, *hosts: str) -> Pair:
        pair = Pair(self.directory / f"{file_name}.pem", self.directory / f"{file_name}-key.pem")
        if pair.key.exists() and self._lasts(pair.cert):
            return pair
        begins = self._now() - _EARLIER
        return save(issue(self._authority, name, kind, *hosts, begins=begins), self.directory, file_name)

    def _lasts(self, cert: Path) -> bool:
        if not cert.exists():
            return False
        return x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc - RENEWED_BEFORE > self._now()

    def _load_or_make_authority(self) -> trustme.CA:
        key = self.directory / "ca-key.pem"
        if key.exists() and self._lasts(self.ca):
            return trustme.CA.from_pem(self.ca.read_bytes(), key.read_bytes())
        # What another authority has signed is worth nothing any more.
        for stale in self.directory.glob("*.pem"):
            stale.unlink()
        authority = new_authority()
        write_private(key, authority.private_key_pem.bytes())
        write_private(self.ca, authority.cert_pem.bytes())
        return authority
