"""Each target takes its seeds, and refuses or takes what is near them; nothing else. `make fuzz` goes on where this ends."""

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.all_targets import all_targets
from tests.fuzz.message_targets import translate
from tests.fuzz.mutations import mutated, systematic
from tests.fuzz.target import Target

INPUTS = 150
"""For each target; seeds of chance are fixed, so that what fails here fails everywhere."""

_found: dict[str, Target] = {}


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return all_targets(tmp_path_factory.mktemp("fuzz"))


def test_there_is_a_target_for_everything_that_comes_from_outside(targets: dict[str, Target]) -> None:
    kinds = {name.split("-")[0] for name in targets}
    assert {"mqtt", "fold", "changelog", "dead", "http", "timeline", "rules"} <= kinds
    assert len(targets) >= 35
    assert all(target.seeds for target in targets.values())


def test_every_target_takes_its_first_seed_and_survives_what_is_near_its_seeds(targets: dict[str, Target]) -> None:
    for name, target in targets.items():
        assert target.takes(target.seeds[0]), f"{name} refuses its own seed"
        chance = random.Random(name)
        taken = 0
        for _ in range(INPUTS):
            data = mutated(chance.choice(target.seeds), chance)
            try:
                taken += target.takes(data)
            except Exception as error:
                raise AssertionError(f"{name}: {error!r} at {data!r}") from error
        # Of a topic that two agents read, one puts aside what is malformed; a header or a line of a timeline is always something.
        checks = not name.startswith("fold-") and name not in {"dead-letter-headers", "timeline"}
        assert taken < INPUTS or not checks, f"{name} takes everything: it checks nothing"


def test_every_target_survives_each_part_of_its_seeds_being_something_strange(targets: dict[str, Target]) -> None:
    fed = 0
    for name, target in targets.items():
        for data in (each for seed in target.seeds for each in systematic(seed)):
            fed += 1
            try:
                target.takes(data)
            except Exception as error:
                raise AssertionError(f"{name}: {error!r} at {data!r}") from error
    assert fed > 15_000


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(topic=st.text(max_size=80), payload=st.binary(max_size=400))
@example("sites/1/devices/A/telemetry", b"\xff")
def test_whatever_is_published_becomes_one_record_or_one_dead_letter(topic: str, payload: bytes) -> None:
    translate(topic.encode(errors="replace").replace(b"\n", b"") + b"\n" + payload)


def test_a_target_that_raises_what_nobody_has_thought_of_is_noticed(tmp_path: Path) -> None:
    def careless(data: bytes) -> object:
        return data.decode()

    target = Target("careless", "", careless, [b"x"])
    with pytest.raises(UnicodeDecodeError):
        target.takes(b"\xff")
