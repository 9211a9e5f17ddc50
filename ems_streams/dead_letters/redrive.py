"""Sending dead letters back: what is sent, that it is done, and how far the redrive is are one Kafka transaction.

So a redrive that is killed goes on without sending anything twice, and two that are about the same letters do not send both: the
transactional id is that of the dead letter topic, so that whoever begins fences the one before, and reads what that one has done.
"""

import asyncio
import contextlib
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from ems_streams.dead_letters.reader import is_dead_letter_topic, letter_at, ranges_of, scan
from ems_streams.dead_letters.resolve import Resolver, Verdict
from ems_streams.dead_letters.state import TARGET, definition_record, progress_records, read_state
from ems_streams.domain.letter import Letter, LetterId
from ems_streams.domain.letter_edit import Edit
from ems_streams.domain.letter_filter import LetterFilter
from ems_streams.domain.redrives import (
    DEALT_WITH,
    REPLAYS_MAX,
    DoneIndex,
    DoneLetters,
    Outcome,
    Redrive,
    RedriveDefinition,
    merged,
    runs_of,
)
from ems_streams.domain.registry import Directory
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.errors import DependencyError, EmsError, UsageError
from ems_streams.kafka.admin import catalogue_of, unreachable
from ems_streams.kafka.batching import KeyValue
from ems_streams.kafka.catalogue import DLT_SUFFIX, QUARANTINE
from ems_streams.kafka.range_reader import positioned_consumer, read_ranges, whole
from ems_streams.kafka.registry import RegistryView
from ems_streams.kafka.transactions import CommitError, FencedError, PartitionWriter
from ems_streams.settings import Settings

LETTERS_AT_ONCE: Final = 500
BYTES_AT_ONCE: Final = 4 * 1024 * 1024
"""So much goes into one transaction, and one letter at least."""
EXAMPLES_MAX: Final = 200
IDS_LOOKED_UP: Final = 20

OnProgress = Callable[[int, int], None]
"""Offsets done, and of how many."""


class TakenOverError(EmsError):
    """Another redrive of the same topic has begun meanwhile, and goes on with what is left."""


@dataclass(slots=True)
class Plan:
    """What a redrive would do.

    Attributes:
        outcomes: How many letters would have which outcome.
        reasons: How many would be refused for which reason.
        still_malformed: How many would be sent although their readers will find them malformed again.
        examples: Some letters with their verdicts.
        complete: Whether all letters were looked at.
    """

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    still_malformed: int = 0
    examples: list[tuple[LetterId, Verdict]] = field(default_factory=list)
    complete: bool = True


async def prepare(
    settings: Settings,
    topic: str,
    *,
    chosen: LetterFilter | None = None,
    ids: Sequence[LetterId] | None = None,
    edit: Edit | None = None,
    edits: Mapping[str, Edit] | None = None,
    max_replays: int = REPLAYS_MAX,
    rate_per_s: float | None = None,
    again: bool = False,
) -> RedriveDefinition:
    """What is to be done, with the end of the topic as of now: letters that fail again are not met again.

    Raises `UsageError`, `NoSuchLetterError` for an id that is not there, and other `EmsError`.
    """
    if not is_dead_letter_topic(topic):
        raise UsageError(f"{topic!r}: expected a topic of dead letters; `ems-streams dlt list` shows them")
    for each in (edit or Edit(), *(edits or {}).values()):
        each.check()
    async with positioned_consumer(settings) as consumer:
        ranges = await ranges_of(consumer, topic)
        if ids is not None:
            await _check_ids(consumer, ids, ranges)
            ranges = _around(ids)
    return RedriveDefinition(
        redrive_id=f"rd-{uuid.uuid4().hex[:10]}",
        topic=topic,
        chosen=chosen or LetterFilter(),
        ids=None if ids is None else tuple((each.partition, each.offset) for each in ids),
        edit=edit or Edit(),
        edits=dict(edits or {}),
        max_replays=max_replays,
        rate_per_s=rate_per_s,
        again=again,
        ranges=ranges,
        created_at=datetime.now(UTC).replace(microsecond=0),
    )


async def _check_ids(consumer: AIOKafkaConsumer, ids: Sequence[LetterId], ranges: Mapping[int, tuple[int, int]]) -> None:
    """Raises `NoSuchLetterError`; of many ids only those are looked up that cannot be there."""
    for letter_id in ids:
        start, end = ranges.get(letter_id.partition, (0, 0))
        if len(ids) <= IDS_LOOKED_UP or not start <= letter_id.offset < end:
            await letter_at(consumer, letter_id)


def _around(ids: Iterable[LetterId]) -> dict[int, tuple[int, int]]:
    offsets: dict[int, list[int]] = defaultdict(list)
    for each in ids:
        offsets[each.partition].append(each.offset)
    return {partition: (min(found), max(found) + 1) for partition, found in offsets.items()}


