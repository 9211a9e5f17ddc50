"""Certificates of an MQTT broker by TLS: trusted and lasting, running out, and of nobody that is known."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ems_streams.processes.doctor.run import diagnose
from ems_streams.settings import Settings

pytestmark = [pytest.mark.integration, pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")]


@dataclass
class TlsServer:
    port: int
    certificate: Path


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[TlsServer]:
    """Shakes hands and says nothing; its certificate is for localhost and five days."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "5", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    listening = await asyncio.start_server(lambda _, writer: writer.transport.abort(), "localhost", 0, ssl=tls)
    yield TlsServer(listening.sockets[0].getsockname()[1], certificate)
    listening.close()


async def look(url: str) -> dict[str, str]:
    diagnosis = await diagnose(Settings.load(mqtt_url=url), ["tls"])
    return {each.code: each.found for each in diagnosis.findings}


async def test_a_certificate_that_nobody_known_has_signed(server: TlsServer) -> None:
    assert await look(f"mqtts://localhost:{server.port}") == {"tls-untrusted": "self-signed certificate"}


async def test_a_certificate_that_is_trusted_and_runs_out(server: TlsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))

    found = await look(f"mqtts://localhost:{server.port}")

    assert list(found) == ["tls-expiring"]
    assert found["tls-expiring"].startswith(("4.9", "5.0"))


async def test_a_certificate_of_another_name(server: TlsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))

    found = await look(f"mqtts://127.0.0.1:{server.port}")

    assert "IP address mismatch" in found["tls-untrusted"]


async def test_without_tls_there_is_nothing_to_find() -> None:
    assert await look("mqtt://localhost:1") == {}
