"""Faust transport `ems://`: one stream event is all records of one partition from one poll.

For the engine's source topics the consumer delivers one message whose value is a `RecordBatch`. Everything else of Faust's
transport stays as it is. Within one assignment the batches of a partition are contiguous, starting behind what is durable;
offsets are committed only behind what is durable (Faust's own bookkeeping commits past messages in flight).
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import aiokafka
import structlog
import uvloop
from aiokafka import OffsetAndMetadata
from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from ems_streams.domain.stall import Progress
from ems_streams.kafka.broken_connections import say_broken_connections
from ems_streams.kafka.catalogue import TRANSACTIONAL_TOPICS
from ems_streams.kafka.engine import Engine
from ems_streams.kafka.fetched_records import use_source_records
from ems_streams.kafka.record_batch import Record, RecordBatch
from ems_streams.kafka.record_ends import RecordEnds
from ems_streams.metrics.worker import REBALANCES

if TYPE_CHECKING:
    from ems_streams.kafka.worker_app import WorkerApp

log = structlog.get_logger(__name__)
# What Faust's own code says in our subclasses is Faust's to say, and is quietened with it.
faust_logger = logging.getLogger("faust.transport")

POLL_TIMEOUT_S = 1.0
COMMIT_TIMEOUT_S = 5.0
PROGRESS_TIMEOUT_S = 5.0
MEMBERSHIP_TIMEOUT_S = 5.0


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Consumer thread whose client reads committed records only and does not wait long for a fetch to fill."""

    logger = faust_logger
    app: "WorkerApp"

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Faust hard-codes these; the client reads them when it starts.
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = self.app.settings.kafka_fetch_max_wait_ms
        consumer._max_poll_records = None
        use_source_records(self.app.engine.source_topics)
        say_broken_connections()
        return consumer

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit to the group, or not: no decision rests on these offsets, so a failure is no reason to end."""
        client = self._ensure_consumer()
        owned = self.assignment()
        committed = {driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items() if tp in owned}
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await client.commit(committed)
        except (KafkaError, TimeoutError) as error:
            log.debug("group_commit_failed", error=repr(error))
            return False
        return True

    async def is_member(self, generation: int) -> bool:
        """Whether the group still counts this worker as a member of the generation, asked for anew; otherwise it joins again."""
        return bool(await self.call_thread(self._is_member, generation))

    async def _is_member(self, generation: int) -> bool:
        coordinator = self._ensure_consumer()._coordinator
        async with asyncio.timeout(MEMBERSHIP_TIMEOUT_S):
            await coordinator.ensure_coordinator_known()
            return coordinator.generation == generation and await coordinator._do_heartbeat() and not coordinator._rejoin_needed_fut.done()


class Consumer(driver.Consumer):
    """Consumer that delivers record batches for the engine's source topics.

    Attributes:
        lags: Offsets from what is durable, or read when nothing is, to the end of each source partition, as of the last `progress`.
    """

    logger = faust_logger
    app: "WorkerApp"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lags: dict[TP, int] = {}
        self._next_offset: dict[TP, int] = {}
        self._accepted_gap: dict[TP, int] = {}
        self._seen_ends: dict[TP, int] = {}
        self._record_ends = RecordEnds(self.app.settings, f"{self.app.settings.worker_id}-record-ends")

    async def on_stop(self) -> None:
        """Close what is ours, then as Faust does."""
        await self._record_ends.stop()
        await super().on_stop()

    @property
    def engine(self) -> Engine:
        """The engine of the worker that this consumer belongs to."""
        return self.app.engine

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, thread_loop=uvloop.new_event_loop(), loop=self.loop, beacon=self.beacon)

    async def verify_all_partitions_active(self) -> None:
        """Nothing: our watchdog watches. Faust goes by commits and sensors that there are none of here: from the sixth minute on it would log an
        error for every partition every few seconds, that nothing was ever committed.
        """

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                generation, epoch = self.app.consumer_generation_id, self.engine.epoch
                records, active = await self._wait_next_records(POLL_TIMEOUT_S)
                await asyncio.sleep(0)
                if self.should_stop or not records:
                    continue
                if not self.flow_active or not self._is_now(generation, epoch):
                    await self._seek_or_come_back()
                    continue
                for tp, batch in records.items():
                    await self._deliver_or_come_back(TP(*tp), batch, active, generation, epoch)
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise

    def _is_now(self, generation: int, epoch: int) -> bool:
        """Whether what was fetched then is of the assignment, and of the recovery, of now."""
        return self.app.consumer_generation_id == generation and self.engine.epoch == epoch

    async def _deliver_or_come_back(self, tp: TP, records: Sequence[Record], active: set[TP] | None, generation: int, epoch: int) -> None:
        """Deliver; while Kafka does not even say where a partition begins, come back to it with the next fetch."""
        try:
            await self._deliver(tp, records, active, generation, epoch)
        except (KafkaError, TimeoutError) as error:
            log.warning("delivery_put_off", topic=tp.topic, partition=tp.partition, error=repr(error))
            self._next_offset.pop(tp, None)

    async def _deliver(self, tp: TP, records: Sequence[Record], active: set[TP] | None, generation: int, epoch: int) -> None:
        """Hand the records of a partition to its agents; whatever is not handed over is fetched again."""
        if not self.flow_active or not self._is_now(generation, epoch):
            self._next_offset.pop(tp, None)
            return
        if active is not None and tp not in active and tp not in self._buffered_partitions:
            self._next_offset.pop(tp, None)
            return
        if tp.topic not in self.engine.source_topics:
            for record in records:
                await self.wait_first(self.callback(self._to_message(tp, record)), self.suspend_flow.wait())
                self._read_offset[tp] = record.offset
            return
        if await self._is_contiguous(tp, records):
            await self._deliver_batch(tp, records, generation, epoch)

    async def _is_contiguous(self, tp: TP, records: Sequence[Record]) -> bool:
        """Whether the records start where they must; if not, the partition is put back to there.

        A gap that is still there when asked again is none of ours: records that retention has deleted or aborted transactions.
        On topics that only our own transactions write, one missing offset in the middle of an assignment is a commit marker.
        """
        first = records[0].offset
        expected = self._next_offset.get(tp)
        if expected is not None and first <= expected + (tp.topic in TRANSACTIONAL_TOPICS):
            return True
        if expected is None:
            expected = await self._start_offset(tp)
            self._next_offset[tp] = expected
        if first <= expected or self._accepted_gap.get(tp) == expected:
            return True
        self._accepted_gap[tp] = expected
        log.debug("seek_back", topic=tp.topic, partition=tp.partition, expected=expected, got=first)
        await self.seek(tp, expected)
        return False

    async def _start_offset(self, tp: TP) -> int:
        start = self.engine.start_offset(tp)
        return (await self._thread.earliest_offsets(tp))[tp] if start is None else start

    async def _deliver_batch(self, tp: TP, records: Sequence[Record], generation: int, epoch: int) -> None:
        last = records[-1]
        # Of the epoch in which they were fetched: partitions that were opened since have another position.
        batch = RecordBatch(tp.topic, tp.partition, records, epoch)
        message = ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000,
            0,
            [],
            None,
            cast(Any, batch),
            None,
            0,
            0,
            tp,
            generation_id=generation,
        )
        delivery = asyncio.ensure_future(self.callback(message))
        # Never await a delivery while the flow is suspended: recovery would wait for it for ever.
        await self.wait_first(delivery, self.suspend_flow.wait())
        if delivery.done() and not delivery.cancelled():
            delivery.result()
            self._read_offset[tp] = last.offset
        if delivery.done() and not delivery.cancelled() and self._is_now(generation, epoch):
            self._next_offset[tp] = last.offset + 1
        else:
            self._next_offset.pop(tp, None)

    async def is_member(self, generation: int) -> bool:
        """Whether what was assigned in this generation is still ours; raises `KafkaError` or `TimeoutError` when Kafka does not say."""
        return await cast(ConsumerThread, self._thread).is_member(generation)

    async def progress(self) -> dict[TP, Progress]:
        """How far each source partition of this worker has come: fetched and durable, against the end of the log, asked for anew.

        A partition without a position counts as behind: nothing would ever be fetched from it. Empty when Kafka does not answer.
        """
        sources = [tp for tp in self.assignment() if tp.topic in self.engine.source_topics]
        subscription = self._thread._ensure_consumer()._subscription.subscription
        if not sources or subscription is None or subscription.assignment is None:
            self.lags = {}
            return {}
        try:
            async with asyncio.timeout(PROGRESS_TIMEOUT_S):
                ends = await self._thread.highwaters(*sources)
        except (KafkaError, TimeoutError):
            self.lags = {}
            return {}
        ends = await self._without_markers({tp: ends[tp] for tp in sources})
        states = {tp: subscription.assignment.state_value(driver.ensure_aiokafka_TP(tp)) for tp in sources}
        self.lags = {tp: lag for tp, state in states.items() if (lag := self._lag_of(tp, state, ends[tp])) is not None}
        return {tp: self._progress_of(tp, state, ends[tp]) for tp, state in states.items()}

    def _lag_of(self, tp: TP, state: Any, end: int) -> int | None:
        done = self.engine.start_offset(tp)
        if done is None and state is not None and state.has_valid_position:
            done = state.position
        return None if done is None else max(0, end - done)

    async def _without_markers(self, ends: dict[TP, int]) -> dict[TP, int]:
        """The same ends; of a log that stands still, and is not wholly durable, the one behind its last record."""
        still = {
            tp: end
            for tp, end in ends.items()
            if self._seen_ends.get(tp) == end and tp.topic not in TRANSACTIONAL_TOPICS and (self.engine.start_offset(tp) or end) < end
        }
        self._seen_ends = ends
        if not still:
            return ends
        found = await self._record_ends.of({driver.ensure_aiokafka_TP(tp): end for tp, end in still.items()})
        return {**ends, **{TP(*tp): end for tp, end in found.items()}}

    def _progress_of(self, tp: TP, state: Any, end: int) -> Progress:
        durable, delivered = self.engine.start_offset(tp), self._next_offset.get(tp)
        if state is None or not state.has_valid_position:
            return Progress(durable or 0, behind=True)
        # What is durable never reaches the end of a log that ends with commit markers; there, what was fetched has to.
        if state.position < end or (delivered is not None and (durable is None or durable < delivered)):
            return Progress((durable or 0) + state.position, behind=True)
        return Progress(durable or 0, behind=durable is not None and durable < end and tp.topic not in TRANSACTIONAL_TOPICS)

    async def perform_seek(self) -> None:
        """Put every source partition behind what is durable; raises `KafkaError` when Kafka does not say where one begins.

        Faust's own goes to the offsets of the consumer group, and leaves a partition without one with no position at all.
        """
        self._next_offset.clear()
        self._accepted_gap.clear()
        for tp in self.assignment():
            if tp.topic in self.engine.source_topics:
                await self.seek(tp, await self._start_offset(tp))

    async def _seek_or_come_back(self) -> None:
        try:
            await self.perform_seek()
        except (KafkaError, TimeoutError) as error:
            # The first delivery of each partition seeks by itself.
            log.debug("seek_failed", error=repr(error))

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Count the assignments."""
        REBALANCES.inc()
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget positions; what was delivered and is not durable is read again by the next owner."""
        self._next_offset.clear()
        await super().on_partitions_revoked(revoked)

    async def wait_empty(self) -> None:
        """Wait until agents are idle, then make durable what they have folded, and commit the offsets."""
        await super().wait_empty()
        await self.engine.flush()
        await self.commit()

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        durable = self.engine.committable()
        return (tp for tp in self._chain(durable) if topics is None or tp in topics or tp.topic in topics)

    def _chain(self, durable: Iterable[TP]) -> Iterable[TP]:
        sources = self.engine.source_topics
        return [*durable, *(tp for tp in self._acked if tp.topic not in sources)]

    def _new_offset(self, tp: TP) -> int | None:
        """Next offset to commit: for batches what is durable, whatever Faust believes to be acknowledged."""
        if tp.topic not in self.engine.source_topics:
            return super()._new_offset(tp)
        self._acked.pop(tp, None)
        self._acked_index.pop(tp, None)
        return self.engine.start_offset(tp)


class Transport(driver.Transport):
    """Faust's aiokafka transport with the batch consumer."""

    Consumer = Consumer
