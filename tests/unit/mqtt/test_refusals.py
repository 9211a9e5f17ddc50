"""Brokers that cannot be trusted, and what is said of each."""

import asyncio
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from ems_streams.dev.certificates import SERVER, issue
from ems_streams.mqtt.endpoint import Endpoint, Login
from ems_streams.mqtt.probe import BrokerUnusableError, Trouble, probe_broker
from ems_streams.mqtt.refusals import refusal
from ems_streams.settings import Settings

DAY = timedelta(days=1)
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


async def refusal_by(authority: trustme.CA, tmp_path: Path, *hosts: str, **times: Any) -> BrokerUnusableError:
    """What a client says of a broker on 127.0.0.1 that shows a certificate of these names."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issue(authority, "broker", SERVER, *hosts, **times).configure_cert(tls)
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.cert_pem.bytes())
    async with await asyncio.start_server(lambda _, writer: writer.transport.abort(), "127.0.0.1", 0, ssl=tls) as listening:
        port = listening.sockets[0].getsockname()[1]
        with pytest.raises(BrokerUnusableError) as refused:
            await probe_broker(Settings.load(mqtt_url=f"mqtts://127.0.0.1:{port}", mqtt_ca_file=ca), 5.0)
    assert refused.value.trouble is Trouble.TLS
    return refused.value


async def test_a_broker_under_another_name(authority: trustme.CA, tmp_path: Path) -> None:
    said = str(await refusal_by(authority, tmp_path, "broker.example"))
    assert "IP address mismatch" in said
    assert "use a name in EMS_MQTT_URL that the certificate has, or give the broker a certificate for 127.0.0.1" in said


async def test_a_broker_whose_certificate_is_over(authority: trustme.CA, tmp_path: Path) -> None:
    said = str(await refusal_by(authority, tmp_path, "127.0.0.1", begins=NOW - 2 * DAY, ends=NOW - DAY))
    assert "(certificate has expired): renew the certificate of the broker" in said


async def test_a_broker_whose_certificate_is_to_come(authority: trustme.CA, tmp_path: Path) -> None:
    said = str(await refusal_by(authority, tmp_path, "127.0.0.1", begins=NOW + DAY, ends=NOW + 2 * DAY))
    assert "look at the clock of this machine" in said


async def test_a_broker_that_goes_without_a_word_may_have_wanted_a_certificate(authority: trustme.CA, tmp_path: Path) -> None:
    said = str(await refusal_by(authority, tmp_path, "127.0.0.1"))
    assert "set EMS_MQTT_CERT_FILE and EMS_MQTT_KEY_FILE, if it requires one" in said


async def test_what_listens_speaks_no_tls(tmp_path: Path) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"\x20\x03\x00\x00\x00 hello, no TLS here")
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        with pytest.raises(BrokerUnusableError, match="does not speak TLS: set EMS_MQTT_URL to the port of the broker with TLS") as refused:
            await probe_broker(Settings.load(mqtt_url=f"mqtts://127.0.0.1:{port}"), 5.0)
    assert refused.value.trouble is Trouble.PROTOCOL


def test_a_name_that_nobody_knows_is_told_with_its_setting() -> None:
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    said = refusal(error, Endpoint("borker", 1883), Login(), None, asked=False)
    assert said.endswith("Name or service not known; EMS_MQTT_URL is mqtt://borker:1883")
