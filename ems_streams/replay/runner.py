"""Runs partitions of a replay: the live system's own fold over a frozen range of records, into the shadow, without a group and without a clock.

What is durable is the same as in live: states and positions in a changelog, in one transaction with what was published. So a replay that is
killed goes on where its last commit was, on any machine, and every record is folded once. Who goes on fences who was there before.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

import tables.device_aggregates
from agents import aggregates
from ems_streams.domain.replay_closing import close_up_to
from ems_streams.domain.replays import Offsets, ReplayDefinition, ReplayProgress
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.errors import EmsError
from ems_streams.kafka.careful_fold import CarefulFold, fold_part
from ems_streams.kafka.changelog import ChangelogPartition, restore
from ems_streams.kafka.engine import BatchAgent, Fold
from ems_streams.kafka.fetched_records import use_source_records
from ems_streams.kafka.partition_state import CompletionError
from ems_streams.kafka.range_reader import positioned_consumer, read_ranges
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.transactions import FencedError, PartitionWriter
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.replay.registry import replay_of
from ems_streams.replay.shadow import ShadowPartition
from ems_streams.replay.source import replayed
from ems_streams.replay.topics import backfill_topic, replay_application_id
from ems_streams.settings import Settings
from ems_streams.windowing import window_policy
from tables.device_aggregates import QUARTER_MARK, Record, state_of

log = structlog.get_logger(__name__)

COMMIT_INTERVAL_S = 2.0
CLOSED_AT_ONCE = 500
"""Devices whose windows are closed in one transaction at the end."""

OnProgress = Callable[[int], None]
"""Called with the number of offsets that are done in all partitions of this run."""


class TakenOverError(EmsError):
    """Another process runs these partitions now."""

    def __init__(self, name: str) -> None:
        super().__init__(f"replay {name}: another process has taken it over")


def replay_settings(settings: Settings, definition: ReplayDefinition) -> Settings:
    """Settings of the live system, with the names and the directory of a replay."""
    changes: dict[str, object] = {
        "application_id": replay_application_id(definition.application_id, definition.name),
        # One of the same name that was made later must not find the state of this one.
        "worker_id": f"replay-{definition.name}-{to_epoch_ms(definition.created_at)}",
    }
    if definition.horizon_ms is not None:
        changes["correction_horizon_s"] = definition.horizon_ms / 1000
    return settings.model_copy(update=changes)


class Runner:
    """One run of some partitions of a replay, until all of them are finished.

    Args:
        settings: Of the live system.
        definition: What to replay.
        partitions: Which of its partitions.
        on_progress: Told now and then how far all of them are.
    """

    def __init__(self, settings: Settings, definition: ReplayDefinition, partitions: Iterable[int], on_progress: OnProgress) -> None:
        self._settings = replay_settings(settings, definition)
        self._live_settings = settings
        self._definition = definition
        self._partitions = sorted(partitions)
        self._on_progress = on_progress
        self._policy = window_policy(self._settings)
        self._careful = CarefulFold()
        self._states: dict[int, ShadowPartition] = {}
        self._committed_s = time.monotonic()

    async def run(self) -> None:
        """Return when everything is read and closed; raises `EmsError`, after which another run goes on from the last commit."""
        definition = self._definition
        backfill = backfill_topic(definition.application_id, definition.name)
        use_source_records(frozenset({definition.topic, backfill}))
        writers: list[PartitionWriter] = []
        try:
            agent = await self._open(writers)
            fold = replayed(agent.fold, definition)
            async with positioned_consumer(self._settings, records_max=None) as consumer:
                for topic, offsets in ((definition.topic, definition.offsets), (backfill, definition.backfill_offsets)):
                    while not await self._read(consumer, fold, topic, offsets):
                        log.info("replay_reads_again", topic=topic)
            for state in self._states.values():
                await self._close(agent, state)
        except FencedError:
            raise TakenOverError(definition.name) from None
        finally:
            await asyncio.gather(*(writer.close() for writer in writers), return_exceptions=True)

    async def _open(self, writers: list[PartitionWriter]) -> BatchAgent[Record]:
        """Fence who ran these partitions before, and recover them."""
        settings = self._settings
        settings.worker_data_dir.mkdir(parents=True, exist_ok=True)
        table = tables.device_aggregates.declare(WorkerApp(settings), settings.partitions)
        agent = aggregates.agent(table, settings)
        for partition in self._partitions:
            await table.store.open_partition(partition)
            writers.append(await PartitionWriter.open(settings, f"{settings.application_id}-{agent.name}-{partition}"))
        await restore(settings, [ChangelogPartition(table.changelog, each, table.store, table.codec.decode) for each in self._partitions])
        # Only now: who was fenced may have been in a commit.
        progress = (await replay_of(self._live_settings, self._definition.name)).progress
        for partition, writer in zip(self._partitions, writers, strict=True):
            self._states[partition] = ShadowPartition(
                partition,
                definition=self._definition,
                progress=progress.get(partition, ReplayProgress()),
                epoch=0,
                changelog=table.changelog,
                codec=table.codec,
                store=table.store,
                writer=writer,
                complete=agent.complete,
            )
        return agent

    async def _read(self, consumer: AIOKafkaConsumer, fold: Fold[Record], topic: str, offsets: Offsets) -> bool:
        """Fold what is left of a topic's range; False when a fold failed and what was in memory has to be read again."""
        ranges = {
            TopicPartition(topic, partition): (max(offsets[partition][0], state.positions.get(topic, -1) + 1), offsets[partition][1])
            for partition, state in self._states.items()
            if partition in offsets and not state.finished
        }
        async with aclosing(read_ranges(consumer, ranges)) as found:
            async for tp, records in found:
                state = self._states[tp.partition]
                if not await self._take(fold, state, RecordBatch(topic, tp.partition, records, 0)):
                    return False
                state.read = self._offsets_done(state.partition, state.positions)
                self._on_progress(self.read)
                if time.monotonic() - self._committed_s > COMMIT_INTERVAL_S and not await self._commit():
                    return False
        return await self._commit()

    async def _take(self, fold: Fold[Record], state: ShadowPartition, batch: RecordBatch) -> bool:
        start = batch.after(state.positions.get(batch.topic, -1))
        if start == len(batch):
            return True
        if self._careful.applies_to(state, time.monotonic()):
            await self._careful.fold(aggregates.NAME, fold, batch, start, state)
            return True
        try:
            fold_part(fold, batch, start, state)
        except StateCodecError:
            raise
        except Exception as error:  # noqa: BLE001 - as in live: the record it was at is looked for and put aside
            self._begin_again(state, error)
            return False
        return True

    async def _commit(self) -> bool:
        """Make all partitions durable; False when what folds had left to be done failed in one of them."""
        states = list(self._states.values())
        results = await asyncio.gather(*(state.commit() for state in states), return_exceptions=True)
        self._committed_s = time.monotonic()
        failed = [(state, result) for state, result in zip(states, results, strict=True) if isinstance(result, BaseException)]
        for _, error in failed:
            if not isinstance(error, CompletionError):
                raise error
        for state, error in failed:
            self._begin_again(state, error)
        return not failed

    def _begin_again(self, state: ShadowPartition, error: BaseException) -> None:
        log.warning("replay_fold_failed", partition=state.partition, error=repr(error.__cause__ or error))
        state.rollback()
        self._careful.begin(state, time.monotonic())

    async def _close(self, agent: BatchAgent[Record], state: ShadowPartition) -> None:
        """Close every window of the range, a few devices at a time; begun again after a crash, it does what is left."""
        if state.finished:
            return
        store = agent.table.store
        keys = [key for key, _ in store.items_raw(state.partition) if key[:1] > QUARTER_MARK]
        for first in range(0, len(keys), CLOSED_AT_ONCE):
            for key in keys[first : first + CLOSED_AT_ONCE]:
                device = state_of(state, key)
                if device is not None and close_up_to(device, self._definition.to_ms, self._policy):
                    state.put(key, device)
                    state.mark(key)
            await state.commit()
        state.finished, state.read = True, self._offsets_of(state.partition)
        await state.commit()
        self._on_progress(self.read)

    @property
    def read(self) -> int:
        """Offsets that are done in all partitions of this run."""
        return sum(state.read for state in self._states.values())

    def _ranges_of(self, partition: int) -> Sequence[tuple[str, tuple[int, int]]]:
        definition = self._definition
        backfill = backfill_topic(definition.application_id, definition.name)
        sources = ((definition.topic, definition.offsets), (backfill, definition.backfill_offsets))
        return [(topic, offsets[partition]) for topic, offsets in sources if partition in offsets]

    def _offsets_of(self, partition: int) -> int:
        return sum(end - start for _, (start, end) in self._ranges_of(partition))

    def _offsets_done(self, partition: int, positions: Mapping[str, int]) -> int:
        return sum(min(max(positions.get(topic, -1) + 1 - start, 0), end - start) for topic, (start, end) in self._ranges_of(partition))
