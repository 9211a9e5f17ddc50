"""Which dead letters are meant."""

from datetime import UTC, datetime

import pytest

from ems_streams.domain.dead_letter import Origin, dead_letter_headers
from ems_streams.domain.letter import Letter, LetterId, read_letter
from ems_streams.domain.letter_filter import LetterFilter, group_of, parse_where
from ems_streams.errors import UsageError


def letter(error_class: str = "invalid_json", stage: str = "ingress", key: bytes | None = b"INV-001", at_ms: int = 1000) -> Letter:
    headers = dead_letter_headers(
        Origin("device-telemetry", 5, 0, 1), error_class, "field x: wrong", stage=stage, failed_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    return read_letter(LetterId("device-telemetry-dlt", 0, 1), at_ms, key, b"{", headers)


def matches(where: str, **of: object) -> bool:
    return LetterFilter(where=parse_where([where])).matches(letter(**of))  # type: ignore[arg-type]


def test_each_condition_must_hold_and_of_several_values_any_will_do() -> None:
    assert matches("error-class=invalid_json,stage=ingress,serial=INV-001")
    assert not matches("error-class=invalid_json,stage=sink")
    assert matches("stage=sink,stage=ingress")
    assert matches("message=field x")
    assert not matches("message=field y")
    assert matches("origin=device-telemetry")
    assert matches("replays=0")
    assert not matches("serial=INV-001", key=None)


def test_times_are_from_and_without_the_end() -> None:
    chosen = LetterFilter(since_ms=1000, until_ms=2000)
    assert [chosen.matches(letter(at_ms=at)) for at in (999, 1000, 1999, 2000)] == [False, True, True, False]


@pytest.mark.parametrize("text", ["colour=red", "stage", "stage=", "=x", "replays=many"])
def test_what_is_no_condition_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match=text.split("=", maxsplit=1)[0] or "FIELD"):
        parse_where([text])


def test_groups_have_a_name_for_what_is_not_known() -> None:
    assert [group_of(letter(), each) for each in ("error-class", "stage", "device", "origin")] == [
        "invalid_json", "ingress", "INV-001", "device-telemetry",
    ]  # fmt: skip
    assert group_of(letter(key=None), "device") == "-"


def test_a_filter_survives_being_stored() -> None:
    chosen = LetterFilter(where=parse_where(["stage=a,stage=b"]), since_ms=5)
    assert LetterFilter.model_validate_json(chosen.encode()) == chosen


@pytest.mark.parametrize("grouping", ["error-class", "stage", "origin"])
def test_what_a_letter_does_not_say_is_asked_for_by_the_name_of_its_group(grouping: str) -> None:
    silent, speaking = read_letter(LetterId("device-telemetry-dlt", 0, 2), 1000, b"INV-001", b"{", []), letter()
    name = group_of(silent, grouping)
    assert name == "-"
    chosen = LetterFilter(where=parse_where([f"{grouping}={name}"]))
    assert (chosen.matches(silent), chosen.matches(speaking)) == (True, False)
