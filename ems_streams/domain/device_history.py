"""Records of a device as they were read back from Kafka, and how far back that went."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class HistoryRecord(NamedTuple):
    """A record of the device.

    Attributes:
        timestamp_ms: Kafka's time of it.
        value: Its first bytes; None for a tombstone.
        size: Of the whole value in bytes.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    size: int
    headers: tuple[tuple[str, bytes], ...]

    @property
    def place(self) -> tuple[str, int, int]:
        """Topic, partition and offset."""
        return self.topic, self.partition, self.offset


class ReadEnd(StrEnum):
    """Why a topic was read back no further."""

    LIMIT = "LIMIT"
    """There were as many records of the device as were asked for."""
    SINCE = "SINCE"
    """Everything since the time that was asked for was looked at, as far as it is still there."""
    BEGINNING = "BEGINNING"
    """There is nothing."""
    COST = "COST"
    """It would have cost too much: there may be more of the device before."""
    DEADLINE = "DEADLINE"
    """There was no time left: the same."""

    @property
    def complete(self) -> bool:
        """Whether nothing was left out that was asked for."""
        return self not in {ReadEnd.COST, ReadEnd.DEADLINE}


class Read(NamedTuple):
    """How far back the device's partition of a topic was read.

    Attributes:
        first_offset: From here on ...
        end_offset: ... up to here, without it.
        earliest_ms: Kafka's time of the oldest record that was looked at; None when there was none.
    """

    topic: str
    partition: int
    first_offset: int
    end_offset: int
    earliest_ms: int | None
    ended: ReadEnd


class Found(NamedTuple):
    """What was read.

    Attributes:
        records: In the order of Kafka's times.
        reads: Of each topic.
        unread: By topic, why nothing of it could be read.
    """

    records: tuple[HistoryRecord, ...]
    reads: tuple[Read, ...]
    unread: Mapping[str, str]
