"""Certificates of an MQTT broker by TLS: trusted and lasting, running out, and of nobody that is known."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ems_streams.processes.doctor.run import diagnose
from ems_streams.settings import Settings

pytestmark = pytest.mark.integration

# Of these tests alone, with its key: for localhost, signed by itself, valid from 2020 until the first moment of 2120.
CERTIFICATE = Path(__file__).with_name("localhost.pem")
FIVE_DAYS_LEFT_S = datetime(2119, 12, 27, tzinfo=UTC).timestamp()
FIVE_DAYS_LEFT = "5.0 days left, until 2120-01-01T00:00:00Z"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Where something shakes hands with that certificate, and says nothing."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)
    listening = await asyncio.start_server(lambda _, writer: writer.transport.abort(), "localhost", 0, ssl=tls)
    yield listening.sockets[0].getsockname()[1]
    listening.close()


async def look(url: str, settings: dict[str, Any] | None = None, **context: Any) -> dict[str, str]:
    diagnosis = await diagnose(Settings.load(mqtt_url=url, **settings or {}), ["tls"], **context)
    return {each.code: each.found for each in diagnosis.findings}


async def test_a_certificate_that_nobody_known_has_signed(port: int) -> None:
    assert await look(f"mqtts://localhost:{port}") == {"tls-untrusted": "self-signed certificate"}


async def test_a_certificate_that_is_trusted_and_runs_out(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))

    assert await look(f"mqtts://localhost:{port}", now_s=lambda: FIVE_DAYS_LEFT_S) == {"tls-expiring": FIVE_DAYS_LEFT}
    assert await look(f"mqtts://localhost:{port}") == {}


async def test_a_certificate_of_another_name(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))

    found = await look(f"mqtts://127.0.0.1:{port}")

    assert "IP address mismatch" in found["tls-untrusted"]


@pytest.mark.parametrize("what", ["mqtt", "gateway"])
async def test_a_certificate_of_our_own_that_runs_out_is_named_by_its_setting(what: str) -> None:
    settings = {f"{what}_cert_file": CERTIFICATE}
    diagnosis = await diagnose(Settings.load(mqtt_url="mqtt://localhost:1", **settings), ["tls"], now_s=lambda: FIVE_DAYS_LEFT_S)

    assert [(each.what, each.found) for each in diagnosis.findings] == [
        (f"the certificate of EMS_{what.upper()}_CERT_FILE={CERTIFICATE} runs out", FIVE_DAYS_LEFT)
    ]
    assert await look("mqtt://localhost:1", settings) == {}


async def test_without_tls_there_is_nothing_to_find() -> None:
    assert await look("mqtt://localhost:1") == {}
