"""Finds the record that an agent cannot process, tries it again, and puts it aside, so that it neither stops the stream nor is lost.

Folds run at full speed on whole batches and keep no copy of what they change. When one fails, its partition is recovered from
what is durable, and from then on, for a while, folded with a commit before every batch: a failure is then undone by a rollback to
that commit, and the record at fault is found by folding one record after the other.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog

from ems_streams.domain.state_codec import StateCodecError
from ems_streams.kafka.dead_letters import publish_failed
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.retries import ATTEMPTS_MAX, attempts
from ems_streams.kafka.transactions import CommitError

log = structlog.get_logger(__name__)

S = TypeVar("S")
Fold = Callable[[RecordBatch, int, PartitionState[S]], None]

CAREFUL_S = 60.0
"""How long a partition is folded carefully after its last failure."""


def fold_part(fold: Fold[S], batch: RecordBatch, start: int, partition: PartitionState[S]) -> None:
    """Fold a batch from index `start` on and move the partition's position behind it."""
    fold(batch, start, partition)
    partition.advance(batch.topic, batch.last_offset)


def _fold_wholly(fold: Fold[S], batch: RecordBatch, partition: PartitionState[S]) -> None:
    """As `fold_part`, with what the fold would leave for later, so that it fails here if it fails."""
    fold_part(fold, batch, 0, partition)
    partition.complete()


class CarefulFold:
    """Folds that survive a failing record, for partitions that had one a short while ago."""

    def __init__(self) -> None:
        self._until_s: dict[tuple[str, int], float] = {}

    def begin(self, partition: PartitionState[Any], now_s: float) -> None:
        """Be careful with a partition from now on; survives that it is recovered."""
        self._until_s[partition.changelog, partition.partition] = now_s + CAREFUL_S

    def applies_to(self, partition: PartitionState[Any], now_s: float) -> bool:
        """Whether a partition has to be folded carefully."""
        return bool(self._until_s) and self._until_s.get((partition.changelog, partition.partition), 0.0) > now_s

    async def fold(self, agent_name: str, fold: Fold[S], batch: RecordBatch, start: int, partition: PartitionState[S]) -> None:
        """Fold a batch; every record of it is then folded once, or in the dead letters and not folded at all.

        Raises `CommitError` when Kafka does not take a commit; whoever owns the partition next starts over at the last one.
        """
        while start < len(batch):
            await partition.commit()
            failed = _first_failing(fold, batch, start, partition)
            if failed is None:
                return
            self.begin(partition, time.monotonic())
            if failed > start:
                _fold_wholly(fold, batch.part(start, failed), partition)
                await partition.commit()
            await _try_again(agent_name, fold, batch.part(failed, failed + 1), partition)
            start = failed + 1


def _first_failing(fold: Fold[S], batch: RecordBatch, start: int, partition: PartitionState[S]) -> int | None:
    """Fold one record after the other; the index of the first that fails, with everything since the last commit undone."""
    for index in range(start, len(batch)):
        try:
            _fold_wholly(fold, batch.part(index, index + 1), partition)
        except StateCodecError:
            raise
        except Exception:  # noqa: BLE001 - it is tried again, and said then
            partition.rollback()
            return index
    return None


async def _try_again(agent_name: str, fold: Fold[S], record: RecordBatch, partition: PartitionState[S]) -> None:
    """Try a single record with growing waits; the last failure puts it into the dead letters."""
    first_failed_at = datetime.now(UTC)
    try:
        async for attempt in attempts():
            # Others may have changed something in the pause; that is not to be undone, and no commit may be under way.
            await partition.commit()
            with attempt:
                try:
                    _fold_wholly(fold, record, partition)
                except BaseException:
                    partition.rollback()
                    raise
    except CommitError:
        raise
    except Exception as error:  # noqa: BLE001 - of the fold, whatever it is
        publish_failed(
            partition, record, record.records[0], error, stage=agent_name, attempts=ATTEMPTS_MAX, first_failed_at=first_failed_at
        )
        partition.advance(record.topic, record.last_offset)
        log.error(
            "record_put_aside",
            agent=agent_name,
            topic=record.topic,
            partition=record.partition,
            offset=record.last_offset,
            attempts=ATTEMPTS_MAX,
            error=repr(error),
        )
