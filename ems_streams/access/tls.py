"""Certificates of our own HTTP: what a server shows, and whom a client believes; every mistake names its setting."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from ems_streams.errors import SettingError


def server_tls(cert_file: Path | None, key_file: Path | None, prefix: str = "EMS_GATEWAY") -> ssl.SSLContext | None:
    """TLS 1.2 or later with a certificate; None without one.

    Args:
        prefix: Of the settings `_CERT_FILE` and `_KEY_FILE`, for errors.

    Raises `SettingError` when one of the two is missing, cannot be read or is no PEM, when they do not belong together, or when the
    certificate is not valid now.
    """
    cert_setting, key_setting = f"{prefix}_CERT_FILE", f"{prefix}_KEY_FILE"
    if cert_file is None and key_file is None:
        return None
    if cert_file is None or key_file is None:
        missing, there = (cert_setting, key_setting) if cert_file is None else (key_setting, cert_setting)
        raise SettingError(missing, None, f"must be set together with {there}")
    _check_now(cert_file, cert_setting)
    _readable(key_file, key_setting)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without an answer to it, OpenSSL would ask at the terminal for the password of a key.
        context.load_cert_chain(cert_file, key_file, password=lambda: "")
    except ssl.SSLError as error:
        if "MISMATCH" in (error.reason or ""):
            expected = f"must be the key of the certificate {str(cert_file)!r}; it is the key of another one"
        else:
            expected = "must be a private key in PEM, without a password"
        raise SettingError(key_setting, str(key_file), expected) from None
    return context


def client_tls(ca_file: Path | None, setting: str) -> ssl.SSLContext:
    """Believes who has a certificate of these authorities, of the system's without a file; names are verified. Raises `SettingError`."""
    if ca_file is not None:
        _readable(ca_file, setting)
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise SettingError(setting, str(ca_file), "must have certificates of authorities in PEM") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _readable(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingError(setting, str(path), f"must be a readable file ({error.strerror})") from None


def _check_now(path: Path, setting: str) -> None:
    try:
        certificate = x509.load_pem_x509_certificates(_readable(path, setting))[0]
    except (ValueError, IndexError):
        raise SettingError(setting, str(path), "must be a certificate in PEM") from None
    now = datetime.now(UTC)
    if now >= certificate.not_valid_after_utc:
        raise SettingError(
            setting, str(path), f"must be valid; the certificate expired at {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
        )
    if now < certificate.not_valid_before_utc:
        starts = certificate.not_valid_before_utc
        raise SettingError(setting, str(path), f"must be valid; the certificate is not before {starts:%Y-%m-%dT%H:%M:%SZ}")
