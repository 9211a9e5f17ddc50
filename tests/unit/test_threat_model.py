"""Every setting, command, file and make target that the threat model names exists: a defence that is not there protects nobody."""

import re
import tomllib
from pathlib import Path

import pytest
import typer

from ems_streams.cli.main import app
from ems_streams.kafka.catalogue import Catalogue
from ems_streams.settings import Settings, environment_names

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "threat-model.md").read_text()
CODE = sorted(set(re.findall(r"`([^`\n]+)`", TEXT)))
SETTINGS = {name for key, field in Settings.model_fields.items() for name in environment_names(key, field)}


def named(pattern: str) -> list[str]:
    return [each for each in CODE if re.fullmatch(pattern, each)]


@pytest.mark.parametrize("said", named(r"EMS_[A-Z_]+(=\w+)?"))
def test_a_setting_exists(said: str) -> None:
    name, _, value = said.partition("=")
    assert name in SETTINGS
    if value:
        key = next(key for key, field in Settings.model_fields.items() if name in environment_names(key, field))
        Settings(**{key: value})


@pytest.mark.parametrize("said", named(r"(ems-streams )?[a-z]+( [a-z]+)*( --[a-z-]+)?"))
def test_a_command_exists(said: str) -> None:
    words = said.removeprefix("ems-streams ").split()
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return
    command = typer.main.get_command(app)
    if words[0] not in command.commands:  # type: ignore[attr-defined]
        assert said in _OTHER_WORDS, f"{said}: no command, and not among the words that are none"
        return
    for word in words:
        if word.startswith("--"):
            assert any(word in option.opts for option in command.params), said
        elif word in getattr(command, "commands", {}):
            command = command.commands[word]  # type: ignore[attr-defined]
        else:
            pytest.fail(f"{said}: {word} is no command")


_OTHER_WORDS = {"provision", "none"}


@pytest.mark.parametrize("said", named(r"[\w./-]+/[\w./-]*"))
def test_a_file_exists(said: str) -> None:
    assert said.startswith("/") or (ROOT / said).exists()


def test_topics_and_reasons_of_refusal_exist() -> None:
    topics = {topic.name for topic in Catalogue("a", 1)}
    hyphened = set(named(r"[a-z]+(-[a-z]+)+")) - {"ems-streams"}
    assert hyphened <= topics, hyphened - topics
    refusals = (ROOT / "ems_streams" / "domain" / "mqtt_payload.py").read_text()
    assert all(each in refusals for each in named(r"[a-z]+_[a-z]+"))


def test_it_says_what_remains_of_each_threat() -> None:
    parts = TEXT.split("\n### ")[1:]
    assert len(parts) == 6
    assert all("**Remains:**" in part for part in parts)


def test_the_numbers_are_those_of_the_code() -> None:
    from ems_streams.domain.accumulators import MAX_METRICS_PER_DEVICE
    from ems_streams.domain.commands import OPEN_MAX
    from ems_streams.domain.events import MAX_METRICS
    from ems_streams.domain.fold_outcome import RECENT_IDENTITIES
    from ems_streams.domain.mqtt_payload import MAX_PAYLOAD_BYTES
    from ems_streams.gateway.explain import AT_ONCE, COST

    assert f"{MAX_PAYLOAD_BYTES // 2**20} MiB of payload, {MAX_METRICS} metrics in a message, {MAX_METRICS_PER_DEVICE} of a device" in TEXT
    assert f"{RECENT_IDENTITIES} remembered ids, {OPEN_MAX} open commands" in TEXT
    assert (
        f"{COST.records:,} records or {COST.read_bytes // 2**20} MiB at the most, twice as much where sizes jump, in {COST.deadline_s:g} s"
        in TEXT
    )
    assert AT_ONCE == 2
    assert tomllib.loads((ROOT / "supply_chain" / "accepted.toml").read_text()) is not None
