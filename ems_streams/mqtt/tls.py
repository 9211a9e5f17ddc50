"""TLS of MQTT clients: whom a client trusts and what it shows of itself; wrong files are found at the start, in one line."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from ems_streams.errors import SettingError
from ems_streams.pem_files import show, trusting
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

    def context(self) -> ssl.SSLContext:
        """The certificate and the host name of the broker are verified, always; raises `SettingError`."""
        if self.cert is not None and self.key is None:
            raise SettingError(CERT, str(self.cert), f"needs {KEY}, the private key of that certificate")
        if self.key is not None and self.cert is None:
            raise SettingError(KEY, str(self.key), f"needs {CERT}, the certificate of that key")
        context = trusting(CA, self.ca)
        if self.cert is not None and self.key is not None:
            show(context, (CERT, self.cert), (KEY, self.key), (KEY_PASSWORD, self.key_password))
        return context
