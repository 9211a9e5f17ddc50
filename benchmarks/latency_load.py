"""The load of `make bench-latency`, a process of its own: telemetry of many devices over MQTT QoS 1, at a steady rate.

One connection, written by hand, with no task and no future per message: what the load takes is missing to what is measured on a machine of
two cores. At 20,000 a second it takes 3 us per message. What is due is published every two milliseconds. Each acknowledgement of the broker is counted, in a
file mapped into memory; at the end a line of JSON says what was reached.
"""

import argparse
import json
import mmap
import random
import resource
import socket
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.dataset import METRICS

SITES = 50
TICK_S = 0.002
WINDOW = 4000
"""Messages that may be without an acknowledgement; beyond them the generator waits, and does not keep up."""

CLIENT_ID = "bench-load"
_PACKET_IDS = 65_535
_BODIES = 509
_PUBACK_BYTES = 4
_COUNT = struct.Struct("<q")
_LAST_ACKNOWLEDGEMENTS_S = 5.0
_CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What the generator says of itself.

    Attributes:
        published: Messages sent, warm-up included.
        acknowledged: Of them, by the broker.
        seconds: From the first one to the last one sent.
        latest_ms: How late after it was due a message was sent at worst, the warm-up left out.
        cpu_us_per_message: What the generator itself took of the machine.
    """

    published: int
    acknowledged: int
    seconds: float
    latest_ms: float
    cpu_us_per_message: float


class Messages:
    """PUBLISH packets: each device in turn, 509 different bodies, the time of sending, and an id that no other message has."""

    def __init__(self, devices: int) -> None:
        rnd = random.Random(5)
        self._bodies = [_metrics(rnd) for _ in range(_BODIES)]
        self._first_id = time.time_ns() // 1000
        payload_bytes = len(self._payload(0, b"2025-10-04T10:15:00.000Z"))
        self._heads = [_head(device, payload_bytes) for device in range(devices)]

    def packets(self, begin: int, end: int) -> bytes:
        """The packets with the numbers from `begin` to before `end`."""
        now = datetime.now(UTC)
        moment = f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z".encode()
        heads, payload = self._heads, self._payload
        devices = len(heads)
        return b"".join(
            [heads[index % devices] + (index % _PACKET_IDS + 1).to_bytes(2, "big") + payload(index, moment) for index in range(begin, end)]
        )

    def _payload(self, index: int, moment: bytes) -> bytes:
        return b'{"telemetryData":%b,"timestamp":"%b","messageId":"%d"}' % (self._bodies[index % _BODIES], moment, self._first_id + index)


def _metrics(rnd: random.Random) -> bytes:
    # All of the same length, so that the length of a packet is known before.
    values = {name: rnd.randrange(200, 800) / 10 for name in METRICS}
    return ("{" + ",".join(f'"{name}":{value:.1f}' for name, value in values.items()) + "}").encode()


def _head(device: int, payload_bytes: int) -> bytes:
    topic = _text(f"sites/{device % SITES}/devices/INV-{device:05d}/telemetry")
    return b"\x32" + _variable_length(len(topic) + 2 + payload_bytes) + topic


def _text(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


def _variable_length(number: int) -> bytes:
    encoded = bytearray()
    while True:
        number, digit = divmod(number, 128)
        encoded.append(digit | (128 if number else 0))
        if not number:
            return bytes(encoded)


def connect(port: int) -> socket.socket:
    """A connection that the broker has accepted: MQTT 3.1.1, clean session, no keep alive."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=_CONNECT_TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    body = _text("MQTT") + b"\x04\x02\x00\x00" + _text(CLIENT_ID)
    connection.sendall(b"\x10" + _variable_length(len(body)) + body)
    answer = b""
    while len(answer) < 4:
        received = connection.recv(4 - len(answer))
        if not received:
            break
        answer += received
    if answer[:2] != b"\x20\x02" or answer[3:] != b"\x00":
        raise ConnectionError(f"the MQTT broker does not accept the connection: {answer!r}")
    # With a timeout Python would wait even where it is told not to.
    connection.settimeout(None)
    return connection


class Generator:
    """Publishes at a rate, and counts what is acknowledged."""

    def __init__(self, connection: socket.socket, messages: Messages, progress: "mmap.mmap", stop_file: Path | None = None) -> None:
        self._stop_file = stop_file
        self._connection = connection
        self._messages = messages
        self._progress = progress
        self._received_bytes = 0
        self.published = 0

    @property
    def acknowledged(self) -> int:
        # After CONNACK the broker has nothing to say but PUBACKs: there is no subscription and no ping.
        return self._received_bytes // _PUBACK_BYTES

    def run(self, rate: float, warm_up_s: float, seconds: float) -> LoadResult:
        """Publish for as long; what was due and could not be sent is sent as soon as it can."""
        begun_s, latest_s = time.monotonic(), 0.0
        total = round(rate * (warm_up_s + seconds))
        end_s = begun_s + warm_up_s + seconds
        now_s = begun_s
        while now_s < end_s and self.published < total and not self._stopped():
            self._take_acknowledgements()
            due = min(int((now_s - begun_s) * rate) + 1, total)
            allowed = min(due, self.acknowledged + WINDOW)
            if allowed > self.published:
                if now_s >= begun_s + warm_up_s:
                    latest_s = max(latest_s, now_s - begun_s - self.published / rate)
                self._connection.sendall(self._messages.packets(self.published, allowed))
                self.published = allowed
            time.sleep(max(TICK_S - (time.monotonic() - now_s), 0.0002))
            now_s = time.monotonic()
        took_s = now_s - begun_s
        self._await_acknowledgements()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        cpu_us = (usage.ru_utime + usage.ru_stime) * 1e6 / max(self.published, 1)
        return LoadResult(self.published, self.acknowledged, took_s, latest_s * 1000, cpu_us)

    def _stopped(self) -> bool:
        return self._stop_file is not None and self._stop_file.exists()

    def _take_acknowledgements(self) -> None:
        try:
            while data := self._connection.recv(65_536, socket.MSG_DONTWAIT):
                self._received_bytes += len(data)
        except BlockingIOError:
            _COUNT.pack_into(self._progress, 0, self.acknowledged)
        else:
            raise ConnectionError("the MQTT broker has closed the connection of the load")

    def _await_acknowledgements(self) -> None:
        deadline_s = time.monotonic() + _LAST_ACKNOWLEDGEMENTS_S
        while self.acknowledged < self.published and time.monotonic() < deadline_s:
            self._take_acknowledgements()
            time.sleep(TICK_S)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--devices", type=int, required=True)
    parser.add_argument("--warm-up", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--progress", type=Path, required=True)
    parser.add_argument("--stop-file", type=Path, help="ends early as soon as it is there")
    told = parser.parse_args(arguments)
    with told.progress.open("r+b") as file, mmap.mmap(file.fileno(), _COUNT.size) as progress, connect(told.port) as connection:
        result = Generator(connection, Messages(told.devices), progress, told.stop_file).run(told.rate, told.warm_up, told.seconds)
    sys.stdout.write(json.dumps(asdict(result)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