async def plan(
    settings: Settings,
    definition: RedriveDefinition,
    *,
    deadline_s: float | None = None,
    on_progress: OnProgress = lambda *_: None,
    on_verdict: Callable[[LetterId, Verdict], None] | None = None,
) -> Plan:
    """Decide about every letter and write nothing.

    Args:
        deadline_s: After so many seconds the plan is given as it is then.
        on_verdict: Is told of each letter.
    """
    found = Plan()
    until_s = None if deadline_s is None else time.monotonic() + deadline_s
    done = (await read_state(settings)).done_of(definition.topic)
    seen = 0
    async with _reading(settings, definition, definition.ranges) as (pieces, resolving):
        async for letters in pieces:
            for letter, verdict in await resolving.verdicts(letters, done):
                found.outcomes[verdict.outcome] += 1
                if verdict.outcome is Outcome.REFUSED:
                    found.reasons[verdict.reason] += 1
                found.still_malformed += verdict.outcome is Outcome.SENT and bool(verdict.detail)
                if len(found.examples) < EXAMPLES_MAX:
                    found.examples.append((letter.letter_id, replace(verdict, outputs=())))
                if on_verdict is not None:
                    on_verdict(letter.letter_id, verdict)
            seen += len(letters)
            on_progress(seen, definition.offsets_total)
            if until_s is not None and time.monotonic() > until_s:
                found.complete = False
                break
    return found


async def plan_of(settings: Settings, letter: Letter, edit: Edit | None = None) -> Verdict:
    """What a redrive would do with one letter if nobody had dealt with it yet; raises `EmsError`."""
    place = letter.letter_id
    definition = RedriveDefinition(
        redrive_id="rd-0000",
        topic=place.topic,
        edit=edit or Edit(),
        again=True,
        ranges={place.partition: (place.offset, place.offset)},
        created_at=datetime.now(UTC),
    )
    async with _reading(settings, definition, definition.ranges) as (_, resolving):
        return (await resolving.verdicts([letter], DoneIndex()))[0][1]


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
        async with _reading(settings, definition, left) as (pieces, resolving):
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


class _Resolving:
    """Verdicts for letters, with the registry read when the first letter from MQTT comes."""

    def __init__(self, settings: Settings, definition: RedriveDefinition, resolver: Resolver) -> None:
        self._settings = settings
        self._definition = definition
        self._resolver = resolver
        self._registry: RegistryView | None = None

    async def verdicts(self, letters: Iterable[Letter], done: DoneIndex) -> list[tuple[Letter, Verdict]]:
        """Of the letters that the redrive is about, in their order."""
        wanted = [letter for letter in letters if self._definition.wants(letter)]
        if self._resolver.directory is None and any(letter.failure.from_mqtt for letter in wanted):
            self._registry = RegistryView(self._settings)
            await self._registry.start()
            self._resolver.directory = Directory(self._registry, provision_unknown=self._settings.unknown_devices == "provision")
        return [(letter, self._resolver.resolve(letter, self._definition, done.of(letter))) for letter in wanted]

    async def close(self) -> None:
        """Stop following the registry."""
        if self._registry is not None:
            await self._registry.stop()


@contextlib.asynccontextmanager
async def _reading(
    settings: Settings, definition: RedriveDefinition, ranges: Mapping[int, tuple[int, int]]
) -> AsyncIterator[tuple[AsyncIterator[list[Letter]], _Resolving]]:
    async with positioned_consumer(settings, records_max=LETTERS_AT_ONCE) as consumer:
        cluster = await consumer._client.fetch_all_metadata()
        partitions = {name: len(cluster.partitions_for_topic(name) or ()) for name in cluster.topics()}
        newest = await _newest(consumer, settings, definition.topic, partitions)
        # What was purged meanwhile is not there any more.
        there = await ranges_of(consumer, definition.topic)
        left = {
            number: (max(start, there[number][0]), min(end, there[number][1])) for number, (start, end) in ranges.items() if number in there
        }
        resolving = _Resolving(settings, definition, Resolver(catalogue_of(settings), partitions, newest, None))
        try:
            async with contextlib.aclosing(scan(consumer, definition.topic, left, None)) as pieces:
                yield pieces, resolving
        finally:
            await resolving.close()


async def _newest(
    consumer: AIOKafkaConsumer, settings: Settings, topic: str, partitions: Mapping[str, int]
) -> dict[tuple[str, int, bytes], int]:
    """The last offset of every key of the compacted topics that letters of a topic may come from."""
    catalogue = catalogue_of(settings)
    origins = [each.name for each in catalogue if each.compacted and each.name + DLT_SUFFIX in catalogue]
    if topic != QUARANTINE:
        origins = [name for name in origins if name + DLT_SUFFIX == topic]
    newest: dict[tuple[str, int, bytes], int] = {}
    for name in origins:
        if name in partitions:
            async for tp, records in read_ranges(consumer, await whole(consumer, name)):
                newest.update({(name, tp.partition, record.key or b""): record.offset for record in records})
    return newest


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

    async def take(self, letters: Sequence[Letter], resolving: _Resolving) -> None:
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
        for letter, verdict in verdicts:
            if verdict.outcome in DEALT_WITH:
                offsets[verdict.outcome].append(letter.letter_id.offset)
        runs = {outcome: runs_of(found) for outcome, found in offsets.items()}
        now_ms = to_epoch_ms(datetime.now(UTC))
        return [DoneLetters(redrive_id=self._definition.redrive_id, at_ms=now_ms, runs=runs)] if runs else []

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
