"""States that released versions wrote are read as they were meant, and what a newer one may have written is refused in words."""

import copy
from pathlib import Path

import pytest

from ems_streams.domain.state_codec import StateCodecError
from tests.support.recorded_states import CODECS, DIRECTORY, KINDS, RecordedState, differs, meaning_of, read

RECORDED = [(path.stem, each) for path in sorted(DIRECTORY.glob("*.jsonl")) for each in read(path)]


def named(value: object) -> str | None:
    return f"{value.table}-{value.value[0]:#04x}-{len(value.value)}" if isinstance(value, RecordedState) else None


@pytest.mark.parametrize(("release", "recorded"), RECORDED, ids=named)
def test_a_recorded_state_means_what_it_meant(release: str, recorded: RecordedState) -> None:
    state = CODECS[recorded.table].decode(recorded.value)

    assert not differs(recorded.meaning, meaning_of(state))


@pytest.mark.parametrize(("release", "recorded"), RECORDED, ids=named)
def test_what_is_written_back_means_the_same_and_has_a_version_of_today(release: str, recorded: RecordedState) -> None:
    codec = CODECS[recorded.table]
    written = codec.encode(codec.decode(recorded.value))

    assert written[0] in KINDS[recorded.table]
    assert not differs(recorded.meaning, meaning_of(codec.decode(written)))


def test_every_kind_that_is_written_today_is_recorded() -> None:
    recorded: dict[str, set[int]] = {table: set() for table in CODECS}
    for _, each in RECORDED:
        recorded[each.table].add(each.value[0])

    assert {table: versions - recorded[table] for table, versions in KINDS.items()} == {table: set() for table in CODECS}


@pytest.mark.parametrize("table", CODECS)
@pytest.mark.parametrize("version", sorted({0x00, 0x03, 0x09, 0x20, 0x42, 0x52, 0x84, 0xC2, 0xFF}))
def test_a_version_that_nobody_knows_is_refused_in_words(table: str, version: int) -> None:
    bodies = [each.value[1:] for _, each in RECORDED if each.table == table]

    for body in bodies:
        with pytest.raises(StateCodecError, match=r"^stored .+ cannot be read: .*\d"):
            CODECS[table].decode(bytes((version,)) + body)


def test_a_field_that_means_something_else_is_noticed() -> None:
    _, recorded = next(each for each in RECORDED if each[1].table == "device-status" and each[1].value[0] == 0x02)
    changed = copy.deepcopy(recorded.meaning)
    name = next(name for name, value in changed.items() if isinstance(value, int))
    changed[name] += 1

    assert differs(changed, meaning_of(CODECS[recorded.table].decode(recorded.value)))
    assert not differs({name: recorded.meaning[name]}, recorded.meaning)


def test_the_records_are_of_releases() -> None:
    assert [path.name for path in Path(DIRECTORY).iterdir()] == ["0.1.0.jsonl"]
