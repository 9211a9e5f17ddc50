"""The floor of an ingress: read MQTT from a socket and acknowledge, with no library and nowhere to put the messages."""

import os
import signal
import socket

from progress import Progress

RECEIVE_BYTES = 256 * 1024
PUBLISH = 3


def field(data):
    """Bytes with their length before them, as MQTT writes text."""
    return len(data).to_bytes(2, "big") + data


def packet(kind, body):
    """A packet whose body is shorter than 128 bytes."""
    return bytes((kind, len(body))) + body


def connect():
    connection = socket.create_connection(("127.0.0.1", int(os.environ["BENCH_MQTT_PORT"])))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # MQTT 3.1.1, session kept, no keep alive.
    connection.sendall(packet(0x10, field(b"MQTT") + bytes((4, 0, 0, 0)) + field(os.environ["BENCH_RUN"].encode())))
    connection.sendall(packet(0x82, b"\x00\x01" + field(os.environ["BENCH_MQTT_TOPICS"].encode()) + b"\x01"))
    return connection


def acknowledge(buffer):
    """Acknowledgements for the complete publishes in a buffer, their number, and how many bytes were used."""
    acknowledgements, at, count = bytearray(), 0, 0
    while len(buffer) - at >= 2:
        begin, length, shift = at + 1, 0, 0
        while begin < len(buffer):
            byte = buffer[begin]
            begin += 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        else:
            break
        if len(buffer) - begin < length:
            break
        if buffer[at] >> 4 == PUBLISH:
            id_at = begin + 2 + (buffer[begin] << 8 | buffer[begin + 1])
            acknowledgements += b"\x40\x02" + buffer[id_at : id_at + 2]
            count += 1
        at = begin + length
    return acknowledgements, count, at


def main():
    progress = Progress()
    connection = connect()
    signal.signal(signal.SIGTERM, lambda *_: connection.shutdown(socket.SHUT_RDWR))
    buffer = b""
    while data := connection.recv(RECEIVE_BYTES):
        buffer += data
        acknowledgements, count, used = acknowledge(buffer)
        buffer = buffer[used:]
        if count:
            connection.sendall(acknowledgements)
            progress.add(count)


if __name__ == "__main__":
    main()
