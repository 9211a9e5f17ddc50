"""A member of a consumer group whose positions are kept elsewhere, with what it reads: the group only says who reads which partition.

A partition that the group gives us is paused until it is told where to begin; what the client may have fetched of it before is thrown
away. Offsets are committed to the group as well, for lag figures only.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from ems_streams.domain.stall import Progress
from ems_streams.errors import EmsError
from ems_streams.kafka.client import client_options
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

POLL_TIMEOUT_MS = 200
COMMIT_INTERVAL_S = 2.0
STOP_TIMEOUT_S = 5.0
ENDS_INTERVAL_S = 2.0
ENDS_TIMEOUT_S = 5.0
_RETRY_S = 1.0
_FETCH_BYTES = 512 * 1024
_POLL_INTERVAL_MAX_MS = 7 * 86_400_000

Records = Mapping[TopicPartition, Sequence["ConsumerRecord[bytes, bytes]"]]


class BeyondEndError(EmsError):
    """A position is beyond the end of its topic: reading on would skip records without a word."""

    def __init__(self, tp: TopicPartition, position: int, end: int) -> None:
        super().__init__(
            f"{tp.topic} partition {tp.partition} ends at offset {end}, but is stored as read up to {position}: the topic was deleted and made "
            f"anew, or has lost records; `ems-streams db forget-offsets {tp.topic}` reads it from its beginning, what is stored already stays"
        )


class PositionedReader(ConsumerRebalanceListener):
    """Reads committed records of some topics, each partition contiguously from the position it was given.

    Args:
        group: Consumer group.
        client_id: Name at the brokers.

    Attributes:
        waiting: Partitions of ours that do not know their position.
    """

    def __init__(self, settings: Settings, topics: Iterable[str], group: str, client_id: str) -> None:
        self._topics = tuple(topics)
        self._consumer = AIOKafkaConsumer(**_options(settings), group_id=group, client_id=client_id)
        self._next: dict[TopicPartition, int] = {}
        self._durable: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.waiting: set[TopicPartition] = set()

    async def start(self) -> None:
        """Connect and join the group; raises a `KafkaError` when Kafka is away, and can be called again then."""
        await self._consumer.start()
        self._consumer.subscribe(self._topics, listener=self)
        self._tasks = [
            asyncio.create_task(self._keep_committing(), name="offset commits"),
            asyncio.create_task(self._keep_asking_for_ends(), name="end offsets"),
        ]

    async def stop(self) -> None:
        """Leave the group, within a few seconds."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._commit()
                await self._consumer.stop()
        except (KafkaError, OSError):
            log.warning("group_not_left")

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Called by the client before a rebalance; nothing of these is read until they are given to us again."""
        for tp in revoked:
            self._next.pop(tp, None)
            self._durable.pop(tp, None)
            self.waiting.discard(tp)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called by the client after a rebalance."""
        for tp in assigned:
            self._consumer.pause(tp)
            self._next.pop(tp, None)
            self.waiting.add(tp)

    async def beginnings(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """First offset of each partition that is still on the brokers."""
        return dict(await self._consumer.beginning_offsets(list(partitions)))

    async def begin(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read these partitions from these positions on, as far as they are still ours.

        Raises `BeyondEndError`. What retention has removed before it was read is lost, and an error in the log.
        """
        starts, ends = await asyncio.gather(self._consumer.beginning_offsets(list(positions)), self._consumer.end_offsets(list(positions)))
        for tp, position in positions.items():
            if position > ends[tp]:
                raise BeyondEndError(tp, position, ends[tp])
            if position < starts[tp]:
                log.error("records_lost_to_retention", topic=tp.topic, partition=tp.partition, offsets=starts[tp] - position)
            self._begin_one(tp, max(position, starts[tp]))

    def release(self, partitions: Iterable[TopicPartition]) -> None:
        """Stop reading these until they are told anew where to begin."""
        for tp in partitions:
            if self._next.pop(tp, None) is not None:
                self._pause(tp)
                self.waiting.add(tp)

    async def poll(self, records_max: int) -> dict[TopicPartition, list["ConsumerRecord[bytes, bytes]"]]:
        """Records that come next, of partitions that have a position; empty when there are none for the moment."""
        try:
            polled = await self._consumer.getmany(timeout_ms=POLL_TIMEOUT_MS, max_records=records_max)
        except OffsetOutOfRangeError as error:
            self.release(error.args[0])
            return {}
        except NoOffsetForPartitionError:
            return {}  # of a partition that is still waiting
        except KafkaError as error:
            log.warning("poll_failed", error=repr(error))
            await asyncio.sleep(_RETRY_S)
            return {}
        return {tp: kept for tp, records in polled.items() if (kept := self._take(tp, records))}

    def durable(self, positions: Mapping[TopicPartition, int]) -> None:
        """These positions are safe; the group is told soon."""
        self._durable.update({tp: offset for tp, offset in positions.items() if tp in self._next})

    async def progress(self) -> dict[TopicPartition, tuple[Progress, int]]:
        """Of each partition of ours how far it is, whether there is more to read, and how many offsets that is; from memory, as of a few seconds ago."""
        found = {}
        for tp in self._consumer.assignment():
            if tp not in self._next:
                found[tp] = (Progress(0, behind=True), 0)
                continue
            try:
                position, end = await self._consumer.position(tp), self._consumer.last_stable_offset(tp)
            except IllegalStateError:
                continue  # it was taken from us meanwhile
            # By the client's position: the last offsets of a topic may be markers, which are never delivered.
            lag = max(0, (end or 0) - position, self._ends.get(tp, 0) - position)
            found[tp] = (Progress(position, behind=lag > 0), lag)
        return found

    def _take(self, tp: TopicPartition, records: list["ConsumerRecord[bytes, bytes]"]) -> list["ConsumerRecord[bytes, bytes]"]:
        start = self._next.get(tp)
        if start is None:
            return []
        kept = [record for record in records if record.offset >= start]
        if kept:
            self._next[tp] = kept[-1].offset + 1
        return kept

    def _begin_one(self, tp: TopicPartition, position: int) -> None:
        if tp not in self.waiting:
            return
        try:
            self._consumer.seek(tp, position)
            self._consumer.resume(tp)
        except IllegalStateError:
            return  # it was taken from us meanwhile
        self._next[tp] = position
        self.waiting.discard(tp)

    def _pause(self, tp: TopicPartition) -> None:
        try:
            self._consumer.pause(tp)
        except IllegalStateError:
            self.waiting.discard(tp)

    async def _keep_committing(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_INTERVAL_S)
            await self._commit()

    async def _keep_asking_for_ends(self) -> None:
        """The client learns of the end by fetching, and fetches nothing more while nobody takes what it has: as while PostgreSQL is away."""
        while True:
            await asyncio.sleep(ENDS_INTERVAL_S)
            try:
                async with asyncio.timeout(ENDS_TIMEOUT_S):
                    self._ends = dict(await self._consumer.end_offsets(list(self._next)))
            except (KafkaError, OSError):
                continue

    async def _commit(self) -> None:
        offsets, self._durable = self._durable, {}
        if not offsets:
            return
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._consumer.commit(dict(offsets))
        except (KafkaError, OSError, ValueError) as error:
            # Figures only: the next one tells them all again.
            log.debug("offsets_not_committed", error=repr(error))


def _options(settings: Settings) -> dict[str, Any]:
    return {
        **client_options(settings),
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        # A position that is not on the brokers must be heard of, not mended.
        "auto_offset_reset": "none",
        "session_timeout_ms": int(settings.kafka_session_timeout_s * 1000),
        "heartbeat_interval_ms": int(settings.kafka_heartbeat_interval_s * 1000),
        "rebalance_timeout_ms": int(settings.kafka_rebalance_timeout_s * 1000),
        # Nothing is polled while the database is away, for as long as that takes.
        "max_poll_interval_ms": _POLL_INTERVAL_MAX_MS,
        "max_partition_fetch_bytes": _FETCH_BYTES,
    }
