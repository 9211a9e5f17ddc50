"""Read a topic as people do: from now on or from its beginning, in no consumer group, leaving no trace on the cluster."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from ems_streams.errors import EmsError
from ems_streams.kafka.admin import CONNECT_TIMEOUT_S, client_config, unreachable
from ems_streams.settings import Settings

_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class TailRecord:
    """A record for people: text where it is UTF-8, JSON where it is JSON.

    Attributes:
        timestamp: Kafka's time of the record, UTC.
        value: Decoded JSON; text when it is no JSON; bytes when it is no text; `None` for a tombstone.
    """

    topic: str
    partition: int
    offset: int
    timestamp: datetime | None
    key: str | bytes | None
    headers: dict[str, str | bytes]
    value: Any

    def concerns(self, serial: str) -> bool:
        """Whether its key, or the `serialNumber` of its value, is that device."""
        return self.key == serial or (isinstance(self.value, dict) and self.value.get("serialNumber") == serial)


def tail(settings: Settings, topic: str, *, from_beginning: bool) -> Iterator[TailRecord | None]:
    """Records of the topic as they come, for ever; `None` whenever there is none for the moment.

    Only what is committed is shown. Raises `EmsError` for a topic that does not exist and `DependencyError` when Kafka does
    not answer at the start; afterwards a lost connection is waited out.
    """
    consumer = Consumer(
        client_config(settings)
        # A group id is obligatory; partitions are assigned by hand and nothing is committed, so no group comes to be.
        | {"group.id": "ems-streams-tail", "enable.auto.commit": False, "isolation.level": "read_committed"}
    )
    try:
        start = OFFSET_BEGINNING if from_beginning else OFFSET_END
        consumer.assign([TopicPartition(topic, number, start) for number in _partitions(consumer, topic, settings)])
        while True:
            message = consumer.poll(_POLL_S)
            yield _decode(message) if message is not None and message.error() is None else None
    finally:
        consumer.close()


def _partitions(consumer: Consumer, topic: str, settings: Settings) -> list[int]:
    try:
        metadata = consumer.list_topics(topic, timeout=CONNECT_TIMEOUT_S).topics[topic]
    except KafkaException:
        raise unreachable(settings) from None
    if metadata.error is not None:
        if metadata.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise EmsError(f"topic {topic} does not exist; `ems-streams topics list` shows those that do")
        raise EmsError(f"cannot read topic {topic}: {metadata.error.str()}")
    return list(metadata.partitions)


def _decode(message: Message) -> TailRecord:
    kind, moment_ms = message.timestamp()
    key, value = message.key(), message.value()
    return TailRecord(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp=None if kind == TIMESTAMP_NOT_AVAILABLE else datetime.fromtimestamp(moment_ms / 1000, UTC),
        key=None if key is None else _text(key),
        headers=_headers(message),
        value=None if value is None else _json(value),
    )


def _headers(message: Message) -> dict[str, str | bytes]:
    headers = message.headers() or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    return {str(name): _text(content or b"") for name, content in pairs}


def _text(content: str | bytes) -> str | bytes:
    if isinstance(content, str):
        return content
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def _json(content: str | bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return _text(content)
