"""A redrive of dead letters: what was asked for, how far it is, and which letters are done, as records of the topic `redrives`."""

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from ems_streams.domain.events import Event, Time
from ems_streams.domain.letter import Letter, LetterId
from ems_streams.domain.letter_edit import Edit
from ems_streams.domain.letter_filter import LetterFilter

REPLAYS_MAX: Final = 3
"""How often a letter is redriven before it goes to the quarantine, unless somebody says otherwise."""
CLOCKS_MS: Final = 5_000
"""So far may the clocks of who puts letters aside and of who redrives them be apart."""

RedriveId = Annotated[str, StringConstraints(pattern=r"^rd-[0-9a-z]{4,32}$")]


class Outcome(StrEnum):
    """What becomes of a letter in a redrive."""

    SENT = "sent"
    """It is on its topic again."""
    FAILED_AGAIN = "failedAgain"
    """What came over MQTT was checked as an ingress does, and is still malformed: it is a dead letter again, with its count."""
    QUARANTINED = "quarantined"
    """It was redriven as often as it may: it is in the quarantine."""
    REFUSED = "refused"
    """It cannot go back; the reason says why. It stays as it is."""
    DONE_BEFORE = "doneBefore"
    """An earlier redrive has dealt with it."""


DEALT_WITH: Final = (Outcome.SENT, Outcome.FAILED_AGAIN, Outcome.QUARANTINED)
"""Outcomes after which a letter is done."""


class RedriveDefinition(Event):
    """What was asked for; never changes, so that who goes on with it goes on with this.

    Attributes:
        topic: The dead letter topic.
        chosen: Only letters of which this holds.
        ids: Only these letters, as (partition, offset); None for all.
        edit: What is changed of every letter.
        edits: What is changed of single ones, by `partition/offset`, in place of `edit`.
        max_replays: A letter that was redriven so often goes to the quarantine.
        rate_per_s: At most so many letters a second; None for as fast as it goes.
        again: Also letters that an earlier redrive has dealt with.
        ranges: Of each partition the first offset and the end: what comes later is not part of it.
    """

    redrive_id: RedriveId
    topic: str
    chosen: LetterFilter = Field(default_factory=LetterFilter)
    ids: tuple[tuple[int, int], ...] | None = None
    edit: Edit = Field(default_factory=Edit)
    edits: dict[str, Edit] = Field(default_factory=dict)
    max_replays: int = Field(default=REPLAYS_MAX, ge=1, le=1000)
    rate_per_s: float | None = Field(default=None, gt=0)
    again: bool = False
    ranges: dict[int, tuple[int, int]] = Field(default_factory=dict)
    created_at: Time

    def wants(self, letter: Letter) -> bool:
        """Whether a letter is part of it."""
        place = (letter.letter_id.partition, letter.letter_id.offset)
        return (self.ids is None or place in self.ids) and self.chosen.matches(letter)

    def edit_of(self, letter_id: LetterId) -> Edit:
        """What is changed of a letter."""
        return self.edits.get(f"{letter_id.partition}/{letter_id.offset}", self.edit)

    @property
    def offsets_total(self) -> int:
        """Offsets to be read."""
        return sum(end - start for start, end in self.ranges.values())


class RedriveProgress(Event):
    """How far a partition is; durable in the transaction of what it counts.

    Attributes:
        next_offset: Of the letters.
        outcomes: How many letters had which outcome.
        reasons: How many were refused for which reason.
    """

    next_offset: int
    outcomes: dict[Outcome, int] = Field(default_factory=dict)
    reasons: dict[str, int] = Field(default_factory=dict)


@dataclass(slots=True)
class Redrive:
    """A redrive as it is; `progress` by partition, of those that have any."""

    definition: RedriveDefinition
    progress: dict[int, RedriveProgress] = field(default_factory=dict)

    def next_offset(self, partition: int) -> int:
        """Where to go on."""
        known = self.progress.get(partition)
        return self.definition.ranges[partition][0] if known is None else known.next_offset

    @property
    def offsets_done(self) -> int:
        """Offsets that were read."""
        return sum(self.next_offset(partition) - start for partition, (start, _) in self.definition.ranges.items())

    @property
    def finished(self) -> bool:
        """Whether every letter of it is dealt with."""
        return all(self.next_offset(partition) >= end for partition, (_, end) in self.definition.ranges.items())

    @property
    def outcomes(self) -> Counter[Outcome]:
        """How many letters had which outcome."""
        return sum((Counter(each.outcomes) for each in self.progress.values()), Counter())

    @property
    def reasons(self) -> Counter[str]:
        """How many letters were refused for which reason."""
        return sum((Counter(each.reasons) for each in self.progress.values()), Counter())


class DoneLetters(Event):
    """Letters of one partition that are done, as runs of offsets, both ends included; one record for each transaction.

    Attributes:
        redrive_id: By which redrive.
        at_ms: When, epoch milliseconds.
        latest_ms: The latest time that one of them has; whoever wrote it may have a clock that is ahead.
        runs: By outcome.
    """

    redrive_id: str
    at_ms: int
    latest_ms: int = 0
    runs: dict[Outcome, tuple[tuple[int, int], ...]]


@dataclass(frozen=True, slots=True)
class Done:
    """What an earlier redrive did with a letter."""

    outcome: Outcome
    redrive_id: str
    at_ms: int


class DoneIndex:
    """Which letters of a topic are done. Memory goes with the runs, not with the letters."""

    def __init__(self) -> None:
        # By partition and redrive; the runs of one redrive are found by their first offset.
        self._layers: dict[int, dict[str, list[tuple[int, int, int, Outcome, int]]]] = {}

    def add(self, partition: int, done: DoneLetters) -> None:
        """Take what one transaction has done; in the order of time."""
        layers = self._layers.setdefault(partition, {})
        layer = layers.pop(done.redrive_id, [])
        layers[done.redrive_id] = layer
        for outcome, runs in done.runs.items():
            for first, last in runs:
                insort(layer, (first, last, done.at_ms, outcome, done.latest_ms))

    def of(self, letter: Letter) -> Done | None:
        """What was done with a letter last; None when it is open."""
        partition, offset = letter.letter_id.partition, letter.letter_id.offset
        layers = self._layers.get(partition)
        if not layers:
            return None
        for redrive_id, layer in reversed(layers.items()):
            at = bisect_right(layer, offset, key=lambda run: run[0]) - 1
            if at < 0:
                continue
            _, last, at_ms, outcome, latest_ms = layer[at]
            # One that is younger is none of these, but of a topic that was made anew.
            if offset <= last and letter.timestamp_ms <= max(at_ms + CLOCKS_MS, latest_ms):
                return Done(outcome, redrive_id, at_ms)
        return None


def runs_of(offsets: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Rising offsets as runs."""
    runs: list[tuple[int, int]] = []
    for offset in offsets:
        if runs and runs[-1][1] + 1 == offset:
            runs[-1] = (runs[-1][0], offset)
        else:
            runs.append((offset, offset))
    return tuple(runs)


def merged(
    progress: RedriveProgress | None, next_offset: int, outcomes: Mapping[Outcome, int], reasons: Mapping[str, int]
) -> RedriveProgress:
    """Progress after some more letters."""
    known = RedriveProgress(next_offset=0) if progress is None else progress
    return RedriveProgress(
        next_offset=next_offset,
        outcomes=dict(Counter(known.outcomes) + Counter(outcomes)),
        reasons=dict(Counter(known.reasons) + Counter(reasons)),
    )
