"""A dead letter as it is read back: where it came from and why it is there, from our own headers or from those of Spring."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from ems_streams.domain import dead_letter as names
from ems_streams.domain.dead_letter import Headers, Origin, replay_count_of
from ems_streams.errors import UsageError

_SPRING_CAUSE: Final = "kafka_dlt-exception-cause-fqcn"
_LONGEST_NUMBER: Final = 19


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a record is in the dead letters; None where its headers do not say, or say something that cannot be.

    Attributes:
        origin: Where the record was read; what came over MQTT has the MQTT topic and partition -1.
        error_class: Class of the error, such as `invalid_json`, or the name of an exception.
        error_message: For people.
        stage: Which part of the system put it aside; of Spring's letters the consumer group.
        channel: Of the notifier, the channel that could not deliver it.
        attempts: How often it was tried.
        first_failed_at: Time of the first failure, as the headers have it.
        replay_count: How often it was redriven before.
        cut_from: Size of a value of which only the beginning was kept.
        stack_trace: Of Spring's letters.
    """

    origin: Origin | None
    error_class: str | None
    error_message: str | None
    stage: str | None
    channel: str | None
    attempts: int | None
    first_failed_at: str | None
    replay_count: int
    cut_from: int | None
    stack_trace: str | None

    @property
    def from_mqtt(self) -> bool:
        """Whether it never was a Kafka record: the value is what a device published."""
        return self.origin is not None and self.origin.partition < 0 and "/" in self.origin.topic


@dataclass(frozen=True, slots=True)
class LetterId:
    """Place of a dead letter, written as `topic/partition/offset`."""

    topic: str
    partition: int
    offset: int

    @classmethod
    def parse(cls, text: str, topic: str | None = None) -> Self:
        """Of its text; `partition/offset` is enough when the topic is known. Raises `UsageError`."""
        parts = text.strip().split("/")
        if len(parts) == 2 and topic is not None:
            parts = [topic, *parts]
        if len(parts) != 3 or not parts[0] or not all(each.isascii() and each.isdecimal() and len(each) <= 18 for each in parts[1:]):
            raise UsageError(f"{text!r}: expected the id of a dead letter, topic/partition/offset")
        if topic is not None and parts[0] != topic:
            raise UsageError(f"{text!r}: is of another topic than {topic}")
        return cls(parts[0], int(parts[1]), int(parts[2]))

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class Letter:
    """A record of a dead letter topic.

    Attributes:
        timestamp_ms: When it was put aside, epoch milliseconds.
        value: Its own bytes, untouched; None for a record without a value. In lists only the beginning.
        size: Of the whole value in bytes.
        failure: What its headers say.
    """

    letter_id: LetterId
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    size: int
    headers: tuple[tuple[str, bytes], ...]
    failure: Failure

    @property
    def serial(self) -> str | None:
        """The key as text; of nearly all topics it is the device's serial number."""
        return None if self.key is None else self.key.decode(errors="backslashreplace")


def read_letter(
    letter_id: LetterId,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]],
    *,
    kept_bytes: int | None = None,
) -> Letter:
    """A letter of its record; headers that make no sense are as if they were not there.

    Args:
        kept_bytes: So much of the value is kept; all of it when None.
    """
    kept = tuple((name, bytes(content or b"")) for name, content in headers)
    beginning = None if value is None else bytes(value[:kept_bytes])
    # Kafka may be told to take any time from whoever writes; one that cannot be is as if there were none.
    at_ms = timestamp_ms if is_time(timestamp_ms) else 0
    return Letter(letter_id, at_ms, key, beginning, len(value or b""), kept, read_failure(kept))


def read_failure(headers: Iterable[tuple[str, bytes]]) -> Failure:
    """What headers say; ours go before those of Spring. Of a header that is there several times the last counts."""
    found = dict(headers)
    return Failure(
        origin=_origin(found) or _spring_origin(found),
        error_class=_text(found, names.ERROR_CLASS, _SPRING_CAUSE, "kafka_dlt-exception-fqcn", "kafka_dlt-key-exception-fqcn"),
        error_message=_text(found, names.ERROR_MESSAGE, "kafka_dlt-exception-message", "kafka_dlt-key-exception-message"),
        stage=_text(found, names.STAGE, "kafka_dlt-original-consumer-group"),
        channel=_text(found, names.CHANNEL),
        attempts=_number(found.get(names.ATTEMPTS)),
        first_failed_at=_text(found, names.FIRST_FAILED_AT),
        replay_count=replay_count_of(found.items()),
        cut_from=_number(found.get(names.PAYLOAD_SIZE)),
        stack_trace=_text(found, "kafka_dlt-exception-stacktrace", "kafka_dlt-key-exception-stacktrace"),
    )


def is_time(moment_ms: int) -> bool:
    """Whether epoch milliseconds that a header says are a time of the calendar; 0 is none, and before 9999 all years have four digits."""
    return 0 < moment_ms < 253_370_764_800_000


def redriven_headers(letter: Letter, redrive_id: str) -> Headers:
    """What a letter carries on its way back: what it carried for others, the count that ends loops, and where it comes from."""
    return [
        *names.foreign_headers(letter.headers),
        (names.REPLAY_COUNT, str(letter.failure.replay_count + 1).encode()),
        (names.REDRIVE_ID, redrive_id.encode()),
        (names.REDRIVEN_FROM, str(letter.letter_id).encode()),
    ]


def _origin(found: dict[str, bytes]) -> Origin | None:
    topic = _text(found, names.ORIGINAL_TOPIC)
    if not topic:
        return None
    partition, offset, timestamp_ms = (
        _number(found.get(name)) for name in (names.ORIGINAL_PARTITION, names.ORIGINAL_OFFSET, names.ORIGINAL_TIMESTAMP)
    )
    return Origin(topic, timestamp_ms or 0, -1 if partition is None else partition, -1 if offset is None else offset)


def _spring_origin(found: dict[str, bytes]) -> Origin | None:
    topic = _text(found, "kafka_dlt-original-topic")
    if not topic:
        return None
    partition = _big_endian(found.get("kafka_dlt-original-partition"), 4)
    offset = _big_endian(found.get("kafka_dlt-original-offset"), 8)
    timestamp_ms = _big_endian(found.get("kafka_dlt-original-timestamp"), 8)
    return Origin(topic, timestamp_ms or 0, -1 if partition is None else partition, -1 if offset is None else offset)


def _big_endian(content: bytes | None, size: int) -> int | None:
    """A Java int or long; programs that are not Spring write them as text."""
    if content is None:
        return None
    return int.from_bytes(content, "big", signed=True) if len(content) == size else _number(content)


def _text(found: dict[str, bytes], *wanted: str) -> str | None:
    content = next((found[name] for name in wanted if found.get(name)), None)
    return None if content is None else content.decode(errors="backslashreplace")


def _number(content: bytes | None) -> int | None:
    text = (content or b"").decode(errors="replace").strip()
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdecimal() and len(digits) <= _LONGEST_NUMBER else None
