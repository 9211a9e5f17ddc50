"""Where the MQTT broker is and how a client presents itself to it."""

import ssl
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from ems_streams.settings import Settings

_PLAIN_PORT = 1883
_TLS_PORT = 8883
_TLS_SCHEMES = frozenset({"mqtts", "ssl"})
_SCHEMES = frozenset({"mqtt", "tcp"}) | _TLS_SCHEMES


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address of a broker.

    Attributes:
        host: Name, IPv4 or IPv6 address (without brackets).
        port: TCP port.
        tls: Whether the connection is encrypted; the certificate and the name of the host are then verified.
    """

    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    def ssl_context(self) -> ssl.SSLContext | None:
        """Verification by the system's authorities, or `None` for a plain connection."""
        return ssl.create_default_context() if self.tls else None


@dataclass(frozen=True, slots=True)
class Login:
    """Name and secret of a client; both absent for an anonymous one."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def password_bytes(self) -> bytes | None:
        """The password as MQTT carries it."""
        return None if self.password is None else self.password.encode()


def broker_of(settings: Settings) -> tuple[Endpoint, Login]:
    """Address and login that the settings name; a user name of its own goes before the one in the URL."""
    endpoint, login = parse_url(str(settings.mqtt_url))
    if not settings.mqtt_username:
        return endpoint, login
    password = settings.mqtt_password.get_secret_value() if settings.mqtt_password else None
    return endpoint, Login(settings.mqtt_username, password)


def parse_url(url: str) -> tuple[Endpoint, Login]:
    """Address and login of `mqtt://user:password@host:port`; `mqtts` and `ssl` are TLS. Raises `ValueError`."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"{url!r}: the scheme must be one of {', '.join(sorted(_SCHEMES))}")
    if not parts.hostname:
        raise ValueError(f"{url!r}: a host is missing")
    tls = parts.scheme in _TLS_SCHEMES
    endpoint = Endpoint(parts.hostname, parts.port or (_TLS_PORT if tls else _PLAIN_PORT), tls)
    username = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    return endpoint, Login(username, password)
