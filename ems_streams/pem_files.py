"""Certificates and keys in PEM files, as settings name them: whether they can be what they are set for, before anybody connects with them."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ems_streams.errors import SettingError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


def check_authorities(setting: str, path: Path) -> None:
    """Raise `SettingError` unless the file has certificates of authorities, all of them legible."""
    _certificates(setting, path)


def trusting(setting: str, ca_file: Path | None) -> ssl.SSLContext:
    """A client's TLS, 1.2 or later: who has a certificate of these authorities is believed, of the system's without a file; names are verified.

    Raises `SettingError`.
    """
    if ca_file is not None:
        check_authorities(setting, ca_file)
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingError(setting, str(ca_file), f"must be a file of certificates that can be used ({_reason(error)})") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def show(
    context: ssl.SSLContext, cert: tuple[str, Path], key: tuple[str, Path], password: tuple[str, str | None] | None = None
) -> ssl.SSLContext:
    """Have the other side be shown a certificate; raises `SettingError` for what `check_pair` finds, and for what TLS does not take."""
    check_pair(cert, key, password)
    try:
        # Without an answer to it, OpenSSL would ask at the terminal for a password.
        context.load_cert_chain(cert[1], key[1], password=(password and password[1]) or "")
    except (OSError, ssl.SSLError) as error:
        raise SettingError(cert[0], str(cert[1]), f"must be a certificate that TLS can be spoken with ({_reason(error)})") from None
    return context


def check_pair(cert: tuple[str, Path], key: tuple[str, Path], password: tuple[str, str | None] | None, now: datetime | None = None) -> None:
    """Raise `SettingError` unless certificate and private key belong together, can be read, and the certificate is valid now.

    Args:
        cert: Name of the setting, and the file; its first certificate counts, others are its chain.
        key: The same of the private key.
        password: Name of the setting, and the key's password if it is to have one; None where there is no such setting.
        now: UTC; this moment by default.
    """
    certificate = _certificates(*cert)[0]
    _check_time(*cert, certificate, now or datetime.now(UTC))
    if not _belong_together(certificate, *key, password):
        raise SettingError(key[0], str(key[1]), f"must be the private key of the certificate in {cert[0]}={str(cert[1])!r}")


def expires_at(path: Path) -> datetime | None:
    """When the certificate in a file ends to be valid, in UTC; None when it cannot be read."""
    try:
        return _certificates("", path)[0].not_valid_after_utc
    except SettingError:
        return None


def common_name(path: Path) -> str | None:
    """The name that the certificate in a file is of; None when it has none, or cannot be read."""
    from cryptography.x509 import NameOID

    try:
        names = _certificates("", path)[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except SettingError:
        return None
    return str(names[0].value) if names else None


def _certificates(setting: str, path: Path) -> "list[Certificate]":
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(_content(setting, path))
    except ValueError:
        raise SettingError(setting, str(path), "must be a file of certificates in PEM (-----BEGIN CERTIFICATE-----)") from None


def _check_time(setting: str, path: Path, certificate: "Certificate", now: datetime) -> None:
    if now >= certificate.not_valid_after_utc:
        expected = f"must be a certificate that is valid; it expired at {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}: renew it"
        raise SettingError(setting, str(path), expected)
    if now < certificate.not_valid_before_utc:
        expected = (
            f"must be a certificate that is valid; it begins at {certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}: look at the clock"
        )
        raise SettingError(setting, str(path), expected)


def _belong_together(certificate: "Certificate", setting: str, path: Path, given: tuple[str, str | None] | None) -> bool:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    password_setting, password = given or ("", None)
    try:
        key = load_pem_private_key(_content(setting, path), None if password is None else password.encode())
    except TypeError:
        if given is None:
            raise SettingError(setting, str(path), "must be a private key in PEM without a password") from None
        # Either way round: a password is needed and there is none, or there is one and none is needed.
        said = "must be set: the private key has a password" if password is None else "must not be set: the private key has no password"
        raise SettingError(password_setting, "***" if password else None, said) from None
    except ValueError:
        if password is not None:
            raise SettingError(password_setting, "***", f"must be the password of the private key in {setting}={str(path)!r}") from None
        raise SettingError(setting, str(path), "must be a private key in PEM (-----BEGIN PRIVATE KEY-----)") from None
    encoded = [each.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for each in (key.public_key(), certificate.public_key())]
    return encoded[0] == encoded[1]


def _content(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingError(setting, str(path), f"must be a readable file ({error.strerror})") from None


def _reason(error: OSError) -> str:
    """In a few words; OpenSSL's end with a line of its source."""
    return str((isinstance(error, ssl.SSLError) and error.reason) or error.strerror or error).lower().replace("_", " ")
