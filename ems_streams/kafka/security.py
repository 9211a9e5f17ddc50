"""How every Kafka client of ours proves who it is and knows with whom it speaks: the one place where the settings become options of clients.

Certificates and the names of brokers are always verified where there is TLS; there is no setting that turns it off.
"""

import ssl
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ems_streams.pem_files import show, trusting
from ems_streams.settings import Settings

if TYPE_CHECKING:
    from faust.types.auth import CredentialsT


def aiokafka_security(settings: Settings) -> dict[str, Any]:
    """Options of an aiokafka client; secrets are in them. Raises `SettingError` for files that have become unusable since they were checked."""
    options: dict[str, Any] = {"security_protocol": settings.kafka_security_protocol}
    if settings.kafka_over_tls:
        options["ssl_context"] = tls_context(settings)
    if settings.kafka_with_login:
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_username
        options["sasl_plain_password"] = _password(settings)
    return options


def librdkafka_security(settings: Settings) -> dict[str, Any]:
    """Configuration of a confluent-kafka client; secrets are in it."""
    config: dict[str, Any] = {"security.protocol": settings.kafka_security_protocol}
    if settings.kafka_over_tls:
        config |= {"enable.ssl.certificate.verification": True, "ssl.endpoint.identification.algorithm": "https"}
        files = {
            "ssl.ca.location": settings.kafka_ca_file,
            "ssl.certificate.location": settings.kafka_cert_file,
            "ssl.key.location": settings.kafka_key_file,
        }
        config |= {name: str(path) for name, path in files.items() if path is not None}
        if settings.kafka_key_password is not None:
            config["ssl.key.password"] = settings.kafka_key_password.get_secret_value()
    if settings.kafka_with_login:
        config["sasl.mechanism"] = settings.kafka_sasl_mechanism
        config["sasl.username"] = settings.kafka_username
        config["sasl.password"] = _password(settings)
    return config


def faust_credentials(settings: Settings) -> "CredentialsT | None":
    """The same for Faust's own clients; None without any of it."""
    from faust.auth import SASLCredentials, SSLCredentials

    context = tls_context(settings) if settings.kafka_over_tls else None
    if settings.kafka_with_login:
        return SASLCredentials(
            username=settings.kafka_username, password=_password(settings), mechanism=settings.kafka_sasl_mechanism, ssl_context=context
        )
    return None if context is None else SSLCredentials(context)


def tls_context(settings: Settings) -> ssl.SSLContext:
    """One context for all clients with the same files: it is made once, so that new files need a restart."""
    password = None if settings.kafka_key_password is None else settings.kafka_key_password.get_secret_value()
    return _context(settings.kafka_ca_file, settings.kafka_cert_file, settings.kafka_key_file, password)


@lru_cache(maxsize=8)
def _context(ca_file: Path | None, cert_file: Path | None, key_file: Path | None, password: str | None) -> ssl.SSLContext:
    context = trusting("EMS_KAFKA_CA_FILE", ca_file)
    if cert_file is not None and key_file is not None:
        show(context, ("EMS_KAFKA_CERT_FILE", cert_file), ("EMS_KAFKA_KEY_FILE", key_file), ("EMS_KAFKA_KEY_PASSWORD", password))
    return context


def _password(settings: Settings) -> str | None:
    return None if settings.kafka_password is None else settings.kafka_password.get_secret_value()
