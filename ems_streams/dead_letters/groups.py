"""Dead letters in groups: how many, since when, until when, and one to look at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer

from ems_streams.dead_letters.reader import Ranges, scan
from ems_streams.dead_letters.views import OPEN, STATES, state_of
from ems_streams.domain.letter import Letter
from ems_streams.domain.letter_filter import LetterFilter, group_of
from ems_streams.domain.redrives import DoneIndex
from ems_streams.domain.timestamps import format_epoch_ms

GROUPS_MAX = 5_000
OTHERS = "(others)"
"""Where letters are counted when there are too many groups."""


@dataclass(slots=True)
class Group:
    """Letters that have the same names.

    Attributes:
        by_state: How many are open, redriven or quarantined.
        first_ms: When the first was put aside, epoch milliseconds.
        last_ms: When the last was.
        example: The last one.
    """

    names: tuple[str, ...]
    by_state: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))
    first_ms: int = 2**63 - 1
    last_ms: int = -1
    example: Letter | None = None

    @property
    def count(self) -> int:
        """Letters in it."""
        return sum(self.by_state.values())

    @property
    def open(self) -> int:
        """Letters that nobody has dealt with."""
        return self.by_state[OPEN]

    def add(self, letter: Letter, state: str) -> None:
        """Count a letter."""
        self.by_state[state] += 1
        self.first_ms = min(self.first_ms, letter.timestamp_ms)
        if letter.timestamp_ms >= self.last_ms:
            self.last_ms, self.example = letter.timestamp_ms, letter


@dataclass(slots=True)
class Groups:
    """All groups of some letters; memory has a bound, whatever the letters say."""

    grouping: Sequence[str]
    found: dict[tuple[str, ...], Group] = field(default_factory=dict)
    letters: int = 0

    def add(self, letter: Letter, state: str) -> None:
        """Count a letter."""
        names = tuple(group_of(letter, each) for each in self.grouping)
        if names not in self.found and len(self.found) >= GROUPS_MAX:
            names = tuple(OTHERS for _ in names)
        self.found.setdefault(names, Group(names)).add(letter, state)
        self.letters += 1

    def largest(self) -> list[Group]:
        """The groups, those with the most open letters first."""
        return sorted(self.found.values(), key=lambda each: (-each.open, -each.count, each.names))


async def grouped(
    consumer: AIOKafkaConsumer,
    topic: str,
    ranges: Ranges,
    grouping: Sequence[str],
    *,
    done: DoneIndex,
    chosen: LetterFilter,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Groups:
    """Count the letters of ranges that a filter chooses; `on_progress` gets how many were looked at."""
    groups = Groups(grouping)
    seen = 0
    async for letters in scan(consumer, topic, ranges):
        for letter in letters:
            if chosen.matches(letter):
                groups.add(letter, state_of(done.of(letter)))
        seen += len(letters)
        on_progress(seen)
    return groups


FIELDS = {"error-class": "errorClass", "stage": "stage", "device": "device", "origin": "origin"}
"""Of a group as JSON, by what letters are grouped by."""


def group_view(group: Group, grouping: Sequence[str]) -> dict[str, Any]:
    """A group as JSON."""
    example = group.example
    assert example is not None, "a group has letters"
    return {
        **{FIELDS[name]: value for name, value in zip(grouping, group.names, strict=True)},
        "count": group.count,
        "open": group.open,
        "firstSeen": format_epoch_ms(group.first_ms),
        "lastSeen": format_epoch_ms(group.last_ms),
        "example": str(example.letter_id),
        "exampleMessage": example.failure.error_message,
    }
