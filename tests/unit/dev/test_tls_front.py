"""TLS before a PostgreSQL that has none: what comes before it, and what does not get through."""

import asyncio
import ssl
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ems_streams.dev import tls_front
from ems_streams.dev.certificates import Certificates
from ems_streams.dev.ports import Ports

SSL_REQUEST, GSS_REQUEST = struct.pack("!ii", 8, 80877103), struct.pack("!ii", 8, 80877104)
STARTUP = struct.pack("!ii", 8, 196608)


class Front:
    """A running front, before a server that answers each message with the message itself."""

    def __init__(self, port: int, certificates: Certificates) -> None:
        self.port = port
        self.certificates = certificates
        self.heard: list[bytes] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 20):
            self.heard.append(data)
            writer.write(data)
        writer.close()


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[Front]:
    front = Front(Ports.free().postgres, Certificates(tmp_path / "made"))
    shown, socket = front.certificates.server(), str(tmp_path / "s")
    server = await asyncio.start_unix_server(front.echo, socket)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", tls_front.__file__, str(front.port), socket, str(shown.cert), str(shown.key)
    )
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    _, writer = await front.connect()
                except OSError:
                    assert process.returncode is None
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    break
            yield front
    finally:
        process.kill()
        await process.wait()
        server.close()


@pytest.mark.parametrize("asked_before", [b"", GSS_REQUEST])
async def test_bytes_get_through_by_tls(tmp_path: Path, asked_before: bytes) -> None:
    async with running(tmp_path) as front:
        reader, writer = await front.connect()
        if asked_before:
            writer.write(asked_before)
            assert await reader.readexactly(1) == b"N"
        writer.write(SSL_REQUEST)
        assert await reader.readexactly(1) == b"S"
        await writer.start_tls(front.certificates.client_context(), server_hostname="127.0.0.1")
        big = bytes(range(256)) * 4096
        writer.write(big)
        assert await reader.readexactly(len(big)) == big
        writer.close()
    assert b"".join(front.heard) == big


@pytest.mark.parametrize("said", [STARTUP + b"user\0ems\0\0", b"\x16\x03\x01\x00\x10abc", b"GET / HTTP/1.1\r\n"])
async def test_who_asks_for_no_tls_is_refused(tmp_path: Path, said: bytes) -> None:
    async with running(tmp_path) as front:
        reader, writer = await front.connect()
        writer.write(said)
        answer = await reader.read()
        writer.close()
    assert answer == tls_front.refusal()
    assert b"C28000\0" in answer
    assert front.heard == []


async def test_what_is_sent_ahead_of_the_handshake_is_not_taken_for_the_clients(tmp_path: Path) -> None:
    """CVE-2021-23214: whoever sits between could otherwise put a statement before all that the client sends by TLS."""
    async with running(tmp_path) as front:
        reader, writer = await front.connect()
        writer.write(SSL_REQUEST + b"Q\0\0\0\x10DROP TABLE x\0")
        assert await reader.readexactly(1) == b"S"
        with pytest.raises((ssl.SSLError, OSError)):
            await writer.start_tls(front.certificates.client_context(), server_hostname="127.0.0.1")
        writer.close()
    assert front.heard == []
