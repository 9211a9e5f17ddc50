"""The batch engine: hands record batches to folds, commits by interval, and owns every table partition of this worker.

The rules that must always hold are in ARCHITECTURE.md. In short: a record is folded once (its offset is behind the stored
position, or it is skipped); nothing is committable in the consumer group before it is durable in a changelog; any failure to
commit ends the process, and what was in memory only is replayed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import structlog
from aiokafka import TopicPartition
from faust.types import TP, EventT

from ems_streams.domain.circuit_breaker import BreakerState, CircuitBreaker
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.kafka.agent_meters import AgentMeters
from ems_streams.kafka.careful_fold import CarefulFold, fold_part
from ems_streams.kafka.changelog import ChangelogPartition, check_positions, follow, restore
from ems_streams.kafka.commit_troubles import CommitTroubles
from ems_streams.kafka.partition_state import CompletionError, PartitionState
from ems_streams.kafka.read_ahead import read_ahead
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.state_table import StateTable
from ems_streams.kafka.transactions import CommitError, PartitionWriter
from ems_streams.metrics.worker import RECOVERED_RECORDS
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

S = TypeVar("S")

COMMIT_GAP_S = 0.02
"""Shortest time between two commits of a partition, so that transactions carry more than one record each under load."""

FLUSH_TIMEOUT_S = 5.0
CANCEL_AGAIN_S = 1.0

Fold = Callable[[RecordBatch, int, PartitionState[S]], None]
"""`fold(batch, start, partition)`: fold the records from index `start` into the states of the partition. Synchronous, pure but for `partition`."""

Complete = Callable[[PartitionState[S], Iterable[bytes]], None]
"""`complete(partition, keys)`: what a fold leaves to be done once before a commit. Synchronous, pure but for `partition`."""

Service = Callable[[PartitionState[S]], Coroutine[Any, Any, None]]
"""`service(partition)`: runs while the partition is open, and is cancelled when it is given up. What it changes it commits itself, and it lets `CommitError` through."""


@dataclass(frozen=True, slots=True)
class BatchAgent(Generic[S]):
    """What the engine knows of an agent.

    Attributes:
        name: Name of the agent; together with the partition it makes the transactional id.
        sources: Topics that it reads, all with the table's partition count.
        table: The table that it alone writes.
        commit_interval_s: Longest time that changes stay in memory only when nothing is published.
        complete: What the fold leaves to be done once before a commit, for the keys that it marked.
        service: What has to do with the world outside of Kafka, for as long as a partition is ours. Replays have none.
        read_first: Those of the sources that are read to their end before the others, whenever a partition is taken over.
    """

    name: str
    sources: tuple[str, ...]
    table: StateTable[S]
    fold: Fold[S]
    commit_interval_s: float
    complete: Complete[S] | None = None
    service: Service[S] | None = None
    read_first: tuple[str, ...] = ()


class Engine:
    """All batch agents of one worker process.

    Args:
        fail: Called with the error when something is wrong that no retry mends; must end the process.
        restart: Called when what is in memory is void: Kafka did not take a commit, or a fold failed; must stop the flow and recover
            every partition again.

    Attributes:
        recovered_records: Records applied in all recoveries so far; grows while one makes progress.
        epoch: Counts the times that all partitions were given up; what was delivered in an earlier one is void.
        breaker: Open while Kafka does not take commits or cannot be recovered from.
        troubles: Partitions whose commits fail although recoveries succeed.
    """

    def __init__(self, settings: Settings, *, fail: Callable[[BaseException], Awaitable[None]], restart: Callable[[], None]) -> None:
        self._settings = settings
        self._fail = fail
        self._restart = restart
        self.epoch = 0
        self.recovered_records = 0
        self.breaker = CircuitBreaker()
        self.troubles = CommitTroubles()
        self.agents: dict[str, BatchAgent[Any]] = {}
        self._meters: dict[str, AgentMeters] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: asyncio.Future[None] | None = None
        self._careful = CarefulFold()

    def add(self, agent: BatchAgent[Any]) -> None:
        """Register an agent; before the worker starts. No two of them may read the same topic first."""
        self.agents[agent.name] = agent
        self._meters[agent.name] = AgentMeters(agent.name)

    @property
    def source_topics(self) -> frozenset[str]:
        """Topics whose records come as batches and whose offsets the engine decides on."""
        return frozenset(topic for agent in self.agents.values() for topic in agent.sources)

    async def process(self, agent: BatchAgent[S], event: EventT[Any]) -> None:
        """Fold one batch; returns when it is in memory, not when it is durable.

        A batch of an earlier epoch, or of a partition that is gone, is dropped: whoever owns the partition gets the records again.
        """
        batch = cast(RecordBatch, event.value)
        partition = agent.table.partitions.get(batch.partition)
        if partition is None or partition.epoch != batch.epoch:
            return
        await partition.wait_until_complete()
        start = batch.after(partition.positions.get(batch.topic, -1))
        try:
            if start < len(batch):
                await self._fold(agent, batch, start, partition)
            if partition.overloaded:
                await partition.commit()
        except CommitError as error:
            if partition.epoch == self.epoch:  # otherwise it was given up while it was being folded
                await self._lost(agent, partition, error)
        except CompletionError as error:
            self._start_over_carefully(agent, partition, error.__cause__ or error)
        except Exception as error:
            log.error("agent_failed", agent=agent.name, topic=batch.topic, partition=batch.partition, error=repr(error))
            await self._fail(error)
            raise

    async def _fold(self, agent: BatchAgent[S], batch: RecordBatch, start: int, partition: PartitionState[S]) -> None:
        """Fold at full speed; what fails is folded again from the last commit on, carefully."""
        began_s = time.perf_counter()
        if self._careful.applies_to(partition, time.monotonic()):
            await self._careful.fold(agent.name, agent.fold, batch, start, partition)
            self._meters[agent.name].folded(batch, start, began_s)
            return
        try:
            fold_part(agent.fold, batch, start, partition)
        except StateCodecError:
            raise  # damage to what is stored, and no fault of the record
        except Exception as error:  # noqa: BLE001 - whatever a fold raises, the record it was at is looked for and put aside
            self._start_over_carefully(agent, partition, error)
        else:
            self._meters[agent.name].folded(batch, start, began_s)

    def _start_over_carefully(self, agent: BatchAgent[S], partition: PartitionState[S], error: BaseException) -> None:
        """A state may be half changed, and others are in memory only: recover from the last commit, and find the record at fault."""
        partition.abandon()
        self._careful.begin(partition, time.monotonic())
        self._meters[agent.name].fold_failures.inc()
        log.warning("fold_failed", agent=agent.name, partition=partition.partition, error=repr(error))
        self._restart()

    def start_offset(self, tp: TP) -> int | None:
        """Where a source partition has to be read from: behind what all its agents have durable; None when they have nothing."""
        positions = [
            partition.durable_positions.get(tp.topic, -1) if (partition := agent.table.partitions.get(tp.partition)) else -1
            for agent in self.agents.values()
            if tp.topic in agent.sources
        ]
        return min(positions) + 1 if positions and min(positions) >= 0 else None

    def committable(self) -> dict[TP, int]:
        """Next offset of every source partition of which something is durable, for the consumer group."""
        offsets = {}
        for tp in {
            TP(topic, partition) for agent in self.agents.values() for topic in agent.sources for partition in agent.table.partitions
        }:
            offset = self.start_offset(tp)
            if offset is not None:
                offsets[tp] = offset
        return offsets

    def missing_partitions(self, assigned: Iterable[TP]) -> set[TP]:
        """Changelog partitions that are assigned to this worker and not open yet."""
        tables = {agent.table.changelog: agent.table for agent in self.agents.values()}
        return {tp for tp in assigned if tp.topic in tables and tp.partition not in tables[tp.topic].partitions}

    async def open_partitions(self, changelog_tps: Iterable[TP], generation: int) -> None:
        """Take over table partitions: fence their former owners, recover them, and start committing.

        Raises whatever goes wrong; a partition is either open and complete or not there at all.
        """
        by_changelog = {agent.table.changelog: agent for agent in self.agents.values()}
        wanted = [(by_changelog[tp.topic], tp.partition) for tp in changelog_tps if tp.topic in by_changelog]
        self.troubles.keep(_place(agent, partition) for agent, partition in wanted)
        started_s = time.monotonic()
        for agent, partition in wanted:
            # Before anybody is fenced: a store that another process has open ends this one.
            await agent.table.store.open_partition(partition)
        writers = await self._open_writers(wanted)
        try:
            changelogs = [self._changelog(agent, partition) for agent, partition in wanted]
            records = await restore(self._settings, changelogs, self._count_recovered)
            states = [self._state(agent, partition, writer) for (agent, partition), writer in zip(wanted, writers, strict=True)]
            folded = [(TopicPartition(topic, state.partition), offset) for state in states for topic, offset in state.positions.items()]
            await check_positions(self._settings, {tp: max(offset for other, offset in folded if other == tp) for tp, _ in folded})
            await self._read_first([(agent, state) for (agent, _), state in zip(wanted, states, strict=True)])
        except BaseException:
            await asyncio.gather(*(writer.close() for writer in writers), return_exceptions=True)
            raise
        for (agent, _), state in zip(wanted, states, strict=True):
            self._open(agent, state)
        log.info("recovered", partitions=len(wanted), records=records, generation=generation, took_s=round(time.monotonic() - started_s, 2))

    async def _read_first(self, taken: Sequence[tuple[BatchAgent[Any], PartitionState[Any]]]) -> None:
        """Fold what agents have to know before anything else, such as rules, into partitions that nobody else has yet.

        What comes of it once more is skipped by its position. Where a fold fails it comes again, and is folded carefully then.
        """
        readers = {TopicPartition(topic, state.partition): (agent, state) for agent, state in taken for topic in agent.read_first}
        positions = {tp: state.positions.get(tp.topic, -1) for tp, (_, state) in readers.items()}
        async with aclosing(read_ahead(self._settings, positions)) as ahead:
            async for tp, records in ahead:
                if (reader := readers.get(tp)) is not None and not self._folds_ahead(
                    *reader, RecordBatch(tp.topic, tp.partition, records, self.epoch)
                ):
                    del readers[tp]

    def _folds_ahead(self, agent: BatchAgent[S], state: PartitionState[S], batch: RecordBatch) -> bool:
        try:
            fold_part(agent.fold, batch, 0, state)
        except StateCodecError:
            raise
        except Exception as error:  # noqa: BLE001 - as in `_fold`
            log.warning("fold_failed", agent=agent.name, partition=state.partition, error=repr(error))
            state.rollback()
            self._careful.begin(state, time.monotonic())
            return False
        return True

    def follow_standbys(self, changelog_tps: Iterable[TP]) -> None:
        """Keep warm copies of other workers' partitions, until the next `close_partitions`."""
        agents = {agent.table.changelog: agent for agent in self.agents.values()}
        wanted = [self._changelog(agents[tp.topic], tp.partition) for tp in changelog_tps if tp.topic in agents]
        if wanted:
            self._spawn(follow(self._settings, wanted), name="standbys")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task_failed", task=task.get_name(), error=repr(error))
            self._ending = asyncio.ensure_future(self._fail(error))

    def _count_recovered(self, records: int) -> None:
        self.recovered_records += records
        RECOVERED_RECORDS.inc(records)

    def _changelog(self, agent: BatchAgent[Any], partition: int) -> ChangelogPartition:
        return ChangelogPartition(agent.table.changelog, partition, agent.table.store, agent.table.codec.decode)

    async def _open_writers(self, wanted: list[tuple[BatchAgent[Any], int]]) -> list[PartitionWriter]:
        opened = await asyncio.gather(
            *(PartitionWriter.open(self._settings, self._transactional_id(agent, partition)) for agent, partition in wanted),
            return_exceptions=True,
        )
        writers = [writer for writer in opened if isinstance(writer, PartitionWriter)]
        for failure in opened:
            if isinstance(failure, BaseException):
                await asyncio.gather(*(writer.close() for writer in writers), return_exceptions=True)
                raise failure
        return writers

    def _transactional_id(self, agent: BatchAgent[Any], partition: int) -> str:
        return f"{self._settings.application_id}-{agent.name}-{partition}"

    def _state(self, agent: BatchAgent[S], partition: int, writer: PartitionWriter) -> PartitionState[S]:
        place, meters = _place(agent, partition), self._meters[agent.name]

        def on_commit(*what: Any) -> None:
            self.troubles.succeeded(place)
            meters.committed(*what)

        return PartitionState(
            partition,
            epoch=self.epoch,
            changelog=agent.table.changelog,
            codec=agent.table.codec,
            store=agent.table.store,
            writer=writer,
            complete=agent.complete,
            on_commit=on_commit,
            shared_by=lambda: len(agent.table.partitions),
        )

    def _open(self, agent: BatchAgent[Any], state: PartitionState[Any]) -> None:
        agent.table.partitions[state.partition] = state
        self._spawn(self._commit_loop(agent, state), name=f"commit-{agent.name}-{state.partition}")
        if agent.service is not None:
            self._spawn(self._serve(agent, agent.service, state), name=f"service-{agent.name}-{state.partition}")

    async def _serve(self, agent: BatchAgent[Any], service: Service[Any], partition: PartitionState[Any]) -> None:
        """Run what an agent does beside its folds; anything but a lost commit ends the process."""
        try:
            await service(partition)
        except CommitError as error:
            await self._lost(agent, partition, error)

    async def _commit_loop(self, agent: BatchAgent[Any], partition: PartitionState[Any]) -> None:
        """Commit by interval, or soon after something is to be published."""
        while True:
            with suppress(TimeoutError):
                # Not `wait_for`: up to Python 3.11 it swallows a cancellation that comes together with what it waits for.
                async with asyncio.timeout(agent.commit_interval_s):
                    await partition.urgent.wait()
                await asyncio.sleep(max(partition.last_commit_s + COMMIT_GAP_S - time.monotonic(), 0.0))
            try:
                await partition.commit()
            except CommitError as error:
                await self._lost(agent, partition, error)
                return
            except CompletionError as error:
                self._start_over_carefully(agent, partition, error.__cause__ or error)
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the process ends with it
                log.error("commit_failed", agent=agent.name, partition=partition.partition, error=repr(error))
                await self._fail(error)
                return

    async def flush(self) -> None:
        """Make everything durable, within a few seconds; what does not get through is replayed by the next owner."""
        partitions = [partition for agent in self.agents.values() for partition in agent.table.partitions.values()]
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                results = await asyncio.gather(*(partition.commit() for partition in partitions), return_exceptions=True)
        except TimeoutError:
            log.warning("flush_timed_out", partitions=len(partitions), timeout_s=FLUSH_TIMEOUT_S)
            return
        for result in results:
            if isinstance(result, Exception):
                log.warning("flush_failed", error=repr(result))

    async def _lost(self, agent: BatchAgent[Any], partition: PartitionState[Any], error: CommitError) -> None:
        """A transaction did not get through: nothing in memory counts any more, and all is recovered once Kafka is back."""
        self._meters[agent.name].commit_failures.inc()
        self.troubles.failed(_place(agent, partition.partition), str(error))
        if self.breaker.state is BreakerState.CLOSED:
            log.warning("kafka_commit_failed", error=str(error))
            self.breaker.on_failure(time.monotonic(), str(error))
            self._restart()

    async def close_partitions(self) -> None:
        """Give every partition up without committing; used when the assignment changes and at the end."""
        self.epoch += 1
        # The caller may be one of them: a commit loop that has lost its partition ends by itself.
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        await _cancelled(tasks)
        partitions = [partition for agent in self.agents.values() for partition in agent.table.partitions.values()]
        for agent in self.agents.values():
            agent.table.partitions.clear()
        await asyncio.gather(*(partition.close() for partition in partitions), return_exceptions=True)


async def _cancelled(tasks: Collection["asyncio.Task[None]"]) -> None:
    """Return when all of them have ended. Libraries swallow a cancellation now and then: who goes on is cancelled again."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)


def _place(agent: BatchAgent[Any], partition: int) -> str:
    """A partition of an agent, for people."""
    return f"{agent.name}[{partition}]"
