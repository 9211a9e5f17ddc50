"""Sending dead letters back: what is sent, that it is done, and how far the redrive is are one Kafka transaction.

So a redrive that is killed goes on without sending anything twice, and two that are about the same letters do not send both: the
transactional id is that of the dead letter topic, so that whoever begins fences the one before, and reads what that one has done.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from aiokafka.errors import KafkaError

from ems_streams.dead_letters.resolve import Verdict
from ems_streams.dead_letters.resolving import LETTERS_AT_ONCE, Resolving, reading
from ems_streams.dead_letters.state import TARGET, definition_record, progress_records, read_state
from ems_streams.domain.letter import Letter
from ems_streams.domain.redrives import DEALT_WITH, DoneIndex, DoneLetters, Outcome, Redrive, merged, runs_of
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.errors import DependencyError, EmsError
from ems_streams.kafka.batching import KeyValue
from ems_streams.kafka.refusals import unreachable
from ems_streams.kafka.transactions import CommitError, FencedError, PartitionWriter
from ems_streams.settings import Settings

BYTES_AT_ONCE: Final = 4 * 1024 * 1024
"""So much goes into one transaction, and one letter at least."""

OnProgress = Callable[[int, int], None]
"""Offsets done, and of how many."""


class TakenOverError(EmsError):
    """Another redrive of the same topic has begun meanwhile, and goes on with what is left."""


async def run(settings: Settings, redrive: Redrive, on_progress: OnProgress = lambda *_: None) -> Redrive:
    """Do what is left of a redrive; gives it as it is then. Safe to be killed at any moment, and to be done again.

    Raises `TakenOverError`, and `DependencyError` when Kafka does not take a transaction; what was done stays done.
    """
    definition = redrive.definition
    try:
        writer = await PartitionWriter.open(settings, f"{settings.application_id}-redrive-{definition.topic}")
    except (KafkaError, OSError, TimeoutError):
        raise unreachable(settings) from None
    try:
        # Only now is nobody left who could change it.
        state = await read_state(settings)
        redrive = state.redrives.get(definition.redrive_id, Redrive(definition))
        work = _Run(writer, redrive, state.done_of(definition.topic), on_progress)
        await work.begin()
        left = {partition: (redrive.next_offset(partition), end) for partition, (_, end) in definition.ranges.items()}
        async with reading(settings, definition, left) as (pieces, resolving):
            async for letters in pieces:
                await work.take(letters, resolving)
        await work.end()
        return redrive
    except FencedError:
        raise TakenOverError(
            f"redrive {definition.redrive_id}: another redrive of {definition.topic} has begun; go on with --resume"
        ) from None
    except CommitError as error:
        raise DependencyError(
            f"redrive {definition.redrive_id}: Kafka did not take a transaction ({error}); go on with --resume {definition.redrive_id}"
        ) from None
    finally:
        await writer.close()


class _Run:
    """One run of a redrive, from where it is to its end."""

    def __init__(self, writer: PartitionWriter, redrive: Redrive, done: DoneIndex, on_progress: OnProgress) -> None:
        self._writer = writer
        self._redrive = redrive
        self._definition = redrive.definition
        self._done = done
        self._on_progress = on_progress
        self._began_s = time.monotonic()
        self._dealt_with = 0

    async def begin(self) -> None:
        """Make known what is about to be done."""
        if not self._redrive.progress:
            await self._writer.commit({TARGET: [definition_record(self._definition)]})
        self._tell()

    async def take(self, letters: Sequence[Letter], resolving: Resolving) -> None:
        """Deal with letters of one partition, which come next."""
        for piece in _pieces(letters, self._definition.rate_per_s):
            await self._commit(piece, await resolving.verdicts(piece, self._done))
            await self._keep_the_rate()

    async def end(self) -> None:
        """What is behind the last letter of a partition are markers; after that the redrive is finished."""
        records: list[KeyValue] = []
        for partition, (_, end) in self._definition.ranges.items():
            if self._redrive.next_offset(partition) < end:
                progress = self._redrive.progress[partition] = merged(self._redrive.progress.get(partition), end, {}, {})
                records += progress_records(self._definition, partition, progress, (), end)
        if records:
            await self._writer.commit({TARGET: records})
        self._tell()

    async def _commit(self, piece: Sequence[Letter], verdicts: Sequence[tuple[Letter, Verdict]]) -> None:
        first = piece[0].letter_id
        outcomes = Counter(verdict.outcome for _, verdict in verdicts)
        reasons = Counter(verdict.reason for _, verdict in verdicts if verdict.outcome is Outcome.REFUSED)
        progress = merged(self._redrive.progress.get(first.partition), piece[-1].letter_id.offset + 1, outcomes, reasons)
        outputs: dict[tuple[str, int], list[KeyValue]] = defaultdict(list)
        for _, verdict in verdicts:
            for topic, partition, record in verdict.outputs:
                outputs[topic, partition].append(record)
        done = self._marks(verdicts)
        outputs[TARGET] += progress_records(self._definition, first.partition, progress, done, first.offset)
        await self._writer.commit(outputs)
        self._redrive.progress[first.partition] = progress
        for each in done:
            self._done.add(first.partition, each)
        self._dealt_with += sum(outcomes[outcome] for outcome in DEALT_WITH)
        self._tell()

    def _marks(self, verdicts: Iterable[tuple[Letter, Verdict]]) -> list[DoneLetters]:
        offsets: dict[Outcome, list[int]] = defaultdict(list)
        latest_ms = 0
        for letter, verdict in verdicts:
            if verdict.outcome in DEALT_WITH:
                offsets[verdict.outcome].append(letter.letter_id.offset)
                latest_ms = max(latest_ms, letter.timestamp_ms)
        if not offsets:
            return []
        runs = {outcome: runs_of(found) for outcome, found in offsets.items()}
        now_ms = to_epoch_ms(datetime.now(UTC))
        return [DoneLetters(redrive_id=self._definition.redrive_id, at_ms=now_ms, latest_ms=latest_ms, runs=runs)]

    async def _keep_the_rate(self) -> None:
        if self._definition.rate_per_s is not None:
            await asyncio.sleep(max(0.0, self._began_s + self._dealt_with / self._definition.rate_per_s - time.monotonic()))

    def _tell(self) -> None:
        self._on_progress(self._redrive.offsets_done, self._definition.offsets_total)


def _pieces(letters: Sequence[Letter], rate_per_s: float | None) -> Iterator[list[Letter]]:
    """Letters in parts that fit into a transaction; with a rate, what goes in about a second."""
    most = LETTERS_AT_ONCE if rate_per_s is None else max(1, min(LETTERS_AT_ONCE, int(rate_per_s)))
    piece: list[Letter] = []
    size = 0
    for letter in letters:
        if piece and (len(piece) >= most or size + letter.size > BYTES_AT_ONCE):
            yield piece
            piece, size = [], 0
        piece.append(letter)
        size += letter.size
    if piece:
        yield piece
