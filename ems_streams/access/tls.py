"""Certificates of our own HTTP: what a server shows; every mistake names its setting."""

import ssl
from pathlib import Path

from ems_streams.errors import SettingError
from ems_streams.pem_files import show


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
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return show(context, (cert_setting, cert_file), (key_setting, key_file))
