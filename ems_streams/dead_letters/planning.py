"""What a redrive is to do: put down before it begins, and tried without writing anything."""

import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from aiokafka import AIOKafkaConsumer

from ems_streams.dead_letters.reader import check_topic, letter_at, ranges_of
from ems_streams.dead_letters.resolve import Verdict
from ems_streams.dead_letters.resolving import reading
from ems_streams.dead_letters.state import read_state
from ems_streams.domain.letter import Letter, LetterId
from ems_streams.domain.letter_edit import Edit
from ems_streams.domain.letter_filter import LetterFilter
from ems_streams.domain.redrives import REPLAYS_MAX, DoneIndex, Outcome, RedriveDefinition
from ems_streams.kafka.range_reader import positioned_consumer
from ems_streams.settings import Settings

EXAMPLES_MAX: Final = 200
IDS_LOOKED_UP: Final = 20


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

    def add(self, letter_id: LetterId, verdict: Verdict) -> None:
        """Take in what would become of a letter."""
        self.outcomes[verdict.outcome] += 1
        if verdict.outcome is Outcome.REFUSED:
            self.reasons[verdict.reason] += 1
        self.still_malformed += verdict.outcome is Outcome.SENT and bool(verdict.detail)
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append((letter_id, replace(verdict, outputs=())))


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
    check_topic(topic)
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
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> Plan:
    """Decide about every letter and write nothing.

    Args:
        deadline_s: After so many seconds the plan is given as it is then.
        on_progress: Is told how many offsets are done, and of how many.
    """
    found = Plan()
    until_s = None if deadline_s is None else time.monotonic() + deadline_s
    done = (await read_state(settings)).done_of(definition.topic)
    seen = 0
    async with reading(settings, definition, definition.ranges) as (pieces, resolving):
        async for letters in pieces:
            for letter, verdict in await resolving.verdicts(letters, done):
                found.add(letter.letter_id, verdict)
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
    async with reading(settings, definition, definition.ranges) as (_, resolving):
        return (await resolving.verdicts([letter], DoneIndex()))[0][1]
