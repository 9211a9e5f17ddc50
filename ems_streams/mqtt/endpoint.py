"""Where the MQTT broker is and how a client presents itself to it."""

import ssl
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from ems_streams.errors import SettingError
from ems_streams.mqtt.tls import CA, CERT, TlsFiles
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
        context: How; the system's authorities when None.
        shows: Whether the client shows a certificate.
    """

    host: str
    port: int
    tls: bool = False
    context: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    shows: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    def ssl_context(self) -> ssl.SSLContext | None:
        """How the broker is verified, and what is shown to it; `None` for a plain connection."""
        return (self.context or ssl.create_default_context()) if self.tls else None


@dataclass(frozen=True, slots=True)
class Login:
    """Name and secret of a client; both absent for an anonymous one, or one that is known by its certificate."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def password_bytes(self) -> bytes | None:
        """The password as MQTT carries it."""
        return None if self.password is None else self.password.encode()


def broker_of(settings: Settings) -> tuple[Endpoint, Login]:
    """Address and login that the settings name; a user name or password of its own goes before the one in the URL.

    The files of TLS are read here, once: what is changed in them counts from the next start. Raises `SettingError` for files that cannot
    be used, and for settings that do not go together.
    """
    files = TlsFiles.of(settings)
    endpoint, login = parse_url(str(settings.mqtt_url), files)
    password = settings.mqtt_password.get_secret_value() if settings.mqtt_password else None
    if settings.mqtt_username:
        return endpoint, Login(settings.mqtt_username, password)
    if password is None:
        return endpoint, login
    if login.username is None:
        raise SettingError("EMS_MQTT_PASSWORD", "***", "needs EMS_MQTT_USERNAME, whose password it is")
    return endpoint, Login(login.username, password)


def parse_url(url: str, files: TlsFiles | None = None) -> tuple[Endpoint, Login]:
    """Address and login of `mqtt://user:password@host:port`; `mqtts` and `ssl` are TLS.

    Raises `ValueError` for a URL that is none, and `SettingError` for files that cannot be used.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"{url!r}: the scheme must be one of {', '.join(sorted(_SCHEMES))}")
    if not parts.hostname:
        raise ValueError(f"{url!r}: a host is missing")
    tls = parts.scheme in _TLS_SCHEMES
    files = files or TlsFiles()
    context = files.context() if tls else None
    endpoint = Endpoint(parts.hostname, parts.port or (_TLS_PORT if tls else _PLAIN_PORT), tls, context, files.cert is not None)
    if not tls and (given := files.given()):
        setting, path = given
        raise SettingError(
            setting, str(path), f"is used with TLS only, and EMS_MQTT_URL is {endpoint}: make it mqtts://, or take {setting} out"
        )
    username = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    return endpoint, Login(username, password)


__all__ = ["CA", "CERT", "Endpoint", "Login", "TlsFiles", "broker_of", "parse_url"]
