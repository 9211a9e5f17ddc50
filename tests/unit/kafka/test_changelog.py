"""What a batch of changelog records does to the store, and what happens to those that hold no state."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from ems_streams.domain.aggregates_codec import decode, encode
from ems_streams.kafka.changelog import ChangelogPartition
from ems_streams.kafka.partition_state import POSITION_KEY, Codec
from ems_streams.kafka.state_table import StateTable
from ems_streams.kafka.store import Store
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.settings import Settings
from tests.unit.domain.builders import folded, minutes

PARTITION = 2


@dataclass(frozen=True)
class Written:
    offset: int
    key: bytes | None
    value: bytes | None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = StateTable(WorkerApp(Settings(data_dir=tmp_path)), "things", Codec(encode, decode), 4).store
    yield made
    asyncio.run(made.stop())


@pytest.fixture
def changelog(store: Store) -> ChangelogPartition:
    return ChangelogPartition("things-changelog", PARTITION, store, decode)


def state(count: int) -> bytes:
    return encode(folded(minutes(count)))


def apply(changelog: ChangelogPartition, *records: Written) -> None:
    changelog.apply(cast(Any, records))


def test_the_last_record_of_a_key_counts(changelog: ChangelogPartition, store: Store) -> None:
    apply(changelog, Written(3, b"A", state(1)), Written(4, b"B", state(1)), Written(5, b"A", state(2)), Written(6, b"B", None))
    assert dict(store.items_raw(PARTITION)) == {b"A": state(2)}
    assert store.complete_up_to(PARTITION) == 6
    assert not changelog.bad


@pytest.mark.parametrize("junk", [b"", b"junk", b"\x03" + state(1)[1:], state(1)[:-1], state(1) + b"\x00"])
def test_what_holds_no_state_is_kept_out_of_the_store_and_named(changelog: ChangelogPartition, store: Store, junk: bytes) -> None:
    apply(changelog, Written(7, b"A", state(1)), Written(8, b"B", state(1)))
    apply(changelog, Written(9, b"B", junk), Written(10, b"A", state(2)))
    assert dict(store.items_raw(PARTITION)) == {b"A": state(2), b"B": state(1)}
    assert str(changelog.bad[b"B"]).startswith("things-changelog partition 2 offset 9 key b'B': stored device aggregates cannot be read")
    assert store.complete_up_to(PARTITION) == 8, "whoever comes next has to meet it again"
    apply(changelog, Written(11, b"A", state(3)))
    assert store.complete_up_to(PARTITION) == 8


@pytest.mark.parametrize("later", [state(3), None])
def test_a_later_record_of_the_key_makes_up_for_it(changelog: ChangelogPartition, store: Store, later: bytes | None) -> None:
    apply(changelog, Written(0, b"B", b"junk"), Written(1, b"A", state(1)))
    assert store.complete_up_to(PARTITION) == -1
    apply(changelog, Written(2, b"B", later))
    assert not changelog.bad
    assert store.get_raw(PARTITION, b"B") == later
    assert store.complete_up_to(PARTITION) == 2


@pytest.mark.parametrize("value", [b"junk", b"[]", b'{"device-telemetry": "7"}'])
def test_positions_that_are_none_are_bad_too(changelog: ChangelogPartition, value: bytes) -> None:
    apply(changelog, Written(1, POSITION_KEY, b'{"device-telemetry": 7}'))
    assert not changelog.bad
    apply(changelog, Written(2, POSITION_KEY, value))
    assert list(changelog.bad) == [POSITION_KEY]


def test_a_record_without_a_key_is_bad(changelog: ChangelogPartition) -> None:
    apply(changelog, Written(1, None, state(1)))
    assert "without a key" in str(changelog.bad[None])
