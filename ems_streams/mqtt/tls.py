"""TLS of MQTT clients: whom a client trusts and what it shows of itself; wrong files are found at the start, in one line."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from ems_streams.errors import SettingError
from ems_streams.settings import Settings

CA, CERT, KEY, KEY_PASSWORD = (f"EMS_MQTT_{each}" for each in ("CA_FILE", "CERT_FILE", "KEY_FILE", "KEY_PASSWORD"))


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What `context` is made of; without files of its own, the system's authorities, and no certificate is shown.

    Attributes:
        ca: Authorities that the broker's certificate may be of, PEM; the system's are not asked then.
        cert: The client's certificate, PEM, with whatever lies between it and the authority.
        key: Its private key, PEM.
        key_password: Of that key; None when it has none.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    key_password: str | None = None

    def __repr__(self) -> str:
        return f"TlsFiles(ca={self.ca}, cert={self.cert}, key={self.key})"

    @classmethod
    def of(cls, settings: Settings) -> "TlsFiles":
        """The files that the settings name."""
        password = settings.mqtt_key_password
        return cls(
            settings.mqtt_ca_file, settings.mqtt_cert_file, settings.mqtt_key_file, password.get_secret_value() if password else None
        )

    def given(self) -> tuple[str, Path] | None:
        """Setting and value of the first file that only makes sense with TLS; None when there is none."""
        return next(((name, path) for name, path in ((CERT, self.cert), (KEY, self.key), (CA, self.ca)) if path is not None), None)

    def context(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> ssl.SSLContext:
        """The certificate and the host name of the broker are verified, always; raises `SettingError`."""
        if self.cert is not None and self.key is None:
            raise SettingError(CERT, str(self.cert), f"needs {KEY}, the private key of that certificate")
        if self.key is not None and self.cert is None:
            raise SettingError(KEY, str(self.key), f"needs {CERT}, the certificate of that key")
        context = self._trusting()
        if self.cert is not None and self.key is not None:
            self._show(context, self.cert, self.key, now())
        return context

    def _trusting(self) -> ssl.SSLContext:
        if self.ca is None:
            return ssl.create_default_context()
        _read(CA, self.ca)
        try:
            return ssl.create_default_context(cafile=self.ca)
        except ssl.SSLError as error:
            raise SettingError(CA, str(self.ca), f"must have certificates in PEM ({_reason(error)})") from None

    def _show(self, context: ssl.SSLContext, cert: Path, key: Path, now: datetime) -> None:
        _check_times(cert, now)
        _read(KEY, key)
        try:
            # A password that is not asked for does no harm; without one, the terminal would be asked.
            context.load_cert_chain(cert, key, password=self.key_password or "")
        except ssl.SSLError as error:
            raise self._wrong_key(cert, key, error) from None

    def _wrong_key(self, cert: Path, key: Path, error: ssl.SSLError) -> SettingError:
        if error.reason == "KEY_VALUES_MISMATCH":
            return SettingError(KEY, str(key), f"must be the private key of the certificate in {CERT}={str(cert)!r}; it is another one")
        if b"ENCRYPTED" in key.read_bytes():
            wanted = f"needs its password in {KEY_PASSWORD}_FILE" if self.key_password is None else f"{KEY_PASSWORD} does not open it"
            return SettingError(KEY, str(key), wanted)
        return SettingError(KEY, str(key), f"must be a private key in PEM ({_reason(error)})")


def _check_times(cert: Path, now: datetime) -> None:
    try:
        certificate = x509.load_pem_x509_certificate(_read(CERT, cert))
    except ValueError:
        raise SettingError(CERT, str(cert), "must begin with a certificate in PEM") from None
    ends, begins = certificate.not_valid_after_utc, certificate.not_valid_before_utc
    if now >= ends:
        raise SettingError(CERT, str(cert), f"expired on {ends:%Y-%m-%d %H:%M} UTC; put a renewed certificate there, with its key")
    if now < begins:
        raise SettingError(CERT, str(cert), f"is not valid before {begins:%Y-%m-%d %H:%M} UTC; look at the clock of this machine")


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingError(setting, str(path), f"must be a readable file ({error.strerror})") from None


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "unreadable").lower().replace("_", " ")
