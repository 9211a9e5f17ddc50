"""Certificates of the gateway: each mistake names its setting; what is right is spoken over."""

import ssl
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key

from ems_streams.access.tls import server_tls
from ems_streams.errors import SettingError
from ems_streams.ops.http import bound_port, start_site
from ems_streams.pem_files import trusting

CA = trustme.CA()


def pem(tmp_path: Path, name: str, **validity: datetime) -> tuple[Path, Path]:
    issued = CA.issue_cert("localhost", "127.0.0.1", **validity)
    cert, key = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return cert, key


def told(cert: Path | None, key: Path | None) -> str:
    with pytest.raises(SettingError) as raised:
        server_tls(cert, key)
    return str(raised.value)


def test_without_a_certificate_there_is_no_tls() -> None:
    assert server_tls(None, None) is None


def test_one_without_the_other_is_refused(tmp_path: Path) -> None:
    cert, key = pem(tmp_path, "a")
    assert told(cert, None) == "EMS_GATEWAY_KEY_FILE=None: must be set together with EMS_GATEWAY_CERT_FILE"
    assert told(None, key) == "EMS_GATEWAY_CERT_FILE=None: must be set together with EMS_GATEWAY_KEY_FILE"


def test_what_cannot_be_read_or_is_no_pem_is_refused(tmp_path: Path) -> None:
    cert, key = pem(tmp_path, "a")
    none, empty = tmp_path / "none", tmp_path / "empty"
    empty.touch()
    assert told(none, key) == f"EMS_GATEWAY_CERT_FILE={str(none)!r}: must be a readable file (No such file or directory)"
    assert told(cert, none) == f"EMS_GATEWAY_KEY_FILE={str(none)!r}: must be a readable file (No such file or directory)"
    assert told(empty, key) == f"EMS_GATEWAY_CERT_FILE={str(empty)!r}: must be a file of certificates in PEM (-----BEGIN CERTIFICATE-----)"
    assert told(cert, empty) == f"EMS_GATEWAY_KEY_FILE={str(empty)!r}: must be a private key in PEM (-----BEGIN PRIVATE KEY-----)"


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    cert, key = pem(tmp_path, "a")[0], pem(tmp_path, "b")[1]
    assert f"EMS_GATEWAY_KEY_FILE={str(key)!r}: must be the private key of the certificate in EMS_GATEWAY_CERT_FILE={str(cert)!r}" in told(
        cert, key
    )


def test_a_certificate_that_is_over_or_not_yet_valid_is_refused(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    over = pem(tmp_path, "over", not_before=now - timedelta(days=2), not_after=now - timedelta(days=1))
    early = pem(tmp_path, "early", not_before=now + timedelta(days=1), not_after=now + timedelta(days=2))
    assert "must be a certificate that is valid; it expired at " in told(*over)
    assert "must be a certificate that is valid; it begins at " in told(*early)


async def test_https_is_spoken_with_who_believes_it_and_in_no_old_version(tmp_path: Path) -> None:
    cert, key = pem(tmp_path, "a")
    ca = tmp_path / "ca.pem"
    CA.cert_pem.write_to_path(str(ca))

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="yes")

    application = web.Application()
    application.add_routes([web.get("/", answer)])
    runner = await start_site(application, "127.0.0.1", 0, "EMS_GATEWAY_PORT", tls=server_tls(cert, key))
    url = f"https://localhost:{bound_port(runner)}/"
    try:
        async with aiohttp.ClientSession() as session:
            async with session.get(url, ssl=trusting("EMS_GATEWAY_CA_FILE", ca)) as response:
                assert await response.text() == "yes"
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get(url)
            old = trusting("EMS_GATEWAY_CA_FILE", ca)
            with warnings.catch_warnings():
                # That this version is deprecated is what this is about.
                warnings.simplefilter("ignore", DeprecationWarning)
                old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(url, ssl=old)
    finally:
        await runner.cleanup()


def test_authorities_that_are_none_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(SettingError, match=r"EMS_GATEWAY_CA_FILE=.*must be a file of certificates in PEM"):
        trusting("EMS_GATEWAY_CA_FILE", empty)


def test_a_key_with_a_password_is_refused_since_nobody_could_give_it(tmp_path: Path) -> None:
    cert, key = pem(tmp_path, "a")
    secret = load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2")))
    assert told(cert, key) == f"EMS_GATEWAY_KEY_FILE={str(key)!r}: must be a private key in PEM without a password"
