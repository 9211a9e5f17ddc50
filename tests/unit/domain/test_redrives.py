"""What is known of redrives: which letters are done, and how far each is."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.letter import Letter, LetterId, read_letter
from ems_streams.domain.redrives import (
    CLOCKS_MS,
    DoneIndex,
    DoneLetters,
    Outcome,
    Redrive,
    RedriveDefinition,
    RedriveProgress,
    merged,
    runs_of,
)

AT_MS = 1_767_000_000_000


def letter(offset: int, partition: int = 0, at_ms: int = AT_MS) -> Letter:
    return read_letter(LetterId("t-dlt", partition, offset), at_ms, b"k", b"v", [])


def done(redrive_id: str, *offsets: int, at_ms: int = AT_MS, latest_ms: int = 0, outcome: Outcome = Outcome.SENT) -> DoneLetters:
    return DoneLetters(redrive_id=redrive_id, at_ms=at_ms, latest_ms=latest_ms, runs={outcome: runs_of(sorted(offsets))})


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_the_index_knows_exactly_the_letters_that_are_done(first: set[int], second: set[int]) -> None:
    index = DoneIndex()
    for chunk in (sorted(first)[:5], sorted(first)[5:]):
        index.add(0, done("rd-aaaa", *chunk))
    index.add(0, done("rd-bbbb", *second))
    found = {offset: known.redrive_id for offset in range(70) if (known := index.of(letter(offset))) is not None}
    assert found == {**dict.fromkeys(first, "rd-aaaa"), **dict.fromkeys(second, "rd-bbbb")}
    assert index.of(letter(3, partition=1)) is None


def test_a_letter_of_a_topic_that_was_made_anew_is_not_taken_for_an_old_one() -> None:
    index = DoneIndex()
    index.add(0, done("rd-aaaa", 5))
    assert index.of(letter(5, at_ms=AT_MS + CLOCKS_MS)) is not None
    assert index.of(letter(5, at_ms=AT_MS + CLOCKS_MS + 1)) is None


def test_a_letter_whose_writer_had_a_clock_that_is_ahead_is_done_as_any_other() -> None:
    index = DoneIndex()
    ahead_ms = AT_MS + 10 * CLOCKS_MS
    index.add(0, done("rd-aaaa", 5, 6, latest_ms=ahead_ms))
    assert index.of(letter(5, at_ms=ahead_ms)) is not None
    assert index.of(letter(6, at_ms=AT_MS)) is not None
    assert index.of(letter(5, at_ms=ahead_ms + 1)) is None, "one of a topic that was made anew"


def test_the_last_redrive_of_a_letter_counts() -> None:
    index = DoneIndex()
    index.add(0, done("rd-aaaa", 5))
    index.add(0, done("rd-bbbb", 5, outcome=Outcome.QUARANTINED))
    known = index.of(letter(5))
    assert known is not None
    assert (known.redrive_id, known.outcome) == ("rd-bbbb", Outcome.QUARANTINED)


def definition(**more: object) -> RedriveDefinition:
    fields = {"redrive_id": "rd-1234", "topic": "t-dlt", "ranges": {0: (10, 20), 2: (0, 5)}, "created_at": datetime(2026, 1, 5, tzinfo=UTC)}
    return RedriveDefinition.model_validate({**fields, **more})


def test_what_was_asked_for_survives_being_stored() -> None:
    asked = definition(edit={"sets": {"a": None}}, edits={"0/11": {"key": "k"}}, ids=((0, 11),), rate_per_s=5.5)
    again = RedriveDefinition.model_validate_json(asked.encode())
    assert again == asked
    assert again.edit.sets == {"a": None}
    assert again.edit_of(LetterId("t-dlt", 0, 11)).key == "k"
    assert again.edit_of(LetterId("t-dlt", 0, 12)) == asked.edit


def test_a_redrive_is_finished_when_every_partition_is() -> None:
    redrive = Redrive(definition())
    assert (redrive.next_offset(0), redrive.offsets_done, redrive.finished) == (10, 0, False)
    redrive.progress[0] = merged(None, 20, {Outcome.SENT: 3}, {})
    redrive.progress[2] = merged(RedriveProgress(next_offset=2, outcomes={Outcome.SENT: 1}), 5, {Outcome.REFUSED: 2}, {"cut": 2})
    assert redrive.finished
    assert redrive.outcomes == {Outcome.SENT: 4, Outcome.REFUSED: 2}
    assert redrive.reasons == {"cut": 2}
    assert redrive.offsets_done == redrive.definition.offsets_total == 15


def test_runs() -> None:
    assert runs_of([1, 2, 3, 7, 9, 10]) == ((1, 3), (7, 7), (9, 10))
    assert runs_of([]) == ()
