"""A device that connects with a last will and is cut off, so that the broker publishes it."""

import socket
from urllib.parse import urlsplit

import mqtt5


def connect_and_vanish(url: str, client_id: str, topic: str, payload: bytes) -> None:
    """Connect with a last will, and close the connection without a word when the broker has taken it."""
    where = urlsplit(url)
    will = mqtt5.Will(topic, payload=payload, qos=mqtt5.QoS.AT_LEAST_ONCE)
    connect = mqtt5.ConnectPacket(client_id, username=where.username, clean_start=True, will=will, keep_alive=30)
    with socket.create_connection((where.hostname or "127.0.0.1", where.port or 1883), timeout=10) as connection:
        connection.sendall(connect.write())
        answer = connection.recv(1024)
        assert answer[:1] == b"\x20", f"expected CONNACK, received {answer!r}"
