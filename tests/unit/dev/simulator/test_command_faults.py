"""How devices misbehave towards commands."""

import pytest

from ems_streams.dev.simulator import CommandFaults, parse_command_faults
from ems_streams.dev.simulator.command_faults import DEFAULT_COMMAND_FAULTS, absences, is_sometimes_offline, manners
from ems_streams.errors import UsageError

IDS = [f"command-{number}" for number in range(4000)]


def test_the_text_of_the_option() -> None:
    assert parse_command_faults("") == CommandFaults()
    assert parse_command_faults("all") == DEFAULT_COMMAND_FAULTS
    assert parse_command_faults(" refuse , never=0.5,offline=1") == CommandFaults(refuse=0.02, never=0.5, offline=1.0)
    assert parse_command_faults("all,fail=0") == CommandFaults(refuse=0.02, late=0.02, twice=0.02, never=0.02, offline=0.05)


@pytest.mark.parametrize("text", ["dance", "refuse=2", "refuse=-0.1", "refuse=", "refuse=much", "all=1", "refuse=nan"])
def test_an_option_that_cannot_be_meant_is_named(text: str) -> None:
    with pytest.raises(UsageError, match=f"--command-faults {text}"):
        parse_command_faults(text)


def test_without_faults_every_command_is_done_and_answered_once_in_time() -> None:
    each = [manners(1, "INV-1", command_id, CommandFaults()) for command_id in IDS]
    assert {(one.refuses, one.fails, one.late_s, one.answers) for one in each} == {(False, False, 0.0, 1)}
    assert all(0.0 < one.work_s < 1.0 for one in each)


def test_a_share_is_a_share_of_the_commands_and_moves_no_other_victim() -> None:
    some = [manners(1, "INV-1", command_id, CommandFaults(refuse=0.1)) for command_id in IDS]
    more = [manners(1, "INV-1", command_id, CommandFaults(refuse=0.1, fail=0.2, late=0.3, twice=0.4, never=0.5)) for command_id in IDS]
    assert [one.refuses for one in some] == [one.refuses for one in more]
    assert 0.08 < sum(one.refuses for one in more) / len(IDS) < 0.12
    assert 0.17 < sum(one.fails for one in more) / len(IDS) < 0.23
    assert 0.27 < sum(one.late_s > 0 for one in more) / len(IDS) < 0.33
    assert 0.46 < sum(one.answers == 0 for one in more) / len(IDS) < 0.54
    assert 0.16 < sum(one.answers == 2 for one in more) / len(IDS) < 0.24, "who never answers does not answer twice"


def test_a_command_that_comes_twice_is_treated_alike() -> None:
    faults = CommandFaults(refuse=0.5, fail=0.5, late=0.5, twice=0.5, never=0.5)
    assert manners(1, "INV-1", "c", faults) == manners(1, "INV-1", "c", faults)
    assert manners(2, "INV-1", "c", faults) != manners(1, "INV-1", "c", faults)


def test_some_devices_come_and_go() -> None:
    faults = CommandFaults(offline=0.1)
    chosen = [serial for serial in IDS if is_sometimes_offline(3, serial, faults)]
    assert 0.08 < len(chosen) / len(IDS) < 0.12
    assert not any(is_sometimes_offline(3, serial, CommandFaults()) for serial in IDS)
    turns = absences(3, chosen[0])
    assert all(stays > 0 and away > 0 for stays, away in (turns.next() for _ in range(100)))
    assert absences(3, chosen[0]).next() == absences(3, chosen[0]).next()
