"""Records that made a fold fail, or a commit after it, until they were refused: found by fuzzing, and near what it found."""

import re
from pathlib import Path

import pytest

from tests.fuzz.all_targets import all_targets
from tests.fuzz.seeds import records
from tests.fuzz.target import Target

NUMBERS = (b"2e90", b"9223372036854775808", b"18446744073709551616", b"-5", b"1.5", b'"7"', b"true", b"null")
TOO_LONG = b"1759579200000,1959579260000"


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    directory: Path = tmp_path_factory.mktemp("fuzz")
    return all_targets(directory)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("field", [b"siteId", b"start", b"end", b"revision", b"since"])
def test_numbers_of_site_parts_that_cannot_be_stored_are_dead_letters(targets: dict[str, Target], field: bytes, number: bytes) -> None:
    for _, value in records()["site-parts"]:
        changed = re.sub(b'"%s":-?\\d+' % field, b'"%s":%s' % (field, number), value, count=1)
        if changed != value:
            # Under the key that would be right, so that nothing but the number is at fault.
            key = number if field == b"siteId" else b"1"
            assert not targets["fold-sites-site-parts"].takes((b"INV-001" if b'"joined"' in value else key) + b"\n" + changed), changed


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    "pattern", [rb'("deviceId":)\d+', rb'("siteId":)\d+', rb'(\["1m",)\d+', rb'(\["1m",\d+,)\d+', rb'(\["1m",\d+,\d+,)\d+']
)
def test_numbers_of_promotions_that_cannot_be_stored_are_dead_letters(targets: dict[str, Target], pattern: bytes, number: bytes) -> None:
    [(key, value)] = records()["window-promotions"]
    changed = re.sub(pattern, rb"\g<1>" + number, value, count=1)
    assert changed != value
    assert not targets["fold-aggregates-window-promotions"].takes(key + b"\n" + changed)


def test_a_window_that_is_longer_than_any_is_a_dead_letter(targets: dict[str, Target]) -> None:
    [(key, value)] = records()["window-promotions"]
    changed = re.sub(rb'(\["1m",)\d+,\d+', rb"\g<1>" + TOO_LONG, value, count=1)
    assert not targets["fold-aggregates-window-promotions"].takes(key + b"\n" + changed)
    assert targets["fold-aggregates-window-promotions"].takes(key + b"\n" + value)
