"""Identities that come out the same on every replay and on every machine: none is random, salted or read off a clock."""

from hashlib import blake2b
from typing import Final

from xxhash import xxh3_64_digest

IDENTITY_BYTES: Final = 8


def record_identity(value: bytes) -> bytes:
    """64-bit identity of a record by its bytes: two records with the same bytes are one message sent twice."""
    # No cryptographic hash is needed: a device that makes two of its messages collide harms itself only.
    return xxh3_64_digest(value)


def message_identity(message_id: str) -> bytes:
    """64-bit identity of a message by the id that its sender gave it."""
    return xxh3_64_digest(message_id.encode())


def telemetry_identity(message_id: str | None, value: bytes) -> bytes:
    """What a record is recognised by when it comes again: its message id, or all of its bytes when it has none."""
    return xxh3_64_digest(message_id.encode() if message_id else value)


def event_id(serial_number: str, topic: str, partition: int, offset: int, kind: str) -> str:
    """Id (32 hexadecimal digits) of what follows from one source record for one device.

    Args:
        serial_number: Device that the event is about.
        topic: Topic of the record that caused the event.
        partition: Its partition.
        offset: Its offset.
        kind: Tells the events apart that one record causes, such as `status`.
    """
    return _digest(serial_number, topic, str(partition), str(offset), kind)


def notification_id(source_event_id: str, kind: str) -> str:
    """Id (32 hexadecimal digits) of the notification about an event."""
    return _digest(source_event_id, kind)


def _digest(*parts: str) -> str:
    # NUL cannot occur in a serial number or a topic, so different parts never read the same when joined.
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
