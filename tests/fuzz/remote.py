"""Requests and WebSocket frames that nobody expects, over loopback to a gateway that runs; not guided by coverage, since that is another process."""

import base64
import math
import os
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

import orjson

from tests.fuzz.mutations import mutated

ANSWER_S: Final = 15.0
ALLOWED_5XX: Final = frozenset({503, 504})
"""What cannot be known now."""
_WORDS: Final = (
    "INV-001", "1", "0", "-1", "9" * 30, "a" * 300, "%00", "%ff", "..%2f..", "’", "1h", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00+01:00", "ONLINE",
    "device-telemetry-dlt", "1m", "f" * 32, "true", "[]", "",
)  # fmt: skip
_PARAMETERS: Final = (
    "limit", "cursor", "site", "status", "since", "window", "from", "to", "state", "severity", "serial", "device", "kind", "heartbeat", "all", "where",
    "type", "x",
)  # fmt: skip
_PATHS: Final = (
    "/api/v1/devices", "/api/v1/devices/{}", "/api/v1/devices/{}/explain", "/api/v1/devices/{}/aggregates", "/api/v1/devices/{}/commands",
    "/api/v1/sites", "/api/v1/sites/{}", "/api/v1/sites/{}/aggregates", "/api/v1/alarms", "/api/v1/alarms/{}", "/api/v1/notifications",
    "/api/v1/maintenance-windows", "/api/v1/dlt", "/api/v1/dlt/{}", "/api/v1/dlt/{}/{}/{}", "/api/v1/redrives", "/api/v1/redrives/{}",
    "/api/v1/commands/{}", "/api/v1/command-catalogue", "/api/v1/pipeline", "/ws/notifications", "/livez", "/readyz", "/metrics", "/", "/static/{}",
)  # fmt: skip
_BODIES: Final[tuple[tuple[str, str, bytes], ...]] = (
    ("POST", "/api/v1/alarms/{}/ack", b'{"by":"Ann","comment":"On my way"}'),
    ("POST", "/api/v1/maintenance-windows", b'{"sites":[999999],"endsAt":"2020-01-01T00:00:00Z","reason":"x","createdBy":"Ann"}'),
    ("DELETE", "/api/v1/maintenance-windows/{}", b""),
    ("POST", "/api/v1/devices/{}/commands", b'{"command":"SET_POWER_LIMIT","parameters":{"powerLimitKw":40},"expiresInS":60}'),
    ("POST", "/api/v1/commands/{}/cancel", b"{}"),
    ("POST", "/api/v1/dlt/{}/redrive", b'{"dryRun":true,"filter":{"stage":"ingress"},"limit":10}'),
    ("POST", "/api/v1/redrives/{}/resume", b"{}"),
)


class UnexpectedError(AssertionError):
    """An answer that should not be, or none at all."""


