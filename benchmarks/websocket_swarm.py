"""Many WebSocket clients in one process, for `benchmarks.websocket_clients`: raw sockets, so that reading them costs little of the machine.

Every client counts the notifications it gets. Of every `SAMPLED`th the publish time in each notification is read, and that none comes twice.
One more client connects and never reads. Ends when a byte comes on standard input, and prints one line of JSON.
"""

import argparse
import base64
import json
import os
import re
import resource
import select
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

SAMPLED = 20
CONNECTED_AT_ONCE = 50
_CONNECT_TIMEOUT_S = 10.0
_RECEIVE_BYTES = 256 * 1024
_NOTIFICATION = b'"notification":{'
_PUBLISHED = re.compile(rb'"reason":"bench ([0-9]+) ([0-9]+)"')
_CUT_BYTES = 4096
"""No notification is longer; so much is looked at again with the next piece, since one may be cut anywhere."""


@dataclass(slots=True)
class Client:
    """One connection.

    Attributes:
        rest: The end of what was received, in which the beginning of a notification may be.
        count: Notifications.
        seen: Of a sampled client, how often each number came.
    """

    connection: socket.socket
    sampled: bool
    rest: bytes = b""
    count: int = 0
    closed: bool = False
    seen: Counter[int] = field(default_factory=Counter)


def connect(port: int, receive_buffer_bytes: int | None = None) -> socket.socket:
    """A WebSocket connection to `/ws/notifications`."""
    connection = socket.socket()
    if receive_buffer_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    connection.settimeout(_CONNECT_TIMEOUT_S)
    connection.connect(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET /ws/notifications HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):  # byte by byte: what follows is of the stream already
        byte = connection.recv(1)
        if not byte:
            break
        answer += byte
    if not answer.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(f"the gateway answers {answer[:100]!r}")
    connection.setblocking(False)
    return connection


class Swarm:
    """All clients."""

    def __init__(self, port: int, clients: int) -> None:
        self.clients: dict[int, Client] = {}
        self.latencies_ms: list[float] = []
        self._epoll = select.epoll()
        for index in range(clients):
            connection = connect(port)
            self.clients[connection.fileno()] = Client(connection, index % SAMPLED == 0)
            self._epoll.register(connection.fileno(), select.EPOLLIN)
            if index % CONNECTED_AT_ONCE == 0:
                self._read_all(0.0)
        self.deaf = connect(port, receive_buffer_bytes=4096)

    def run(self) -> None:
        """Read until a byte comes on standard input."""
        stop = sys.stdin.fileno()
        self._epoll.register(stop, select.EPOLLIN)
        while self._read_all(1.0, stop):
            pass

    def _read_all(self, timeout_s: float, stop: int = -1) -> bool:
        for number, _ in self._epoll.poll(timeout_s):
            if number == stop:
                return False
            self._read(self.clients[number])
        return True

    def _read(self, client: Client) -> None:
        try:
            data = client.connection.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            client.closed = True
            self._epoll.unregister(client.connection.fileno())
            return
        if not client.sampled:
            # A mark that is cut by the end of a piece is found with the next one.
            data = client.rest + data
            client.count += data.count(_NOTIFICATION)
            client.rest = data[-len(_NOTIFICATION) + 1 :]
            return
        now_ns = time.monotonic_ns()
        data = client.rest + data
        end = 0
        for found in _PUBLISHED.finditer(data):
            client.count += 1
            client.seen[int(found[1])] += 1
            self.latencies_ms.append((now_ns - int(found[2])) / 1e6)
            end = found.end()
        client.rest = data[max(end, len(data) - _CUT_BYTES) :]

    def deaf_was_closed(self) -> bool:
        """Whether the gateway gave the client up that never reads: behind what the kernel still holds there is an end."""
        self.deaf.setblocking(True)
        self.deaf.settimeout(5.0)
        try:
            while self.deaf.recv(_RECEIVE_BYTES):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def result(self) -> dict[str, object]:
        """What became of all clients."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        counts = Counter(client.count for client in self.clients.values())
        return {
            "counts": sorted(counts.items()),
            "closed": sum(client.closed for client in self.clients.values()),
            "repeated": sum(times > 1 for client in self.clients.values() for times in client.seen.values()),
            "deafClosed": self.deaf_was_closed(),
            "latenciesMs": self.latencies_ms,
            "cpuS": usage.ru_utime + usage.ru_stime,
        }


def main() -> None:
    """Connect, say so, read, and tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, required=True)
    given = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < given.clients + 64:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(given.clients + 64, hard), hard))
    swarm = Swarm(given.port, given.clients)
    print("connected", flush=True)
    swarm.run()
    print(json.dumps(swarm.result()), flush=True)


if __name__ == "__main__":
    main()
