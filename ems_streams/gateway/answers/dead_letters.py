"""Dead letters and redrives."""

from typing import Any, Literal

from ems_streams.domain.redrives import Outcome
from ems_streams.gateway.answers.base import Answer, Count, Moment, NextCursor

LetterState = Literal["open", "redriven", "quarantined"]


class LetterGroup(Answer):
    """Letters with the same error class and stage.

    Attributes:
        open: How many of them nobody has dealt with.
        example: Id of one of them.
    """

    error_class: str
    stage: str
    count: Count
    open: Count
    first_seen: Moment
    last_seen: Moment
    example: str
    example_message: str | None


class LetterTopic(Answer):
    """A topic of dead letters.

    Attributes:
        letters: How many there are; at the most, unless `complete`.
        scanned: How many of the newest were looked at.
        complete: Whether all were looked at.
        open: Of those that were looked at, how many nobody has dealt with.
    """

    topic: str
    letters: Count
    scanned: Count
    complete: bool
    open: Count
    groups: list[LetterGroup]


class LetterTopics(Answer):
    """Topics that have dead letters."""

    as_of: Moment
    topics: list[LetterTopic]


class LetterOrigin(Answer):
    """The record that failed; null is what is not known of it."""

    topic: str
    partition: int | None
    offset: int | None
    timestamp: Moment | None


class LetterSummary(Answer):
    """A dead letter as one of many.

    Attributes:
        id: Topic, partition and offset.
        at: When it was put aside.
        key: The record's key as text, which is the serial number.
        preview: The first characters of its value.
    """

    id: str
    topic: str
    partition: int
    offset: int
    at: Moment
    key: str | None
    error_class: str | None
    error_message: str | None
    stage: str | None
    channel: str | None
    attempts: int | None
    first_failed_at: str | None
    replay_count: int
    state: LetterState
    original: LetterOrigin | None
    size_bytes: Count
    preview: str | None


class LettersPage(Answer):
    """Dead letters of a topic, newest first; with a filter a page may be short, or empty, and still have a next one."""

    topic: str
    as_of: Moment
    letters: list[LetterSummary]
    next_cursor: NextCursor


class LetterDone(Answer):
    """What a redrive did with a letter."""

    redrive_id: str
    outcome: Outcome
    at: Moment


class LetterHeader(Answer):
    """A header of the record; `text` is null when it is none."""

    name: str
    text: str | None
    base64: str


class LetterVerdict(Answer):
    """What a redrive would do with a letter as it is."""

    outcome: Outcome
    possible: bool
    target: str | None
    reason: str | None
    detail: str | None


class LetterView(LetterSummary):
    """A dead letter in full.

    Attributes:
        cut_from_bytes: Size of the value before it was cut; null when it is whole.
        value_text: The value when it is text.
        value_json: The value when it is JSON.
    """

    stack_trace: str | None
    cut_from_bytes: int | None
    done: LetterDone | None
    value_text: str | None
    value_base64: str | None
    value_json: Any
    key_base64: str | None
    headers: list[LetterHeader]
    redrive: LetterVerdict


class LetterPlan(Answer):
    """What a redrive would do with one letter."""

    id: str
    outcome: Outcome
    target: str | None
    reason: str | None
    detail: str | None


class RedrivePlan(Answer):
    """What a redrive would do.

    Attributes:
        complete: Whether all letters were looked at in time.
        refusals: How many for which reason.
        still_malformed: How many would be dead letters again.
        letters: Examples.
    """

    topic: str
    dry_run: Literal[True]
    complete: bool
    outcomes: dict[Outcome, Count]
    refusals: dict[str, Count]
    still_malformed: Count
    letters: list[LetterPlan]


class RedriveView(Answer):
    """A redrive with how far it is.

    Attributes:
        where: Which letters, by field; nothing is all.
        ids: Only these; null for all.
        error: Why the last run ended, if it did not end well.
        state: `unfinished` ones are under way elsewhere, or wait for somebody to resume them.
    """

    redrive_id: str
    topic: str
    created_at: Moment
    where: dict[str, list[str]]
    ids: list[str] | None
    max_replays: int
    rate_per_s: float | None
    finished: bool
    offsets_done: Count
    offsets_total: Count
    outcomes: dict[Outcome, Count]
    refusals: dict[str, Count]
    state: Literal["running", "finished", "failed", "unfinished"]
    error: str | None


class Redrives(Answer):
    """Redrives, newest first."""

    redrives: list[RedriveView]
