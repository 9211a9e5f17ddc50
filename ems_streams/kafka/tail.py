"""Read a topic as people do: from the end, from a time or from its beginning, in no consumer group, leaving no trace on the cluster."""

import heapq
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

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

from ems_streams.domain.json_text import read_json
from ems_streams.errors import EmsError
from ems_streams.kafka.admin import CONNECT_TIMEOUT_S, answer_of, client_config
from ems_streams.kafka.refusals import unreachable
from ems_streams.settings import Settings

_POLL_S = 0.2
_STEP_BACK = 8
_REFUSALS = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})


@dataclass(frozen=True, slots=True)
class TailRecord:
    """A record for people: text where it is UTF-8, JSON where it is JSON.

    Attributes:
        timestamp: Kafka's time of the record, UTC.
        value: Decoded JSON; text when it is no JSON, or none that could be written again; bytes when it is no text; `None` for a tombstone.
        raw: The value's bytes; none of a tombstone.
    """

    topic: str
    partition: int
    offset: int
    timestamp: datetime | None
    key: str | bytes | None
    headers: dict[str, str | bytes]
    value: Any
    raw: bytes = b""

    @property
    def order(self) -> tuple[float, int, int]:
        """By which records of several partitions are put in a row."""
        return (self.timestamp.timestamp() if self.timestamp is not None else 0.0, self.partition, self.offset)


T = TypeVar("T")
Wanted = Callable[[TailRecord], bool]


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin; with nothing said, with what comes from now on.

    Attributes:
        beginning: With the oldest record.
        since: With the first record of each partition that is not older.
        last: With so many records that are wanted, the newest that there are (behind `since`), in the order of their times.
    """

    beginning: bool = False
    since: datetime | None = None
    last: int | None = None


def tail(settings: Settings, topic: str, start: Start, *, follow: bool = True, wanted: Wanted = lambda _: True) -> Iterator[TailRecord]:
    """Records of the topic that are wanted, those that are there, and with `follow` those that come, for ever.

    Only what is committed is shown. Raises `EmsError` for a topic that does not exist or may not be read, and `DependencyError` when Kafka does
    not answer; while following, a lost connection is waited out.
    """
    reader = _Reader(settings, topic)
    try:
        if start.last is not None:
            yield from reader.last(start.last, start.since, wanted)
        else:
            yield from filter(wanted, reader.to_end(reader.starts(start)))
        if follow:
            yield from filter(wanted, reader.follow())
    finally:
        reader.close()


class _Reader:
    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings = settings
        self._topic = topic
        self._consumer = Consumer(
            client_config(settings)
            # A group id is obligatory; partitions are assigned by hand and nothing is committed, so no group comes to be.
            | {"group.id": "ems-streams-tail", "enable.auto.commit": False, "isolation.level": "read_committed"}
            | {"enable.partition.eof": True, "auto.offset.reset": "earliest"}
        )
        try:
            self._partitions = self._call(lambda: _partitions(self._consumer, topic))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._consumer.close()

    def starts(self, start: Start) -> dict[int, int]:
        """First offset of each partition."""
        if start.since is not None:
            return self._since(start.since)
        return dict.fromkeys(self._partitions, OFFSET_BEGINNING if start.beginning else OFFSET_END)

    def to_end(self, starts: Mapping[int, int]) -> Iterator[TailRecord]:
        """Records from these offsets on up to what is there now, in each partition; a little more where more comes meanwhile."""
        bounds = self._call(self._bounds)
        self._consumer.assign([TopicPartition(self._topic, number, offset) for number, offset in starts.items()])
        firsts = {number: bounds[number][0] if offset == OFFSET_BEGINNING else offset for number, offset in starts.items()}
        ends = {number: end for number, (_, end) in bounds.items() if firsts[number] != OFFSET_END}
        pending, heard_at_s = {number for number, end in ends.items() if firsts[number] < end}, time.monotonic()
        while pending:
            message = self._consumer.poll(_POLL_S)
            if message is None:
                if time.monotonic() - heard_at_s > CONNECT_TIMEOUT_S:
                    raise unreachable(self._settings)
                continue
            error = message.error()
            if error is None:
                # The end itself is told only when nothing comes for a while, which may be never, and may be a marker, which never comes.
                if (message.offset() or 0) + 1 >= ends.get(message.partition() or 0, 0):
                    pending.discard(message.partition() or 0)
                yield _decode(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                pending.discard(message.partition() or 0)
            else:
                self._raise_if_refused(error)
                continue
            heard_at_s = time.monotonic()

    def follow(self) -> Iterator[TailRecord]:
        """What comes from where `to_end` has ended."""
        while True:
            message = self._consumer.poll(_POLL_S)
            if message is None:
                continue
            if (error := message.error()) is None:
                yield _decode(message)
            else:
                self._raise_if_refused(error)

    def last(self, count: int, since: datetime | None, wanted: Wanted) -> list[TailRecord]:
        """The newest that are wanted, not older than `since`; looks further and further back until there are enough."""
        bounds = self._call(self._bounds)
        earliest = {number: low for number, (low, _) in bounds.items()}
        if since is not None:
            earliest = {number: offset if offset >= 0 else bounds[number][1] for number, offset in self._since(since).items()}
        # Offsets of transactions have no records, so some more are needed.
        back = 2 * count + 16
        while True:
            starts = {number: max(earliest[number], high - back) for number, (_, high) in bounds.items()}
            found = heapq.nlargest(count, filter(wanted, self.to_end(starts)), key=lambda record: record.order)
            if len(found) == count or starts == earliest:
                return found[::-1]
            back *= _STEP_BACK

    def _since(self, since: datetime) -> dict[int, int]:
        since_ms = int(since.timestamp() * 1000)
        wanted = [TopicPartition(self._topic, number, since_ms) for number in self._partitions]

        def ask() -> dict[int, int]:
            answers = self._consumer.offsets_for_times(wanted, CONNECT_TIMEOUT_S)
            for error in (each.error for each in answers if each.error is not None):
                raise KafkaException(error)
            return {each.partition: each.offset for each in answers}

        return self._call(ask)

    def _bounds(self) -> dict[int, tuple[int, int]]:
        found = {}
        for number in self._partitions:
            found[number] = self._consumer.get_watermark_offsets(TopicPartition(self._topic, number), timeout=CONNECT_TIMEOUT_S)
        return found

    def _call(self, call: Callable[[], T]) -> T:
        return answer_of(call, f"read topic {self._topic}", self._settings)

    def _raise_if_refused(self, error: KafkaError) -> None:
        if error.code() in _REFUSALS or error.fatal():
            raise EmsError(f"cannot read topic {self._topic}: {error.str()}")


def _partitions(consumer: Consumer, topic: str) -> list[int]:
    # Metadata of all topics is asked for: asking for one by name can create it.
    topics = consumer.list_topics(timeout=CONNECT_TIMEOUT_S).topics
    if topic not in topics:
        raise EmsError(f"topic {topic} does not exist{_hint(topic, topics)}")
    if (error := topics[topic].error) is not None:
        raise EmsError(f"cannot read topic {topic}: {error.str()}")
    return sorted(topics[topic].partitions)


def _hint(topic: str, topics: Mapping[str, Any]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(topic, [name for name in topics if not name.startswith("__")], n=3)
    return f"; there is {', '.join(near)}" if near else "; `ems-streams topics list` shows those that do"


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
        raw=bytes(value or b""),
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
        return read_json(content)
    except ValueError:
        return _text(content)
