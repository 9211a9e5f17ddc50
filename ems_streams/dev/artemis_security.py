"""Who may do what at the embedded Artemis: mutual TLS, users and roles, and the rights of each device on its own topics.

A client is who its certificate says, when its name is known here; a certificate that is of the authority and known to nobody needs a
user name and a password. Nobody may do anything that is not granted: Artemis takes the grants of the most specific address only, so
each says all that may.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from ems_streams.dev.certificates import DEVICE, PROCESS, subject
from ems_streams.dev.private_files import write_private

DOMAIN: Final = "ems"
_SEND: Final = ("send", "createAddress")
_READ: Final = ("consume", "createAddress", "createDurableQueue", "createNonDurableQueue", "deleteDurableQueue", "deleteNonDurableQueue")
INGRESS, WORKER, FLEET, NOTHING = "ingress", "worker", "fleet", "nothing"


@dataclass(frozen=True, slots=True)
class Device:
    """A device that publishes for itself.

    Attributes:
        serial: Also the name in its certificate.
        site: The only site that it may speak for; any when None.
    """

    serial: str
    site: int | None = None

    @property
    def role(self) -> str:
        return f"device-{self.serial}"

    @property
    def base(self) -> str:
        """Beginning of its topics."""
        return f"sites/{'+' if self.site is None else self.site}/devices/{self.serial}"


@dataclass(frozen=True, slots=True)
class ArtemisSecurity:
    """What is enforced.

    Attributes:
        key_store: Certificate and key of the broker, PKCS12.
        trust_store: Authorities of clients, PKCS12.
        store_password: Of both.
        processes: Role by name of certificate; several may have one role.
        devices: Devices with a certificate of their own.
        fleet_prefix: What the serial numbers begin with that the role `fleet` publishes for, and whose commands it takes.
        passwords: Users with a password, for certificates without a name that is known, by name.
        roles: Roles of these users, by name.
    """

    key_store: Path
    trust_store: Path
    store_password: str = field(repr=False)
    processes: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[Device, ...] = ()
    fleet_prefix: str | None = None
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    roles: Mapping[str, str] = field(default_factory=dict)

    @property
    def acceptor(self) -> str:
        """What goes behind the address of the acceptor."""
        # Artemis decodes it twice, as a URI and as what a form sends: a blank or a plus would get lost on the way.
        keys, trust, password = (quote(quote(str(each))) for each in (self.key_store, self.trust_store, self.store_password))
        return (
            f";sslEnabled=true;needClientAuth=true;enabledProtocols=TLSv1.2,TLSv1.3;securityDomain={DOMAIN}"
            f";keyStorePath={keys};keyStorePassword={password};keyStoreType=PKCS12"
            f";trustStorePath={trust};trustStorePassword={password};trustStoreType=PKCS12"
        )

    def write(self, directory: Path) -> Path:
        """Write the users and roles; returns the file for `java.security.auth.login.config`. A running broker knows them within seconds."""
        certificates = {name: subject(name, PROCESS) for name in self.processes}
        certificates |= {each.serial: subject(each.serial, DEVICE) for each in self.devices}
        members: dict[str, list[str]] = {}
        for name, role in self.processes.items():
            members.setdefault(role, []).append(name)
        for device in self.devices:
            members[device.role] = [device.serial]
        for name in self.passwords:
            members.setdefault(self.roles.get(name, NOTHING), []).append(name)
        write_private(directory / "certificates.properties", _properties(certificates))
        write_private(directory / "passwords.properties", _properties(self.passwords))
        write_private(directory / "roles.properties", _properties({role: ",".join(names) for role, names in members.items()}))
        return write_private(directory / "login.config", _login_config(directory).encode())

    def settings(self) -> str:
        """The grants, as XML: nothing to anybody, then what is granted to whom."""
        return "\n".join(['<security-setting match="#"/>', *(_setting(address, granted) for address, granted in self._grants())])

    def _grants(self) -> Iterator[tuple[str, Mapping[str, tuple[str, ...]]]]:
        yield "sites/#", {INGRESS: _READ}
        # What the fleet subscribes to, with one queue for all of its devices; and where the worker publishes.
        yield "sites/+/devices/+/commands", {WORKER: _SEND, FLEET: _READ}
        if self.fleet_prefix is not None:
            base = f"sites/+/devices/{self.fleet_prefix}+"
            yield from ((f"{base}/{topic}", {FLEET: _SEND}) for topic in ("telemetry", "status", "commands/ack"))
        for device in self.devices:
            yield from ((f"{device.base}/{topic}", {device.role: _SEND}) for topic in ("telemetry", "status", "commands/ack"))
            yield f"{device.base}/commands", {WORKER: _SEND, device.role: _READ}


def _setting(address: str, granted: Mapping[str, Iterable[str]]) -> str:
    roles: dict[str, list[str]] = {}
    for role, permissions in granted.items():
        for permission in permissions:
            roles.setdefault(permission, []).append(role)
    lines = "".join(f"<permission type={quoteattr(each)} roles={quoteattr(','.join(names))}/>" for each, names in roles.items())
    return f"<security-setting match={quoteattr(address)}>{lines}</security-setting>"


def _properties(values: Mapping[str, str]) -> bytes:
    return "".join(f"{_key(name)}={value}\n" for name, value in values.items()).encode("latin-1", "backslashreplace")


def _key(name: str) -> str:
    return "".join(f"\\{each}" if each in ":= #!\\" else each for each in name)


def _login_config(directory: Path) -> str:
    package, prefix = "org.apache.activemq.artemis.spi.core.security.jaas", "org.apache.activemq.jaas"
    return f"""{DOMAIN} {{
  {package}.TextFileCertificateLoginModule sufficient
    reload=true
    baseDir="{directory}"
    {prefix}.textfiledn.user="certificates.properties"
    {prefix}.textfiledn.role="roles.properties";
  {package}.PropertiesLoginModule sufficient
    reload=true
    baseDir="{directory}"
    {prefix}.properties.user="passwords.properties"
    {prefix}.properties.role="roles.properties";
}};
"""


__all__ = ["FLEET", "INGRESS", "NOTHING", "WORKER", "ArtemisSecurity", "Device"]