@dataclass(slots=True)
class Remote:
    """What came of it.

    Attributes:
        statuses: Of the answers.
        detail: Of the first one that should not be; empty without.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    detail: str = ""

    @property
    def taken(self) -> int:
        return sum(count for status, count in self.statuses.items() if status < 400)

    @property
    def refused(self) -> int:
        return sum(count for status, count in self.statuses.items() if status >= 400)


def feed(port: int, one: Callable[[int, random.Random], int], *, seconds: float = math.inf, inputs: float = math.inf) -> Remote:
    """Send one after the other for a time or up to a number, or until something should not be.

    Args:
        port: Of the gateway.
        one: Sends one input that follows from the chance, and gives the status of its answer.
        seconds: How long.
        inputs: How many.
    """
    found, chance, until_s = Remote(), random.Random(0), time.monotonic() + seconds
    while time.monotonic() < until_s and found.statuses.total() < inputs:
        try:
            found.statuses[one(port, chance)] += 1
        except UnexpectedError as error:
            found.detail = str(error)
            break
    return found


def request(port: int, chance: random.Random) -> int:
    """One request."""
    sent = _request(chance)
    status, body = _exchange(port, sent)
    if status >= 500 and status not in ALLOWED_5XX:
        raise UnexpectedError(f"status {status} to {sent[:1500]!r}: {body[:500]!r}")
    if sent.split(b" ", 2)[1].startswith(b"/api/") and status >= 400 and body[:1] == b"{":
        problem = orjson.loads(body)
        if problem.get("status") != status or not problem.get("detail"):
            raise UnexpectedError(f"no problem document to {sent[:1500]!r}: {body[:500]!r}")
    return status


def _request(chance: random.Random) -> bytes:
    method, path, body = chance.choice(_BODIES) if chance.random() < 0.5 else ("GET", chance.choice(_PATHS), b"")
    if chance.random() < 0.05:
        method = chance.choice(("PUT", "PATCH", "HEAD", "OPTIONS", "X" * 20))
    while "{}" in path:
        path = path.replace("{}", quote(chance.choice(_WORDS), safe="%") or "-", 1)
    query = "&".join(f"{chance.choice(_PARAMETERS)}={quote(chance.choice(_WORDS), safe='%')}" for _ in range(chance.randrange(4)))
    content = mutated(body, chance) if body else b""
    lines = [
        f"{method} {path}{f'?{query}' if query else ''} HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        f"Content-Length: {len(content)}",
    ]
    if body and chance.random() < 0.9:
        lines.append("Content-Type: application/json")
    if chance.random() < 0.2:
        lines.append(
            chance.choice(
                ("Accept-Encoding: gzip", "Idempotency-Key: " + chance.choice(_WORDS), "Content-Type: text/xml", "Range: bytes=0-1")
            )
        )
    sent = "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n" + content
    return _damaged(sent, chance) if chance.random() < 0.05 else sent


def _damaged(sent: bytes, chance: random.Random) -> bytes:
    """A request line that is none; the end of the headers stays, so that there is an answer."""
    line, _, rest = sent.partition(b"\r\n")
    at = chance.randrange(1, len(line))
    return line[:at] + chance.choice((b"\x00", b"\xff", b" ", b"\t")) + line[at:] + b"\r\n" + rest


def _exchange(port: int, sent: bytes) -> tuple[int, bytes]:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as connection:
            connection.sendall(sent)
            answer = b"".join(_received(connection))
    except OSError as error:
        raise UnexpectedError(f"no answer to {sent[:1500]!r}: {error!r}") from None
    head, _, body = answer.partition(b"\r\n\r\n")
    parts = head.split(b" ", 2)
    if len(parts) < 2 or not parts[1][:3].isdigit():
        raise UnexpectedError(f"no HTTP answer to {sent[:1500]!r}: {answer[:200]!r}")
    return int(parts[1][:3]), body


def _received(connection: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            piece = connection.recv(65_536)
        except ConnectionResetError:
            return  # the server closed before it read a body that it had refused; what it said before has been received
        if not piece:
            return
        yield piece


def frames(port: int, chance: random.Random) -> int:
    """One WebSocket client that sends frames nobody expects; afterwards the next one must be let in. Gives 101, or 400 when it was closed."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as connection:
            _upgrade(connection, port)
            connection.settimeout(0.02)
            try:
                for _ in range(chance.randrange(1, 8)):
                    connection.sendall(_frame(chance))
                while connection.recv(4096):
                    pass
            except TimeoutError:
                return 101
            except OSError:
                return 400
    except OSError as error:
        raise UnexpectedError(f"no WebSocket: {error!r}") from None
    return 400


def _upgrade(connection: socket.socket, port: int) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET /ws/notifications HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = connection.recv(4096)
    if not answer.startswith(b"HTTP/1.1 101"):
        raise UnexpectedError(f"the next WebSocket is not let in: {answer[:300]!r}")


def _frame(chance: random.Random) -> bytes:
    """A frame with any opcode, reserved bits, masked or not, of a length that may be a lie."""
    payload = chance.randbytes(chance.choice((0, 1, 5, 125, 126, 4096, 5000)))
    first = chance.randrange(256) if chance.random() < 0.5 else 0x80 | chance.choice((0x0, 0x1, 0x2, 0x8, 0x9, 0xA))
    masked = 0x80 if chance.random() < 0.9 else 0
    said = len(payload) if chance.random() < 0.9 else chance.choice((0, 127, 2**16, 2**40, 2**63))
    if said < 126:
        head = struct.pack("!BB", first, masked | said)
    elif said < 2**16:
        head = struct.pack("!BBH", first, masked | 126, said)
    else:
        head = struct.pack("!BBQ", first, masked | 127, said)
    if not masked:
        return head + payload
    mask = chance.randbytes(4)
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
