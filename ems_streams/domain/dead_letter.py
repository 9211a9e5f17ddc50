"""What travels with a record that could not be processed: the headers of the `{topic}-dlt` topics."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ems_streams.domain.events import format_time
from ems_streams.errors import MalformedError

MAX_KEPT_BYTES = 4 * 1024 * 1024
"""Values up to this size are kept whole; of larger ones the first `KEPT_PREFIX_BYTES`, their size and their SHA-256."""
KEPT_PREFIX_BYTES = 64 * 1024
MAX_MESSAGE_CHARS = 500

ORIGINAL_TOPIC = "dlt-original-topic"
ORIGINAL_PARTITION = "dlt-original-partition"
ORIGINAL_OFFSET = "dlt-original-offset"
ORIGINAL_TIMESTAMP = "dlt-original-timestamp"
ERROR_CLASS = "dlt-error-class"
ERROR_MESSAGE = "dlt-error-message"
STAGE = "dlt-stage"
ATTEMPTS = "dlt-attempts"
FIRST_FAILED_AT = "dlt-first-failed-at"
REPLAY_COUNT = "dlt-replay-count"
CHANNEL = "dlt-channel"
PAYLOAD_SIZE = "dlt-payload-size"
PAYLOAD_SHA256 = "dlt-payload-sha256"

REDRIVE_ID = "dlt-redrive-id"
REDRIVEN_FROM = "dlt-redriven-from"
LETTER = "dlt-letter"
OWN_PREFIX = "dlt-"
SPRING_PREFIX = "kafka_dlt-"

Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record came from; what came over MQTT has partition and offset -1.

    Attributes:
        topic: Kafka topic, or the MQTT topic.
        partition: Kafka partition.
        offset: Kafka offset.
        timestamp_ms: Time of the record, or of the receipt of an MQTT message, in ms since 1970.
    """

    topic: str
    timestamp_ms: int
    partition: int = -1
    offset: int = -1


def dead_letter_headers(
    origin: Origin,
    error_class: str,
    error_message: str,
    *,
    stage: str,
    failed_at: datetime,
    attempts: int = 1,
    replay_count: int = 0,
) -> Headers:
    """The headers of a dead letter, in a fixed order, all as UTF-8 text.

    Args:
        origin: Where the record came from.
        error_class: Machine-readable class: the reason of a `MalformedError`, or the name of an exception.
        error_message: One line for people; shortened to `MAX_MESSAGE_CHARS`.
        stage: Which part of the system gave up, such as `ingress`.
        failed_at: When it failed first.
        attempts: How often it was tried.
        replay_count: How often it was redriven from the dead letters before.
    """
    headers = {
        ORIGINAL_TOPIC: origin.topic,
        ORIGINAL_PARTITION: str(origin.partition),
        ORIGINAL_OFFSET: str(origin.offset),
        ORIGINAL_TIMESTAMP: str(origin.timestamp_ms),
        ERROR_CLASS: error_class,
        ERROR_MESSAGE: error_message[:MAX_MESSAGE_CHARS],
        STAGE: stage,
        ATTEMPTS: str(attempts),
        FIRST_FAILED_AT: format_time(failed_at),
        REPLAY_COUNT: str(replay_count),
    }
    # A message may quote what cannot be encoded, such as half of a surrogate pair.
    return [(name, text.encode(errors="backslashreplace")) for name, text in headers.items()]


def malformed_headers(origin: Origin, error: MalformedError, *, stage: str, failed_at: datetime, replay_count: int = 0) -> Headers:
    """The headers for a message that is malformed; once is enough to know that."""
    return dead_letter_headers(origin, error.reason, error.detail, stage=stage, failed_at=failed_at, replay_count=replay_count)


def replay_count_of(headers: Iterable[tuple[str, bytes]]) -> int:
    """How often a record was redriven, as its own headers say; 0 where they say nothing that is a number.

    Whoever puts a record aside keeps this count: it is what ends a loop of failing and being redriven.
    """
    count = 0
    for name, value in headers:
        if name == REPLAY_COUNT:
            text = bytes(value or b"").decode(errors="replace")
            count = int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else 0
    return count


def foreign_headers(headers: Iterable[tuple[str, bytes]]) -> Headers:
    """What a record carries for others, such as the context of a trace: all that is not about dead letters."""
    return [(name, bytes(value or b"")) for name, value in headers if not name.startswith((OWN_PREFIX, SPRING_PREFIX))]


def contents(value: bytes | None, why: Headers, carried: Iterable[tuple[str, bytes]]) -> tuple[bytes | None, Headers]:
    """Value and headers of the dead letter of a record.

    Args:
        value: Of the record; one without a value has none as a letter either.
        why: From `dead_letter_headers`.
        carried: The record's own headers, of which those for others are kept.
    """
    kept, size_headers = kept_value(value or b"")
    return None if value is None else kept, [*why, *size_headers, *foreign_headers(carried)]


def kept_value(value: bytes) -> tuple[bytes, Headers]:
    """What is kept of a value, and the headers that say so: the exact bytes and no header up to `MAX_KEPT_BYTES`."""
    if len(value) <= MAX_KEPT_BYTES:
        return value, []
    digest = hashlib.sha256(value).hexdigest()
    return value[:KEPT_PREFIX_BYTES], [
        (PAYLOAD_SIZE, str(len(value)).encode()),
        (PAYLOAD_SHA256, digest.encode()),
    ]
