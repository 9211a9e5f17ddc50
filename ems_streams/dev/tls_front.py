"""TLS for a PostgreSQL that was built without it: `python -I tls_front.py PORT SOCKET CERT KEY`.

Speaks what comes before TLS in PostgreSQL's protocol, then carries bytes between the client and the server's Unix socket. Who asks for no TLS is
refused, as `hostssl` would. Nothing of a client is taken beyond its request before TLS has begun, so nothing can be slipped in there.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
import sys
from collections.abc import Coroutine

LOOPBACK = "127.0.0.1"
_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104
_REQUEST = struct.Struct("!ii")
_GREETING_TIMEOUT_S = 10.0
_CHUNK_BYTES = 1 << 16
_REFUSAL = "this server takes TLS only (no encryption)"


def refusal(message: str = _REFUSAL, code: str = "28000") -> bytes:
    """An ErrorResponse, as the server itself would send it."""
    fields = b"".join(kind + text.encode() + b"\0" for kind, text in ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", code), (b"M", message)))
    return b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0"


async def main(port: int, server: str, cert: str, key: str) -> None:
    """Serve until the process ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key)
    loop = asyncio.get_running_loop()
    with socket.create_server((LOOPBACK, port), backlog=64) as listening:
        listening.setblocking(False)
        sessions: set[asyncio.Task[None]] = set()
        while True:
            client, _ = await loop.sock_accept(listening)
            session = loop.create_task(_serve(client, server, context))
            sessions.add(session)
            session.add_done_callback(sessions.discard)


async def _serve(client: socket.socket, server: str, context: ssl.SSLContext) -> None:
    # What clients that break off leave behind is no matter of the others.
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(_GREETING_TIMEOUT_S):
            if not await _greeted(client):
                return
            # From here on the socket is the transport's.
            reader, writer = await _encrypted(client, context)
        try:
            upstream_reader, upstream = await asyncio.open_unix_connection(server)
            try:
                await _until_one_ends(_carry(reader, upstream), _carry(upstream_reader, writer))
            finally:
                upstream.close()
        finally:
            writer.close()


async def _until_one_ends(*directions: Coroutine[None, None, None]) -> None:
    tasks = [asyncio.create_task(each) for each in directions]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _greeted(client: socket.socket) -> bool:
    wanted = False
    try:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wanted = await _asks_for_tls(client)
    finally:
        if not wanted:
            client.close()
    return wanted


async def _asks_for_tls(client: socket.socket) -> bool:
    loop = asyncio.get_running_loop()
    while True:
        length, code = _REQUEST.unpack(await _exactly(client, _REQUEST.size))
        if (length, code) == (_REQUEST.size, _SSL_REQUEST):
            await loop.sock_sendall(client, b"S")
            return True
        if (length, code) != (_REQUEST.size, _GSS_REQUEST):
            await loop.sock_sendall(client, refusal())
            client.shutdown(socket.SHUT_WR)
            # A socket that is closed with something unread resets the connection, and the answer may be lost with it.
            while await loop.sock_recv(client, _CHUNK_BYTES):
                pass
            return False
        await loop.sock_sendall(client, b"N")


async def _exactly(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = await asyncio.get_running_loop().sock_recv(client, count - len(data))
        if not part:
            raise asyncio.IncompleteReadError(data, count)
        data += part
    return data


async def _encrypted(client: socket.socket, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, client, ssl=context)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(_CHUNK_BYTES):
        sink.write(chunk)
        await sink.drain()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:5]))
